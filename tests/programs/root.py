"""The Debian in which the programs run: one root file system of every package that is tested, built once and kept.

It lies beside the guests, in ~/.cache/volt-ci, under a key of what shapes it: whoever adds a package builds it anew.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from guest import GuestFailed, cache, debian

SUITE = "trixie"
PACKAGES = (
    *("nginx", "caddy", "redis-server", "redis-tools"),
    *("postgresql", "postgresql-client"),
    *("python3", "nodejs", "gcc", "libc6-dev", "git"),
    *("openssh-server", "openssh-client"),
    *("systemd", "systemd-sysv", "dbus"),  # it is booted too
)
ROOT = "root"  # below the folder that the cache keeps


def debian_root() -> Path:
    """The root file system, built where it is missing: a minute or two. Raises GuestFailed, with what to do."""
    kept = cache.Cache(cache.folder())
    return kept.get(f"programs-{SUITE}-{key()}", build) / ROOT


def key() -> str:
    """A digest of the packages and of how they are fetched; what Debian has at that moment is not asked."""
    said = repr((SUITE, PACKAGES, debian.mirror(), debian.fetching()))
    recipe = (Path(__file__), Path(debian.__file__))
    parts = [said.encode(), *(path.read_bytes() for path in recipe)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def build(folder: Path) -> None:
    root = folder / ROOT
    if not shutil.which("mmdebstrap"):
        raise GuestFailed(
            "the Debian of the programs is built by mmdebstrap, which is missing: scripts/need mmdebstrap"
        )
    debian.bootstrap(SUITE, root, PACKAGES, variant="minbase")
