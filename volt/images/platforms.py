"""Which of the manifests in an index runs best on a processor: architectures and variants, as Go and OCI image-spec,
image-index.md, "Platform Variants", call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from volt.errors import StoreError
from volt.model.values import Value

if TYPE_CHECKING:
    from volt.images.manifest import Listed

# Go's names of what uname(2) calls otherwise: go.dev/src/internal/goarch.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "loongarch64": "loong64"}
# What an architecture means without a variant; each runs what is for a smaller one.
BASELINES = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
# What each level of amd64 has beyond the one before, as /proc/cpuinfo calls it: x86-64 psABI, "Micro-Architecture
# Levels". pni is SSE3, abm has LZCNT.
_LEVELS = (
    "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3",
    "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "avx512bw avx512cd avx512dq avx512f avx512vl",
)
_WRITTEN = re.compile(r"(?:linux/)?([a-z0-9_]+)(?:/(v\d+))?", re.ASCII)
_VARIANT = re.compile(r"v(\d+)(?:\.(\d+))?", re.ASCII)
_ARM = re.compile(r"armv(\d)", re.ASCII)  # uname(2) of 32-bit kernels: armv6l, armv7l, armv8l


class Platform(Value):
    """An architecture and its variant, "" for one that has none or says none."""

    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, ("linux", self.architecture, self.variant)))


def parse_platform(written: str) -> Platform:
    """`linux/arm64`, `linux/arm/v6`: without a variant the one that the architecture means then. Raises StoreError."""
    found = _WRITTEN.fullmatch(written)
    if not found or found[1] == "linux":
        raise StoreError(f"{written!r} is no platform", hint="write linux/amd64, linux/arm64 or linux/arm/v7")
    return _whole(Platform(found[1], found[2] or ""))


def processor(machine: str, cpuinfo: str) -> Platform:
    """What programs run here: `machine` is uname(2)'s, `cpuinfo` the text of proc_cpuinfo(5)."""
    architecture = ARCHITECTURES.get(machine, machine)
    if old := _ARM.match(machine):
        return Platform("arm", f"v{old[1]}")
    if architecture == "amd64":
        return Platform(architecture, f"v{1 + _level(cpuinfo)}")
    return _whole(Platform(architecture))


def _level(cpuinfo: str) -> int:
    """How many of the levels every processor has."""
    found = [line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")]
    flags = set.intersection(*map(set, found)) if found else set()
    missing = (number for number, level in enumerate(_LEVELS) if not flags.issuperset(level.split()))
    return next(missing, len(_LEVELS))


def best(lines: Sequence[Listed], wanted: Platform) -> tuple[Listed, ...]:
    """The lines whose images run on a processor, of those of one name only the ones that use most of it; then those
    that do not say what they are for."""
    running = [one for one in lines if runs(one.platform, wanted)]
    most: dict[tuple[str, ...], tuple[int, ...]] = {}
    for one in running:
        most[one.labels] = max(most.get(one.labels, ()), _order(_whole(one.platform)))
    chosen = [one for one in running if _order(_whole(one.platform)) == most[one.labels]]
    return (*chosen, *(one for one in lines if not one.platform.architecture))


def runs(platform: Platform, processor: Platform) -> bool:
    """Whether programs for a platform run on a processor. Of an architecture whose variants have no order that is known
    here, those for the same one do, and those that name none."""
    if platform.architecture != processor.architecture:
        return False
    one, most = _whole(platform).variant, _whole(processor).variant
    if platform.architecture not in BASELINES:
        return one in ("", most)
    return one == most or bool(_VARIANT.fullmatch(one) and _order(_whole(platform)) <= _order(_whole(processor)))


def _whole(platform: Platform) -> Platform:
    return Platform(platform.architecture, platform.variant or BASELINES.get(platform.architecture, ""))


def _order(platform: Platform) -> tuple[int, ...]:
    found = _VARIANT.fullmatch(platform.variant)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
