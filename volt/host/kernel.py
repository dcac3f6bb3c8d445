"""What the kernel says about itself and about this process."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

from volt.host.files import read_text
from volt.model.steps import LIMITS, NO_LIMIT

_LIST = 64 << 20  # bytes of a list of symbols or modules, at most
_VERSION = re.compile(r"(\d+)\.(\d+)")


def version(release: str) -> tuple[int, int]:
    """(6, 1) of `6.1.0-28-amd64`; (0, 0) of what begins otherwise."""
    match = _VERSION.match(release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def effective_capabilities(path: str = "/proc/self/status") -> int:
    """This process's effective mask, proc_pid_status(5)."""
    for line in read_text(path).splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def boot_id(path: str = "/proc/sys/kernel/random/boot_id") -> str:
    """A number that no two boots share, random(4)."""
    return read_text(path).strip()


def modules(release: str) -> str:
    """Where depmod(8) has listed what this kernel can load."""
    return f"/lib/modules/{release}/modules.dep"


def has_nftables(release: str, listed: str = "", symbols: str = "/proc/kallsyms") -> bool:
    """Whether rules for TCP can be had: nf_tables and nft_reject_inet are in the kernel, or can be loaded into it.

    Asked of files, because the kernel loads what it is asked for. Its symbols, 10 MB of text, are read last.
    """
    listed = listed or modules(release)
    found = "".join(read_text(path, _LIST) for path in (listed, f"{listed.removesuffix('.dep')}.builtin"))
    if all(f"/{name}.ko" in found for name in ("nf_tables", "nft_reject_inet")):
        return True
    found = read_text(symbols, _LIST)
    return " nf_tables_" in found and " nft_reject_inet_" in found


def memory() -> int:
    """Bytes of the machine's memory, sysconf(3)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def heat_counters(folder: str = "/sys/devices/system/cpu") -> tuple[str, ...]:
    """The folders in which processors count how often they were too hot: none in most virtual machines."""
    found = Path(folder).glob("cpu[0-9]*/thermal_throttle")
    return tuple(str(path) for path in sorted(found, key=lambda path: int(path.parent.name[3:])))


def own_limits() -> dict[str, tuple[int, int]]:
    """This process's (soft, hard) by the name of getrlimit(2) in lower case, 2^64-1 for none."""
    return {name: _limit(resource.getrlimit(number)) for name, number in LIMITS.items()}


def _limit(pair: tuple[int, int]) -> tuple[int, int]:
    soft, hard = (NO_LIMIT if value == resource.RLIM_INFINITY else value for value in pair)
    return soft, hard


def in_first_namespace(path: str = "/proc/self/uid_map") -> bool:
    """Whether ids here are the machine's own: the initial user namespace maps all of them to themselves."""
    return read_text(path).split() == ["0", "0", str(2**32 - 1)]
