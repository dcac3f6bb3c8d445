"""What lies below a workload's root: no /proc and no /sys that would let another be mounted, without masks."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.host import altered
from volt.model.steps import CoverBelow
from volt.plan.confinement import LEAVES_NOTHING

pytestmark = pytest.mark.kernel

# Everything is permitted: what is left to refuse is the kernel's to refuse.
FREE = 'format = 1\nname = "free"\ndescription = "everything"\nunlisted = "permit"\ncompat = "filter"\n'
# In a user namespace of one's own, with every capability there.
ANEW = """
unshare -Urmpf sh -c '
    echo made
    mkdir /tmp/p
    mount -t proc proc /tmp/p && head -c 1 /tmp/p/kallsyms | grep -q . && echo proc
    umount /tmp/p
    unshare -n mount -t sysfs sysfs /tmp/p && echo sys
' 2>/dev/null
echo over
"""
VERSION = subprocess.run(["systemd-nspawn", "--version"], capture_output=True, text=True, check=False).stdout


def leaves_the_hosts():
    found = re.match(r"systemd (\d+)", VERSION)
    return found is not None and int(found[1]) < LEAVES_NOTHING


@pytest.fixture
def free(volt, tmp_path, monkeypatch):
    """(plan, facts) of a command under a filter that permits everything, with files and ports free."""
    (tmp_path / "free.toml").write_text(FREE)
    security = {"seccomp_profile": str(tmp_path / "free.toml"), "landlock_profile": "permissive"}

    def make(*command, **sections):
        return altered.planned(volt, monkeypatch, *command, security=security, **sections)

    return make


@pytest.mark.parametrize("mode", ["none", "host"])
def test_no_proc_and_no_sys_without_masks_can_be_mounted(free, mode):
    assert altered.perform(*free("sh", "-c", ANEW, network={"mode": mode})) == ("made\nover\n", 0)


old = pytest.mark.skipif(not leaves_the_hosts(), reason="this systemd-nspawn leaves nothing below the root")


@old
def test_without_that_step_both_can(free):
    plan, facts = free("sh", "-c", ANEW)
    assert altered.perform(altered.without(plan, CoverBelow), facts) == ("made\nproc\nsys\nover\n", 0)


def mounts(output):
    """(root, mount point, options, type, source) of each line of mountinfo, proc_pid_mountinfo(5)."""
    found = []
    for line in output.splitlines():
        before, _, after = line.partition(" - ")
        _, _, _, root, point, options, *_ = before.split()
        kind, source, _ = after.split(" ", 2)
        found.append(tuple(re.sub(r"[0-9a-f]{12,}", "#", word) for word in (root, point, options, kind, source)))
    return sorted(found)


@old
def test_nothing_else_changes_for_the_workload(free):
    plan, facts = free("cat", "/proc/self/mountinfo")
    covered, status = altered.perform(plan, facts)
    bare, _ = altered.perform(altered.without(plan, CoverBelow), facts)
    assert status == 0
    assert len(mounts(covered)) > 20
    assert mounts(covered) == mounts(bare)


@pytest.mark.alone  # every mount of the machine is compared
def test_the_hosts_mounts_stay_as_they_are(free):
    with open("/proc/self/mountinfo", encoding="utf-8") as before:
        own = before.read()
    altered.perform(*free("true"))
    with open("/proc/self/mountinfo", encoding="utf-8") as after:
        assert after.read() == own
