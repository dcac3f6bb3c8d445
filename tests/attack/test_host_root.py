"""rootfs = "host": the host's /usr and a few names of its /etc, and no more of either.

What has to be changed to see a wall is not the host's own: the plan's folder /etc/alternatives is exchanged for a
scratch folder, which is mounted by the same steps.
"""

import os
import shutil

import pyseccomp
import pytest

from tests.attack import walls
from tests.attack.plans import each, lowered
from volt.model.steps import AttachInside
from volt.model.text import show

pytestmark = pytest.mark.kernel

SHOWN = "/etc/alternatives"
PERMISSIVE = {"landlock_profile": "permissive"}


@pytest.fixture
def planned(attack):
    """A plan whose /etc/alternatives is another folder."""

    def plan(folder, *command, **sections):
        made = attack.plan(*command, security=PERMISSIVE, **sections)
        return walls.shown_instead(SHOWN, folder)(made)

    return plan


def test_nothing_of_the_hosts_is_written(attack, planned, probe, outside):
    assert set(probe("new=/usr/x", "new=/usr/bin/x", "append=/etc/ld.so.cache", security=PERMISSIVE)) <= {
        "EROFS",
        "EACCES",
    }
    plan = planned(outside, "sh", "-c", f"echo attacked > {SHOWN}/mark; echo x > {SHOWN}/new")
    attack.perform(plan)
    assert (outside / "mark").read_text() == "the host's\n"
    attack.perform(walls.without_attribute("ro")(plan))
    assert (outside / "mark").read_text() == "attacked\n"


def test_what_only_the_hosts_root_may_read_is_not_read(attack, planned, outside):
    (outside / "key").write_text("secret\n")
    (outside / "key").chmod(0o600)
    plan = planned(outside, "sh", "-c", f"cat {SHOWN}/key || echo refused")
    assert attack.perform(plan).words == ["refused"]
    assert attack.perform(walls.shifted_host_mounts(plan)).words == ["secret"]


def test_a_device_node_is_none(attack, planned, outside):
    os.mknod(outside / "node", 0o20666, os.makedev(1, 5))
    (outside / "node").chmod(0o666)
    plan = planned(outside, "sh", "-c", f"head -c 1 {SHOWN}/node | wc -c")
    assert attack.perform(plan).words == ["0"]
    assert attack.perform(walls.without_attribute("nodev")(plan)).words == ["1"]


def test_a_set_uid_program_of_the_hosts_gives_nothing(attack, planned, outside, doors):
    """By nosuid, by no_new_privs, and by ids: the host's root is nobody inside."""
    shutil.copy(doors, outside)
    (outside / "doors").chmod(0o4755)
    geteuid = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "geteuid")
    plan = planned(outside, f"{SHOWN}/doors", "native", str(geteuid), workload={"user": "1234:1234"})
    nosuid = walls.without_attribute("nosuid")
    few = [nosuid, walls.new_privileges, walls.shifted_host_mounts]
    for one in few:
        assert attack.perform(lowered(plan, [other for other in few if other is not one])).words == ["1234"]
    assert attack.perform(lowered(plan, few)).words == ["0"]


SECRETS = ("shadow", "gshadow", "machine-id", "ssh", "sudoers", "sudoers.d", "ssl/private", "volt", "fstab", "crontab")


def test_etc_is_an_allow_list(attack, planned):
    """Names that are no program's business are not there at all; of the whole of /etc they would be."""
    look = (
        f"for n in {' '.join(SECRETS)}; do for d in /etc {SHOWN}; do test -e $d/$n && echo $d/$n; done; done; echo end"
    )
    assert attack("sh", "-c", look, security=PERMISSIVE).words == ["end"]
    there = [f"{SHOWN}/{name}" for name in SECRETS if os.path.exists(f"/etc/{name}") and "/" not in name]
    seen = attack.perform(planned("/etc", "sh", "-c", look)).words
    assert there
    assert set(there) <= set(seen)


def uncovered(plan):
    """Nothing lies over /usr/local."""

    def change(step):
        covers = isinstance(step, AttachInside) and show(step.path) == "/usr/local"
        return () if covers else (step,)

    return each(plan, change)


def test_the_administrators_usr_local_is_empty(attack):
    plan = attack.plan("ls", "-A", "/usr/local")
    assert attack.perform(plan).out == ""
    assert attack.perform(uncovered(plan)).out.split() == sorted(os.listdir("/usr/local"), key=str.lower) != []
