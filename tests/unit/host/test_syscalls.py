"""System calls that Python has no function for, on the real kernel."""

import errno
import os

import pytest

from volt.host.syscalls import landlock_abi, open_path


def test_a_descriptor_reads_nothing_and_is_not_inherited(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    descriptor = open_path(f"{tmp_path}/fifo")  # not waited for
    try:
        assert os.fstat(descriptor).st_ino == (tmp_path / "fifo").stat().st_ino
        assert not os.get_inheritable(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(descriptor, 1)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/nowhere/at/all", errno.ENOENT),
        ("/proc/self/status/x", errno.ENOTDIR),
        ("/proc/self/exe", errno.ELOOP),
        ("/proc/self/root/etc", errno.ELOOP),
        ("/proc/self/fd/0", errno.ELOOP),
    ],
)
def test_magic_links_are_not_followed(path, number):
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the number says which)
        open_path(path)
    assert (caught.value.errno, caught.value.filename) == (number, path)


def test_ordinary_links_are_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    descriptor = open_path(f"{tmp_path}/link")
    assert os.path.samestat(os.fstat(descriptor), tmp_path.stat())
    os.close(descriptor)


def test_landlock_has_a_version_or_is_not_there():
    assert 0 <= landlock_abi() < 100
