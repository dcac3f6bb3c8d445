"""Random layers of an image, as a seed says: whatever a layer can hold, and whatever it can do to those below it."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath

MTIME = 1_700_000_000
NAMES = ("a", "bb", "c.d", "-e", "F g", "ü", "€" * 20, "new\nline", "x" * 150, "\udcff", "_", "usr", "wh.")
CONTENTS = (b"", b"x", b"#!/bin/sh\n" * 100, bytes(range(256)) * 40, bytes(5000), b"large" * 15_000)
MODES = (0o644, 0o600, 0o755, 0o444, 0o4755, 0o2750, 0o6711, 0)
FOLDERS = (0o755, 0o700, 0o1777, 0o2775, 0o555)
OWNERS = (0, 0, 1, 1000, 65534)
# cap_net_raw+ep, linux/capability.h: revision 2.
ATTRIBUTES = (
    {},
    {},
    {"SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x20" + "\0" * 14},
    {"SCHILY.xattr.user.note": "a b\n=\0"},
)
DEEPEST = 10
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


class Layers:
    """An image that grows; what it comes to is known as far as choosing needs it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.below: dict[str, set[str]] = {"": set()}  # of each folder, the names in it
        self.files: list[str] = []  # these two may hold what has gone
        self.folders: list[str] = [""]
        self.there: dict[str, str] = {}  # f, l or d by path
        self.links: dict[str, str] = {}  # links that lead to folders, and where
        self.done: Counter[str] = Counter()
        self.touched: set[str] = set()  # what this layer has something of, with all folders above

    def write(self, target: Path, size: int, sparse: Path | None = None) -> None:
        """One more layer, with about so many new names; `sparse` is a folder that GNU tar packs into it."""
        self.touched = set()
        if sparse:
            words = ("tar", "--format=pax", "--sparse", "--sort=name", "-C", sparse, "-cf", target, ".")
            subprocess.run(words, check=True, capture_output=True)
        with tarfile.open(target, "a", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
            if self.there:
                for _ in range(max(8, size // 20)):
                    self.random.choice((self._hide, self._empty, self._again, self._replace))(archive)
                for _ in range(max(4, size // 50)):
                    self.random.choice((self._link_below, self._through_link))(archive)
            for _ in range(size):
                self._new(archive)

    # ── members

    def _member(self, archive: tarfile.TarFile, path: str, kind: bytes, data: bytes = b"", **fields: object) -> None:
        one = tarfile.TarInfo(path)
        one.type, one.size, one.mtime = kind, len(data), MTIME + self.random.randrange(10**6)
        one.uid, one.gid = self.random.choice(OWNERS), self.random.choice(OWNERS)
        one.mode = self.random.choice(FOLDERS if kind == tarfile.DIRTYPE else MODES)
        for name, value in fields.items():
            setattr(one, name, value)
        archive.addfile(one, io.BytesIO(data))
        self.touched |= {path, *map(str, PurePosixPath(path).parents)}

    def _file(self, archive: tarfile.TarFile, path: str) -> None:
        data = self.random.choice(CONTENTS) + (path.encode("utf-8", "replace") if self.random.random() < 0.5 else b"")
        self._member(archive, path, tarfile.REGTYPE, data, pax_headers=dict(self.random.choice(ATTRIBUTES)))
        self._note(path, "f")
        self.files.append(path)

    def _folder(self, archive: tarfile.TarFile, path: str) -> None:
        self._member(archive, path, tarfile.DIRTYPE)
        self._note(path, "d")

    def _symlink(self, archive: tarfile.TarFile, path: str) -> None:
        """To a folder, from the root on or from where it lies; to a file; or to nowhere."""
        to = self._one(self.folders) if self.random.random() < 0.5 else self._one(self.files) or "nowhere"
        near = os.path.relpath(f"/{to}", f"/{os.path.dirname(path)}")
        self._member(archive, path, tarfile.SYMTYPE, linkname=self.random.choice((f"/{to}", near)))
        self._note(path, "l")
        if to and self.there.get(to) == "d":
            self.links[path] = to

    def _new(self, archive: tarfile.TarFile) -> None:
        path, kind = self._free(), self.random.random()
        if kind < 0.15:
            self._folder(archive, path)
        elif kind < 0.25:
            self._symlink(archive, path)
        elif kind < 0.3 and (target := self._one(self.files)):
            self._hard_link(archive, path, target)
        elif kind < 0.32:
            self._member(archive, path, tarfile.FIFOTYPE)
            self._note(path, "l")
        elif kind < 0.37:  # in a folder that no member makes; at the top, since mkdir(2) takes over set-group-ID
            above = path.rpartition("/")[2]
            if above not in self.there:
                self._note(above, "d")
                self._file(archive, f"{above}/{self.random.choice(NAMES)}")
        else:
            self._file(archive, path)

    def _hard_link(self, archive: tarfile.TarFile, path: str, target: str) -> None:
        self._member(archive, path, tarfile.LNKTYPE, linkname=target)
        self._note(path, "f")
        self.files.append(path)

    # ── what a layer does to those below it

    def _hide(self, archive: tarfile.TarFile) -> None:
        if path := self._below(0.2):
            self.done["whiteout"] += 1
            above, _, name = path.rpartition("/")
            self._member(archive, f"{above}/{WHITEOUT}{name}".lstrip("/"), tarfile.REGTYPE)
            self._forget(path)

    def _empty(self, archive: tarfile.TarFile) -> None:
        if path := self._below(1):
            self.done["opaque"] += 1
            self._folder(archive, path)
            self._member(archive, f"{path}/{OPAQUE}", tarfile.REGTYPE)
            for name in list(self.below[path]):
                self._forget(f"{path}/{name}")
            self._file(archive, f"{path}/{self.random.choice(NAMES)}")

    def _again(self, archive: tarfile.TarFile) -> None:
        """The same name with another owner, mode or content."""
        if self.random.random() < 0.5 and (path := self._one(self.folders)):
            self._folder(archive, path)
        elif path := self._one(self.files):
            self._file(archive, path)

    def _replace(self, archive: tarfile.TarFile) -> None:
        """What was a folder becomes a file or a link, and a file a folder."""
        path = self._below(0.3)
        if path and self.there[path] == "d":
            self.done["no folder any more"] += 1
            self._forget(path)
            self.random.choice((self._file, self._symlink))(archive, path)
        elif path:
            self.done["a folder now"] += 1
            self._forget(path)
            self._folder(archive, path)

    def _link_below(self, archive: tarfile.TarFile) -> None:
        if target := self._one(self.files):
            self.done["hard link below"] += target not in self.touched
            self._hard_link(archive, self._free(), target)

    def _through_link(self, archive: tarfile.TarFile) -> None:
        """A file by a path that leads through a link of a layer below."""
        known = [(link, to) for link, to in self.links.items() if self._leads(link, to)]
        if known:
            link, to = self.random.choice(known)
            name = f"through{self.random.randrange(1000)}"
            if name not in self.below[to]:
                self.done["through a link"] += 1
                self._member(archive, f"{link}/{name}", tarfile.REGTYPE, b"through", pax_headers={})
                self._note(f"{to}/{name}", "f")

    # ── what there is

    def _one(self, paths: list[str]) -> str:
        """One that is still there; the root is not chosen."""
        kind = "d" if paths is self.folders else "f"
        for _ in range(20):
            path = self.random.choice(paths) if paths else ""
            if path and self.there.get(path) == kind:
                return path
        return ""

    def _below(self, folders: float) -> str:
        """A file, or with that probability a folder, which is of the layers below alone."""
        path = self._one(self.folders if self.random.random() < folders else self.files)
        return path if path not in self.touched else ""

    def _leads(self, link: str, to: str) -> bool:
        return self.there.get(link) == "l" and self.there.get(to) == "d"

    def _free(self) -> str:
        while True:
            above = self._one(self.folders) if self.random.random() < 0.8 else ""
            name = self.random.choice(NAMES) + str(self.random.randrange(1000))
            path = f"{above}/{name}".lstrip("/")
            if path not in self.there and path.count("/") < DEEPEST:
                return path

    def _note(self, path: str, kind: str) -> None:
        above, _, name = path.rpartition("/")
        self.below[above].add(name)
        self.there[path] = kind
        if kind == "d" and path not in self.below:
            self.below[path] = set()
            self.folders.append(path)

    def _forget(self, path: str) -> None:
        for name in self.below.pop(path, set()):
            self._forget(f"{path}/{name}")
        self.there.pop(path, None)
        above, _, name = path.rpartition("/")
        if above in self.below:
            self.below[above].discard(name)
