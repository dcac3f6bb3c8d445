"""The images that the store is measured with: Debian's, as mmdebstrap makes them, and some that are made of nothing.

They are built once, and kept where the guests of the tests are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.disk import said
from bench.measure import BenchFailed
from guest import GuestFailed, cache, debian

SUITE = "bookworm"
# Of one team: the same base and language, another library each.
SIMILAR = {name: ("python3", f"python3-{name}") for name in ("requests", "yaml", "flask", "psycopg2", "redis")}
FIRST, SECOND = list(SIMILAR)[:2]
LARGE = "large"  # compressed it has some 90 MB
ROOTS = {**SIMILAR, LARGE: ("python3", "git", "nginx-light", "redis-server", "perl", "vim")}
FEW, MANY = 1_000, 100_000  # files
HUGE = 512 << 20  # bytes of one file, which do not compress
LAYOUT = "layout"
LAYERED = (LARGE, str(MANY), "huge")  # what is pulled


@dataclass(frozen=True, slots=True)
class Samples:
    """Where they lie: roots as folders, and one OCI layout of what is pulled."""

    folder: Path

    def root(self, name: str) -> Path:
        return self.folder / name

    @property
    def layout(self) -> Path:
        return self.folder / LAYOUT

    def compressed(self, name: str) -> int:
        """Bytes of an image's layers."""
        manifest = json.loads(said("skopeo", "inspect", "--raw", f"oci:{self.layout}:{name}"))
        return sum(int(layer["size"]) for layer in manifest["layers"])


def samples() -> Samples:
    """Built where they are missing, which takes minutes. Raises BenchFailed."""
    try:
        return Samples(cache.Cache(cache.folder()).get(f"bench-{SUITE}-{_key()}", _build))
    except GuestFailed as failed:
        raise BenchFailed(str(failed)) from failed


def _key() -> str:
    shape = repr((SUITE, ROOTS, FEW, MANY, HUGE, debian.mirror(), debian.fetching()))
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


def _build(folder: Path) -> None:
    for name, packages in ROOTS.items():
        debian.bootstrap(SUITE, folder / name, packages, variant="minbase")
        for path in (folder / name / "dev").iterdir():  # what it has there is the launcher's to make
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for count in (FEW, MANY):
        _files(folder / str(count), count)
    (folder / "huge").mkdir()
    with (folder / "huge/file").open("wb") as file:
        for _ in range(HUGE >> 20):
            file.write(os.urandom(1 << 20))
    said("umoci", "init", "--layout", str(folder / LAYOUT))
    for name in LAYERED:
        image = f"{folder / LAYOUT}:{name}"
        said("umoci", "new", "--image", image)
        said("umoci", "insert", "--image", image, str(folder / name), "/")


def _files(root: Path, count: int) -> None:
    """Small ones, no two alike, a hundred to a folder; and a program to launch."""
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/true").symlink_to("busybox")
    for number in range(count):
        path = root / f"{number // 100}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
