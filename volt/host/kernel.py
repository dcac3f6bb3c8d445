"""What the kernel says about itself and about this process."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable
from pathlib import Path

from volt.host.files import read_head, read_text
from volt.model.facts import Modules
from volt.model.steps import LIMITS, NO_LIMIT

MODPROBE = "modprobe"
_LIST = 64 << 20  # bytes of a list of symbols or modules, at most
# Documentation/arch/x86/boot.rst: where it says that it is a kernel, and where its version stands; its longest head.
_MAGIC_AT, _VERSION_AT, _SETUP = 0x202, 0x20E, 64 << 10
_VERSION = re.compile(r"(\d+)\.(\d+)")


def version(release: str) -> tuple[int, int]:
    """(6, 1) of `6.1.0-28-amd64`; (0, 0) of what begins otherwise."""
    match = _VERSION.match(release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def running() -> str:
    """What the running kernel calls itself: its release and its build, uname(2)."""
    uname = os.uname()
    return f"{uname.release} {uname.version}"


def described(path: str) -> str:
    """The same of a kernel's image, Documentation/arch/x86/boot.rst, kernel_version; "" of anything else."""
    head = read_head(path, _SETUP)
    if head[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS":
        return ""
    start = int.from_bytes(head[_VERSION_AT : _VERSION_AT + 2], "little") + 0x200
    # RELEASE (USER@HOST) BUILD
    release, _, rest = head[start:].partition(b"\0")[0].decode(errors="replace").partition(" ")
    return f"{release} {rest.rpartition(') ')[2]}"


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


def modules_of(names: Iterable[str], program: str, listed: str = "", folder: str = "/sys/module") -> Modules:
    """What there is of the modules with these names, where `program` is modprobe(8). What can be loaded, and is part of
    the kernel, is asked of files; what is loaded, of the kernel, and only where it could not be loaded again."""
    listed = listed or modules(os.uname().release)
    parts, others = (read_text(path, _LIST) for path in (f"{listed.removesuffix('.dep')}.builtin", listed))
    builtin = tuple(name for name in names if _listed(name, parts))
    files = {name: f"{Path(listed).parent / path}" for name in names if program and (path := _listed(name, others))}
    files = {name: path for name, path in files.items() if name not in builtin and Path(path).is_file()}
    left = (name for name in names if name not in builtin and name not in files)
    return Modules(program, builtin, files, tuple(name for name in left if Path(folder, name).is_dir()))


def _listed(name: str, text: str) -> str:
    """The path of a module in one of depmod(8)'s lists, "" where it is not there: files may have '-' for '_'."""
    found = re.search(rf"^(?:[^\s:]*/)?{name.replace('_', '[-_]')}\.ko(?:\.\w+)?(?=:|$)", text, re.MULTILINE)
    return found[0] if found else ""


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


def filesystem(name: str, listed: str = "/proc/filesystems", folder: str = "") -> str:
    """Where the kernel has a file system, "" where it has it not."""
    if name in read_text(listed).split():
        return "in the kernel"
    folder = folder or f"/lib/modules/{os.uname().release}"
    lists = (read_text(f"{folder}/{one}", 1 << 24) for one in ("modules.dep", "modules.builtin"))
    # A mount by fsopen(2) loads the module too, but not where loading has been locked.
    return "as a module, loaded when needed" if any(f"/{name}.ko" in text for text in lists) else ""


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
