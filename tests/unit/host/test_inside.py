"""Reading a file of a root as the workload will find it. What only root can make is in tests/host/test_probe.py."""

import os

import pytest

from volt.host.inside import MOST_LINKS, program_inside, read_inside


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "outside").write_text("outside")
    return tmp_path / "root"


@pytest.fixture
def upper(tmp_path):
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper"


def read(root, path="etc/passwd", upper=None):
    return read_inside(path, root and str(root), upper and str(upper))


def test_a_file_of_the_root(root):
    (root / "etc/passwd").write_text("here")
    assert read(root) == "here"
    assert read(root, "/etc//./passwd") == "here"


@pytest.mark.parametrize("path", ["etc/missing", "missing/passwd", "etc", "etc/passwd/below", "", "/", ".."])
def test_what_is_no_regular_file_is_nothing(root, path):
    (root / "etc/passwd").write_text("here")
    assert read(root, path) == ""


def test_without_a_root_and_a_layer_there_is_nothing(root):
    assert read(None) == ""
    assert read(f"{root}/missing") == ""


@pytest.mark.parametrize(
    "target",
    [
        "/etc/real",
        "real",
        "../etc/real",
        "../../../../../etc/real",
        "/../../etc/real",
        "//etc/./real",
    ],
)
def test_a_link_leads_within_the_root(root, target):
    (root / "etc/real").write_text("inside")
    (root / "etc/passwd").symlink_to(target)
    assert read(root) == "inside"


@pytest.mark.parametrize("target", ["../../outside", "/outside", "/proc/self/environ", "/proc/1/root/etc/passwd"])
def test_a_link_never_leads_out_of_the_root(root, target):
    (root / "etc/passwd").symlink_to(target)
    assert read(root) == ""


def test_an_absolute_link_to_the_hosts_own_path_stays_inside(root, tmp_path):
    (root / "etc/passwd").symlink_to(tmp_path / "outside")
    assert read(root) == ""


def test_a_folder_that_is_a_link_to_the_host_stays_inside(root):
    (root / "etc").rmdir()
    (root / "etc").symlink_to("/etc")
    assert read(root) == ""


def test_links_to_links_have_an_end(root):
    (root / "etc/passwd").symlink_to("passwd")
    assert read(root) == ""
    (root / "etc/0").write_text("end")
    for number in range(MOST_LINKS + 1):
        (root / f"etc/{number + 1}").symlink_to(str(number))
    assert read(root, f"etc/{MOST_LINKS}") == "end"
    assert read(root, f"etc/{MOST_LINKS + 1}") == ""


def test_a_link_that_grows_has_an_end(root):
    (root / "etc/x").symlink_to("x/x/x/x/x/x/x/x/x/x/x/x/x/x")
    assert read(root, "etc/x") == ""


def test_a_path_of_too_many_names_has_an_end(root):
    (root / "etc/passwd").write_text("here")
    assert read(root, "etc/../" * 150 + "etc/passwd") == "here"
    assert read(root, "etc/../" * 250 + "etc/passwd") == ""


def test_a_fifo_is_neither_read_nor_waited_for(root):
    os.mkfifo(root / "etc/passwd")
    assert read(root) == ""


def test_bytes_that_no_plan_can_carry_are_replaced_and_too_many_are_none(root):
    (root / "etc/passwd").write_bytes(b"a\xff\0b")
    assert read(root) == "a��b"
    (root / "etc/passwd").write_bytes(b"x" * ((1 << 20) + 1))
    assert read(root) == ""


def test_the_layer_lies_over_the_root(root, upper):
    (root / "etc/passwd").write_text("below")
    (root / "etc/group").write_text("below")
    (upper / "etc").mkdir()
    (upper / "etc/passwd").write_text("above")
    assert read(root, upper=upper) == "above"
    assert read(root, "etc/group", upper) == "below"
    assert read(None, upper=upper) == "above"


def test_a_file_of_the_layer_hides_the_roots_folder(root, upper):
    (root / "etc/passwd").write_text("below")
    (upper / "etc").write_text("a file")
    assert read(root, upper=upper) == ""


def test_a_link_in_the_layer_leads_through_the_merged_tree(root, upper):
    (root / "etc/real").write_text("below")
    (upper / "etc").mkdir()
    (upper / "etc/passwd").symlink_to("real")
    assert read(root, upper=upper) == "below"


def test_a_layer_that_is_not_there_counts_for_nothing(root, upper):
    (root / "etc/passwd").write_text("below")
    assert read(root, upper=f"{upper}/missing") == "below"


def test_no_descriptor_is_left(root, upper):
    (root / "etc/passwd").write_text("below")
    before = sorted(os.listdir("/proc/self/fd"))
    read(root, upper=upper)
    read(root, "etc/missing", upper)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def small(root):
    """A root whose init is a link to a program that may run."""
    for folder in ("sbin", "bin"):
        (root / folder).mkdir()
    (root / "bin/busybox").touch(0o755)
    (root / "sbin/init").symlink_to("../bin/busybox")
    return root


def program(root, upper=None):
    found = program_inside(("usr/lib/init", "sbin/init"), str(root), upper and str(upper))
    return found.path, found.file


def test_a_program_is_found_behind_its_links_and_only_where_it_may_run(small, upper):
    assert program(small) == ("sbin/init", "bin/busybox")
    (upper / "sbin").mkdir()
    (upper / "sbin/init").symlink_to("/../../../outside")
    assert program(small, upper) == ("", ""), "not what lies outside"
    (small / "bin/busybox").chmod(0o644)
    assert program(small) == ("", "")


def test_what_a_program_follows_from_is_every_step_of_the_way_in_each_layer(small, upper):
    (upper / "bin").mkdir()
    found = program_inside(("usr/lib/init", "sbin/init"), str(small), str(upper))
    assert {*found.there} == {f"{small}/{name}" for name in ("sbin", "sbin/init", "bin", "bin/busybox")} | {
        f"{upper}/bin"
    }
    assert {*found.missing} == {f"{small}/usr", *(f"{upper}/{name}" for name in ("usr", "sbin", "bin/busybox"))}


def test_behind_a_link_to_the_root_too(small, tmp_path):
    (tmp_path / "current").symlink_to(small)
    found = program_inside(("sbin/init",), str(tmp_path / "current"), None)
    assert {*found.there} == {f"{small}/{name}" for name in ("sbin", "sbin/init", "bin", "bin/busybox")}


def test_of_an_image_only_what_lies_over_it_can_change(small, upper):
    found = program_inside(("sbin/init",), str(small), str(upper), "/objects")
    assert (found.path, found.there) == ("sbin/init", ())
    assert {*found.missing} == {f"{upper}/{name}" for name in ("sbin", "bin")}
