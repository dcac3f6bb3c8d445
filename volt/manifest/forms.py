"""The forms that strings of a manifest have: names, users, ports, core sets, limits, mounts."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from volt.model.findings import quote
from volt.model.signals import NAMES
from volt.model.sizes import Size
from volt.model.steps import CAPABILITIES, LIMITS, NO_LIMIT
from volt.model.workload import Port, Ready, Tmpfs, User

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
HOSTNAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", re.ASCII)
IMAGE = re.compile(
    r"(?:[a-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
KERNEL = re.compile(r"(?:>=|<=|>|<|=)?\s*\d+(?:\.\d+){0,3}(?:(?:rc\d+|[-+~])[A-Za-z0-9.+~_-]*)?", re.ASCII)
MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,54}", re.ASCII)  # MODULE_NAME_LEN, linux/module.h
PLATFORM = re.compile(r"(?:linux/)?[a-z0-9_]+(?:/v\d+)?", re.ASCII)
PORT = re.compile(r"(?:(?P<front>.*):)?(?P<inside>\d+(?:-\d+)?)(?:/(?P<protocol>[a-z]+))?", re.ASCII)
# What stands on the request line of HTTP as it is: printable ASCII without a space, RFC 9112.
READY_PORT = re.compile(r"(?P<port>\d{1,5})(?P<path>(?:/[!-~]*)?)", re.ASCII)
LAST_PORT = 65535
LONGEST_PATH = 1024  # bytes of what is looked for inside
LONGEST_LINE = 255  # … and of what is looked for in a line
LAST_ID = 65535
MOST_CORES = 8192
FORBIDDEN_MOUNTS = ("/proc", "/sys", "/dev")
# Below these, mounts are usual: shared memory and sockets of services.
ALLOWED_BELOW = ("/dev/shm", "/dev/mqueue")


def label(written: str) -> str:
    if not LABEL.fullmatch(written):
        raise ValueError(f"{quote(written)} is no lower-case DNS label of up to 63 characters")
    return written


def hostname(written: str) -> str:
    if len(written) > 64 or not HOSTNAME.fullmatch(written):
        raise ValueError(f"{quote(written)} is no hostname of up to 64 characters")
    return written


def image(written: str) -> str:
    if not IMAGE.fullmatch(written):
        raise ValueError(f"{quote(written)} is no image reference")
    return written


def kernel_version(written: str) -> str:
    if not KERNEL.fullmatch(written):
        raise ValueError(f"{quote(written)} is no kernel version")
    return written


def module(written: str) -> str:
    """As the kernel calls it, to which '-' and '_' are the same."""
    if not MODULE.fullmatch(written):
        raise ValueError(f"{quote(written)} is no name of a kernel module")
    return written.replace("-", "_")


def platform(written: str) -> str:
    if not PLATFORM.fullmatch(written):
        raise ValueError(f"{quote(written)} is no platform")
    return written


def user(written: str) -> User:
    """name, uid, or either with a group behind a colon."""
    first, colon, second = written.partition(":")
    return User(_account(written, first), _account(written, second) if colon else None)


def _account(written: str, part: str) -> str | int:
    if part.isascii() and part.isdecimal():
        if len(part) > 9 or int(part) > LAST_ID:
            raise ValueError(f"{quote(part)} is above {LAST_ID}, the last id of a workload")
        return int(part)
    if not ACCOUNT.fullmatch(part):
        raise ValueError(f"{quote(written)} is no user: name, uid or uid:gid")
    return part


def capability(written: str) -> str:
    name = written.upper().removeprefix("CAP_")
    if name not in CAPABILITIES:
        raise ValueError(f"{quote(written)} is no capability")
    return name


def address(written: str) -> str:
    """An IPv4 or IPv6 address, with or without a prefix length."""
    try:
        interface = ipaddress.ip_interface(written)
    except ValueError:
        raise ValueError(f"{quote(written)} is no IPv4 or IPv6 address") from None
    return str(interface) if "/" in written else str(interface.ip)


def resolver(written: str) -> str:
    try:
        return str(ipaddress.ip_address(written))
    except ValueError:
        raise ValueError(f"{quote(written)} is no IPv4 or IPv6 address") from None


@lru_cache(128)  # read once for the value, and once more for the rules between values
def ports(written: str) -> tuple[Port, ...]:
    """[[IP:]host[-range]:]container[-range][/tcp|udp], one Port for each of a range."""
    match = PORT.fullmatch(written)
    if not match or match["protocol"] not in (None, "tcp", "udp"):
        raise ValueError(f"{quote(written)} is no port: [[IP:]host:]container[/tcp|udp]")
    inside = _range(written, match["inside"])
    host_address, outside = _front(written, match["front"])
    if outside is not None and len(outside) != len(inside):
        raise ValueError(f"{quote(written)} has ranges of different lengths")
    hosts: list[int | None] = list(outside) if outside is not None else [None] * len(inside)
    protocol = match["protocol"] or "tcp"
    return tuple(Port(port, host, host_address, protocol) for port, host in zip(inside, hosts, strict=True))


def _front(written: str, front: str | None) -> tuple[str | None, range | None]:
    """What stands before the container's port: an address, a host port or range, or both."""
    if front is None:
        return None, None
    before, colon, last = front.rpartition(":")
    if front.startswith("[") and front.endswith("]"):
        before, colon, last = front, ":", ""
    if not colon:
        return None, _range(written, last)
    bracketed = before.startswith("[") and before.endswith("]")
    try:
        parsed = ipaddress.ip_address(before[1:-1] if bracketed else before)
    except ValueError:
        raise ValueError(f"{quote(written)} has no valid address; IPv6 stands in brackets") from None
    if (parsed.version == 6) != bracketed:
        raise ValueError(f"{quote(written)}: an IPv6 address stands in brackets, an IPv4 address does not")
    return str(parsed), _range(written, last) if last else None


def _range(written: str, part: str) -> range:
    first, dash, last = part.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 11:
        raise ValueError(f"{quote(written)} is no port: [[IP:]host:]container[/tcp|udp]")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"{quote(written)}: ports go from 1 to 65535, a range from low to high")
    return range(low, high + 1)


def cores(written: str) -> tuple[int, ...]:
    """`0-3,5` as sorted numbers."""
    found: set[int] = set()
    for part in written.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdecimal()) or (dash and not (last.isascii() and last.isdecimal())):
            raise ValueError(f"{quote(written)} is no set of cores")
        low, high = (int(end) if len(end) < 10 else MOST_CORES for end in (first, last or first))
        if low > high or high >= MOST_CORES:
            raise ValueError(f"{quote(written)} has a range that is empty or beyond core {MOST_CORES - 1}")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def limit_name(written: str) -> bool:
    return written in LIMITS


def limit(written: str) -> tuple[int, int]:
    """soft:hard, or one for both; `infinity` and `unlimited` are none. Sizes may have a unit."""
    soft, colon, hard = written.partition(":")
    low, high = _bound(written, soft), _bound(written, hard if colon else soft)
    if low > high:
        raise ValueError(f"{quote(written)}: the soft limit is above the hard one")
    return low, high


def _bound(written: str, part: str) -> int:
    if part in ("infinity", "unlimited", "-1"):
        return NO_LIMIT
    try:
        size = Size.parse(part)
    except ValueError:
        size = Size(None)
    if size.bytes is None:
        raise ValueError(f"{quote(written)} is no limit: soft:hard, as numbers or infinity")
    return size.bytes


def inside_path(written: str) -> str:
    """An absolute path of the workload's own root, where something can be mounted."""
    if not written.startswith("/"):
        raise ValueError(f"{quote(written)} is not absolute")
    if ".." in written.split("/"):
        raise ValueError(f"{quote(written)} has a '..'")
    path = "/" + posixpath.normpath(written).lstrip("/")
    if path == "/":
        raise ValueError("nothing can be mounted over /")
    for place in FORBIDDEN_MOUNTS:
        if _within(path, place) and not any(_within(path, allowed) for allowed in ALLOWED_BELOW):
            raise ValueError(f"{quote(written)}: nothing can be mounted in {place}")
    return path


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def folder_inside(written: str) -> str:
    if not written.startswith("/"):
        raise ValueError(f"{quote(written)} is not absolute")
    return posixpath.normpath(written)


def tmpfs(written: str) -> Tmpfs:
    """/path[:size=SIZE][,mode=OCTAL]."""
    where, _, rest = written.partition(":")
    size, mode = None, None
    for option in rest.split(",") if rest else ():
        name, _, value = option.partition("=")
        if name == "size":
            size = Size.parse(value)
        elif name == "mode" and re.fullmatch(r"[0-7]{3,4}", value):
            mode = int(value, 8)
        else:
            raise ValueError(f"{quote(option)} is no option of a tmpfs: size=64M, mode=0700")
    return Tmpfs(inside_path(where), size, mode)


def signal(written: str) -> str:
    name = written.upper().removeprefix("SIG")
    if name not in NAMES:
        raise ValueError(f"{quote(written)} is no signal")
    return name


def ready(written: str) -> Ready:
    """notify, tcp:PORT, http:PORT/PATH, file:/PATH or log:TEXT."""
    kind, colon, rest = written.partition(":")
    if kind not in READY or bool(colon) != (kind != "notify"):
        raise ValueError(f"{quote(written)} is nothing that shows readiness")
    return READY[kind](written, rest)


def _ready_port(written: str, rest: str) -> Ready:
    match = READY_PORT.fullmatch(rest)
    if not match or not 0 < int(match["port"]) <= LAST_PORT or (match["path"] != "") != written.startswith("http:"):
        raise ValueError(
            f"{quote(written)} has no port from 1 to {LAST_PORT}, or no path behind it where http needs one"
        )
    return Ready(written.partition(":")[0], int(match["port"]), _short(written, match["path"], LONGEST_PATH))


def _ready_file(written: str, rest: str) -> Ready:
    if "\0" in rest or ".." in rest.split("/"):
        raise ValueError(f"{quote(written)} has a '..' or a NUL")
    path = folder_inside(rest)
    if path.strip("/") == "":
        raise ValueError(f"{quote(written)} names no file")
    return Ready("file", text=_short(written, f"/{path.lstrip('/')}", LONGEST_PATH))


def _ready_line(written: str, rest: str) -> Ready:
    if not rest or not rest.isprintable():
        raise ValueError(f"{quote(written)}: a part of one line is looked for, in printable characters")
    return Ready("log", text=_short(written, rest, LONGEST_LINE))


def _short(written: str, text: str, most: int) -> str:
    if len(text.encode(errors="replace")) > most:
        raise ValueError(f"{quote(written)} is longer than {most} bytes")
    return text


READY: Mapping[str, Callable[[str, str], Ready]] = {
    "notify": lambda _written, _rest: Ready("notify"),
    "tcp": _ready_port,
    "http": _ready_port,
    "file": _ready_file,
    "log": _ready_line,
}


def variable(written: str) -> bool:
    return VARIABLE.fullmatch(written) is not None


def label_key(written: str) -> bool:
    return bool(written) and written.isprintable() and len(written) <= 256
