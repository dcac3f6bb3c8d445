"""What a manifest reads of this machine, and whether sudo's user could have read it himself."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from volt.host.sources import FileSources, readable_by

NOBODY = 65534
root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to other users needs root")


@pytest.fixture
def folder():
    """A folder that everybody may enter: pytest's own lies below one that only its user may."""
    path = Path(tempfile.mkdtemp(prefix="volt-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def readable(path: Path, uid: int = NOBODY) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return readable_by(uid, descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, mode: int, owner: tuple[int, int] = (0, 0)) -> Path:
    path.write_text("a = 1")
    path.chmod(mode)
    os.chown(path, *owner)
    return path


@root
@pytest.mark.parametrize(
    ("mode", "owner", "answer"),
    [
        (0o644, (0, 0), True),
        (0o640, (0, 0), False),
        (0o640, (0, NOBODY), True),
        (0o604, (0, NOBODY), False),
        (0o400, (NOBODY, 0), True),
        (0o044, (NOBODY, NOBODY), False),
    ],
)
def test_owner_group_and_mode_decide(folder, mode, owner, answer):
    assert readable(write(folder / "a.toml", mode, owner)) is answer


@root
def test_every_folder_above_counts(folder):
    path = write(folder / "a.toml", 0o644)
    folder.chmod(0o700)
    assert not readable(path)
    folder.chmod(0o711)
    assert readable(path)


@root
def test_the_file_behind_a_link_counts(folder):
    secret = folder / "root"
    secret.mkdir(mode=0o700)
    write(secret / "a.toml", 0o644)
    (folder / "link.toml").symlink_to(secret / "a.toml")
    assert not readable(folder / "link.toml")


@root
def test_an_access_control_list_is_not_guessed_at(folder):
    path = write(folder / "a.toml", 0o644)
    # Version 2; owner rw, group r, mask r, others r: acl(5), in the form of linux/posix_acl_xattr.h.
    acl = b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + b"\xff\xff\xff\xff"
        for tag, bits in ((1, 6), (4, 4), (16, 4), (32, 4))
    )
    named = (2).to_bytes(2, "little") + (0).to_bytes(2, "little") + NOBODY.to_bytes(4, "little")
    try:
        os.setxattr(path, "system.posix_acl_access", acl[:12] + named + acl[12:])
    except OSError as error:
        pytest.skip(f"this file system has no access control lists: {error.strerror}")
    assert not readable(path)


@root
def test_an_unknown_user_reads_nothing(folder):
    assert not readable(write(folder / "a.toml", 0o644), 4_000_000)
    assert not readable(folder / "a.toml", 1 << 70)


@root
@pytest.mark.parametrize(
    ("user", "answer"), [(None, True), ("", True), ("0", True), (str(NOBODY), False), ("me", False), ("²", False)]
)
def test_only_sudo_withholds(folder, monkeypatch, user, answer):
    monkeypatch.delenv("SUDO_UID", raising=False)
    if user is not None:
        monkeypatch.setenv("SUDO_UID", user)
    path = str(write(folder / "a.toml", 0o600))
    sources = FileSources()
    assert sources.read(path) == b"a = 1"
    assert sources.quotable(path) is answer


@root
def test_the_file_that_was_read_decides_whatever_its_name_means_later(folder, monkeypatch):
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    write(folder / "secret", 0o600)
    write(folder / "own", 0o644)
    (folder / "a.toml").symlink_to("secret")
    sources = FileSources()
    sources.read(str(folder / "a.toml"))
    (folder / "a.toml").unlink()
    (folder / "a.toml").symlink_to("own")
    assert not sources.quotable(str(folder / "a.toml"))


def test_what_exists_and_what_is_called_how(folder, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", "/srv/volt")
    monkeypatch.setenv("NAME", "value")
    (folder / "dangling").symlink_to("nowhere")
    sources = FileSources()
    assert sources.exists(str(folder / "dangling"))
    assert not sources.exists(str(folder / "nowhere"))
    assert not sources.exists("/" + "a" * 10_000)
    assert (sources.variable("NAME"), sources.variable("NOBODY_SET_THIS")) == ("value", None)
    names = sources.builtins()
    assert names["HOSTNAME"] == os.uname().nodename
    assert names["VOLT_CAS_DIR"] == f"{names['VOLT_BASE']}/store"
    assert all(names[name].startswith("/srv/volt/") for name in ("VOLT_BASE", "VOLT_RUN_DIR"))
