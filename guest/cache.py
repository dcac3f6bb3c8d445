"""What is built once and kept under a name that holds its content's key.

It lies in the user's cache folder and not in the work tree, so that every clone of the project shares it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEPT = 7 * 86400.0  # seconds for which what nobody uses is kept: other branches have other keys
_NEW = ".new-"


def folder() -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/volt-ci, which nobody else can look into."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    own = Path(home, "volt-ci")
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    return own


@dataclass(frozen=True, slots=True)
class Cache:
    """Folders by name, each whole or not there at all."""

    folder: Path

    def get(self, name: str, build: Callable[[Path], None]) -> Path:
        """The folder of this name, made by `build` where it is missing: once, however many ask for it."""
        wanted = self.folder / name
        with self._locked():
            if not wanted.is_dir():
                self._build(wanted, build)
            os.utime(wanted)
            self._remove_old(keep=wanted)
        return wanted

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _build(self, wanted: Path, build: Callable[[Path], None]) -> None:
        new = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.folder))
        try:
            build(new)
            new.rename(wanted)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _remove_old(self, keep: Path) -> None:
        """What a killed builder left, and what was long unused. A guest that runs has its files open."""
        for path in self.folder.iterdir():
            old = path.is_dir() and time.time() - path.stat().st_mtime > KEPT
            if path != keep and (old or path.name.startswith(_NEW)):
                shutil.rmtree(path)
