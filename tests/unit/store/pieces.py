"""What the tests of the store share: a store of their own, imports into it, and archives written byte by byte."""

import io
import os
import stat
import tarfile
from pathlib import Path

from volt.store.archive import read_archive
from volt.store.folder import read_folder
from volt.store.intake import Intake
from volt.store.transaction import Transaction


def take_folder(store, folder, **options):
    """The digest of a folder's tree, imported as it is."""
    with Transaction(store) as transaction:
        digest = transaction.put_tree(read_folder(str(folder), Intake(transaction, **options)))
        transaction.commit()
    return digest


def take_archive(store, data, **options):
    """The digest of the tree in an archive: its bytes, or something to read them from."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with Transaction(store) as transaction:
        digest = transaction.put_tree(read_archive(file, Intake(transaction, **options)))
        transaction.commit()
    return digest


def member(name, data=b"", *, kind=tarfile.REGTYPE, **fields):
    """One member of an archive, with its content."""
    one = tarfile.TarInfo(name)
    one.type, one.size = kind, len(data)
    for field, value in fields.items():
        setattr(one, field, value)
    return one, data


def archive(*members, encoding="utf-8"):
    """An archive of these, whatever is wrong with them."""
    made = bytearray()
    for one, data in members:
        made += one.tobuf(tarfile.PAX_FORMAT, encoding, "surrogateescape")
        made += data + bytes(-len(data) % 512)
    return bytes(made) + bytes(1024)


def folder(path, mtime=1_700_000_000):
    """A folder with something of everything that needs no root."""
    path = Path(path)
    (path / "etc").mkdir(parents=True)
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (path / "etc/empty").touch()
    (path / "etc/link").symlink_to("../etc/passwd")
    (path / "a" / "b").mkdir(parents=True)
    os.link(path / "etc/passwd", path / "a/b/again")
    os.link(path / "etc/link", path / "a/link", follow_symlinks=False)
    os.mkfifo(path / "a/pipe")
    (path / "bin").mkdir()
    (path / "bin/su").write_bytes(b"\x7fELF" + bytes(range(256)) * 40)
    (path / "bin/su").chmod(0o4755)
    (path / "tmp").mkdir()
    (path / "tmp").chmod(0o1777)
    (path / os.fsdecode(b"a/\xff\xfe and a\nnew line")).write_text("odd")
    for each in sorted(path.rglob("*"), reverse=True):
        os.utime(each, (mtime, mtime), follow_symlinks=False)
    os.utime(path, (mtime, mtime))
    return path


def listing(path):
    """What lies below a folder, as far as a tree knows it: of a link its mode says nothing."""
    found = {}
    for each in [Path(path), *sorted(Path(path).rglob("*"))]:
        status = each.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = each.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        target = os.readlink(each) if stat.S_ISLNK(status.st_mode) else ""
        mode = 0 if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)
        where = os.path.relpath(each, path)
        found[where] = (kind, mode, status.st_uid, status.st_gid, int(status.st_mtime), content, target)
    return found
