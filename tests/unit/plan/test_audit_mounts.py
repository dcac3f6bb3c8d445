"""Which mount a path lies on, from the lines of /proc/PID/mountinfo alone."""

from __future__ import annotations

from volt.model.audit import Mounted
from volt.plan.audit_mounts import visible


def mounts(*lines):
    return tuple(Mounted(number, parent, "/", path, frozenset(), "x") for number, parent, path in lines)


def on(path, *lines):
    found = visible(mounts(*lines), path)
    return found and found.id


def test_the_innermost_mount_above_a_path():
    lines = [(10, 1, "/"), (11, 10, "/proc"), (12, 11, "/proc/sys")]
    assert [on(path, *lines) for path in ("/", "/srv/a", "/proc", "/proc/sysrq", "/proc/sys/net")] == [
        10,
        10,
        11,
        11,
        12,
    ]


def test_of_mounts_on_one_another_the_upper_one_whatever_their_order():
    lines = [(13, 12, "/a"), (10, 1, "/"), (11, 10, "/a"), (12, 11, "/a")]
    assert on("/a/b", *lines) == on("/a/b", *reversed(lines)) == 13


def test_what_is_mounted_below_a_covered_mount_is_not_seen():
    assert on("/a/b", (10, 1, "/"), (11, 10, "/a"), (12, 11, "/a/b"), (13, 11, "/a")) == 13
    assert on("/a/b", (10, 1, "/"), (11, 10, "/a"), (12, 11, "/a/b")) == 12


def test_no_root_no_mount():
    assert on("/a") is None
