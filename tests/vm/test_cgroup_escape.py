"""A payload does not get out of its cgroup, nor at its limits; each try is shown to work for who may."""

import pytest

from tests.vm.limited import DRIVERS, Limited

TRY = """
import os, sys
sys.stdout.reconfigure(line_buffering=True)
print("up")
for line in sys.stdin:
    try:
        print(eval(line) or "done")
    except OSError as error:
        print(error.strerror)
"""
MOUNT = "__import__('ctypes').CDLL(None, use_errno=True).mount(b'none', b'/mnt', b'cgroup2', 0, None)"


@pytest.fixture(params=DRIVERS)
def limited(request, volt):
    return Limited(volt, request.param)


@pytest.fixture
def run(limited):
    with limited.start({"memory_limit": "256M", "pids_max": 50}, TRY) as one:
        yield one


def write(path, value):
    return f"open({path!r}, 'w').write({value!r})"


@pytest.mark.parametrize(("file", "value"), [("memory.max", "max"), ("pids.max", "max"), ("cgroup.procs", "0")])
def test_its_own_cgroup_is_not_its_own_to_write(run, file, value):
    """Seen from inside the cgroup is the root of its namespace."""
    inside = f"/sys/fs/cgroup/{file}"
    refused = run.ask(write(inside, value))
    assert refused in ("No such file or directory", "Permission denied", "Read-only file system"), refused
    before = run.control(file)
    (run.cgroup / file).write_text("max" if value == "max" else before.split()[0])  # who may, can


def test_no_cgroup_above_is_in_sight(run):
    assert run.ask("open('/proc/self/cgroup').read().strip()").startswith("0::/")
    assert ".." not in run.ask("open('/proc/self/cgroup').read().strip()")
    assert run.ask(f"os.listdir({str(run.cgroup.parent)!r})") == "No such file or directory"
    assert run.cgroup.parent.is_dir()


def test_cgroup2_cannot_be_mounted_afresh(run):
    assert run.ask(MOUNT) == "-1"
    assert run.ask("open('/proc/self/mountinfo').read().count(' /mnt ')") in ("0", "done")


def test_a_cgroup_of_its_own_cannot_be_made_outside(run):
    refused = run.ask("os.mkdir('/sys/fs/cgroup/mine')")
    assert refused in ("Permission denied", "Read-only file system"), refused
    (run.cgroup / "mine").mkdir()
    (run.cgroup / "mine").rmdir()
