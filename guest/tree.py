"""The work tree as a guest gets it: an archive that everything in it belongs to root."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"build", "dist", "__pycache__"}  # and every hidden folder: what was made here, from here


def pack(tree: Path, archive: Path) -> None:
    """What a clone has, with what is not committed, and with the compiled program."""
    with tarfile.open(archive, "w") as tar:
        for path in _files(tree):
            tar.add(path, arcname=str(path.relative_to(tree)), recursive=False, filter=_owned_by_root)


def _files(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("."))
        yield from (Path(folder, name) for name in sorted([*folders, *names]))


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Files of others are none that volt would trust."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
