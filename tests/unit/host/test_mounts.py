"""The rows of mountinfo, and the caller's own cgroup below its mount."""

import pytest

from volt.host.mounts import Mount, below, mounts, own_cgroup

ROWS = r"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
23 21 0:25 /a\040b /srv/with\040space\134and\012more rw master:3 - ext4 /dev/sdb rw
24 21 0:26 / /srv/shifted rw,idmapped - tmpfs tmpfs rw
25 21 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
"""


@pytest.fixture
def found(tmp_path):
    (tmp_path / "mountinfo").write_text(ROWS)
    return mounts(f"{tmp_path}/mountinfo")


def test_a_row(found):
    assert found[0] == Mount(21, "/", "/", "ext4", idmapped=False)
    assert found[3] == Mount(24, "/", "/srv/shifted", "tmpfs", idmapped=True)


def test_paths_are_as_they_are(found):
    assert (found[2].root, found[2].path) == ("/a b", "/srv/with space\\and\nmore")


@pytest.mark.parametrize("odd", ["\x0c", "\r", "\x85", "\u2028", "\x1c"])
def test_a_mount_point_that_holds_another_line_end_is_one_row(tmp_path, odd):
    """Only a space, a tab, a line feed and a backslash are escaped: a user's own mount could break the list."""
    row = f"30 21 0:30 / /home/user/x{odd}y rw - fuse.sshfs s rw\n"
    (tmp_path / "mountinfo").write_bytes((ROWS + row).encode())
    assert mounts(f"{tmp_path}/mountinfo")[-1].path == f"/home/user/x{odd}y"


def test_without_a_list_there_is_no_mount(tmp_path):
    assert mounts(f"{tmp_path}/missing") == ()


def test_what_lies_below_a_folder():
    rows = [Mount(n, "/", path, "ext4", idmapped=False) for n, path in enumerate(["/", "/srv", "/srv/a", "/srvx"])]
    assert [mount.path for mount in below(rows, "/srv")] == ["/srv/a"]
    assert [mount.path for mount in below(rows, "/srv/")] == ["/srv/a"]
    assert [mount.path for mount in below(rows, "/")] == ["/srv", "/srv/a", "/srvx"]


def cgroup2(root, path="/sys/fs/cgroup"):
    return Mount(1, root, path, "cgroup2", idmapped=False)


@pytest.mark.parametrize(
    ("own", "found", "expected"),
    [
        ("0::/", [cgroup2("/")], ("/sys/fs/cgroup", "/")),
        ("0::/user.slice/x", [cgroup2("/")], ("/sys/fs/cgroup", "/user.slice/x")),
        ("4:memory:/m\n0::/x", [cgroup2("/", "/sys/fs/cgroup/unified")], ("/sys/fs/cgroup/unified", "/x")),
        # a mount of a part, in which the caller is, or is not
        ("0::/a/b", [cgroup2("/a")], ("/sys/fs/cgroup", "/b")),
        ("0::/a", [cgroup2("/a")], ("/sys/fs/cgroup", "/")),
        ("0::/ab", [cgroup2("/a")], ("", "")),
        ("0::/b/c", [cgroup2("/a"), cgroup2("/b", "/mnt")], ("/mnt", "/c")),
        # outside of the cgroup namespace, with a mount from there or without
        ("0::/../x", [cgroup2("/")], ("", "")),
        ("0::/../x", [cgroup2("/..")], ("/sys/fs/cgroup", "/x")),
        ("0::/x", [Mount(1, "/", "/sys/fs/cgroup/memory", "cgroup", idmapped=False)], ("", "")),
        ("4:memory:/m", [cgroup2("/")], ("", "")),
        ("", [cgroup2("/")], ("", "")),
    ],
)
def test_the_own_cgroup_is_below_a_mount_that_shows_it(tmp_path, own, found, expected):
    (tmp_path / "cgroup").write_text(own + "\n")
    assert own_cgroup(found, f"{tmp_path}/cgroup") == expected


def test_this_machine_has_a_root_and_a_proc():
    found = {mount.path: mount for mount in mounts()}
    assert "/" in found
    assert found["/proc"].filesystem == "proc"
