"""A disk of the benchmark's own: a fresh ext4 file system over a file, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self

from bench.measure import BenchFailed, call

SIZE = 12 << 30  # bytes, of which the file takes what is written
_NEW_MOUNTS, _RECURSIVE, _PRIVATE = 0x00020000, 0x4000, 0x40000  # unshare(2), mount(2)
# All of it is there at once: the kernel would write it later, into a measurement.
_WHOLE = "lazy_itable_init=0,lazy_journal_init=0"


class Disk:
    """Mounted at `path`. The loop device goes with the mount, and reads past the page cache: what is in that is then
    of files on the disk alone."""

    def __init__(self, folder: Path) -> None:
        self.path, self._file = folder / "disk", folder / "disk.ext4"

    def __enter__(self) -> Self:
        """Raises BenchFailed."""
        call("unshare", _NEW_MOUNTS)
        call("mount", None, b"/", None, _RECURSIVE | _PRIVATE, None)
        self.path.mkdir()
        self._file.touch(mode=0o600)
        os.truncate(self._file, SIZE)
        said("mkfs.ext4", "-q", "-E", _WHOLE, str(self._file))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        self._unmount()

    def _mount(self) -> None:
        device = said("losetup", "--find", "--show", "--direct-io=on", str(self._file)).strip()
        try:
            said("mount", device, str(self.path))
        finally:
            said("losetup", "--detach", device)  # as soon as it is unmounted

    def _unmount(self) -> None:
        said("umount", str(self.path))

    def forget(self) -> None:
        """Nothing of it is in the page cache any more."""
        self._unmount()
        self._mount()

    def settle(self) -> None:
        """Whatever was written is on the disk."""
        said("sync", "--file-system", str(self.path))

    def used(self) -> int:
        """Bytes."""
        self.settle()
        status = os.statvfs(self.path)
        return (status.f_blocks - status.f_bfree) * status.f_frsize


def cached(folder: Path) -> int:
    """Bytes of the files below a folder that are in the page cache."""
    names = b"".join(os.fsencode(path) + b"\0" for path in folder.rglob("*") if path.is_file())
    words = ["xargs", "-0", "fincore", "--bytes", "--noheadings", "--output=RES"]
    done = subprocess.run(words, input=names, capture_output=True, check=False)
    if done.returncode:
        raise BenchFailed(f"fincore ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    return sum(map(int, done.stdout.split()))


def said(*words: str) -> str:
    """What a command prints. Raises BenchFailed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout
