"""A network of this machine as it is defined, and the forms that its values have, wherever they are written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from volt.model.values import Value

DEFINITIONS = "/etc/volt/networks"  # wherever VOLT_ROOT moves the rest
ENDING = ".toml"
DEFAULT = "bridge"  # what the network is called that mode = "bridge" joins
RESERVED = (DEFAULT, "host", "none", "custom")  # modes: as names they would mislead
USUAL_MTU = 1500
_PREFIX = "vn-"  # of a bridge whose name nobody has chosen
_LONGEST = 15  # characters: IFNAMSIZ of linux/if.h, without its NUL byte
_LABEL = re.compile(r"[a-z][a-z0-9-]{0,14}", re.ASCII)
_OF_WORKLOADS = "volt-"  # volt/plan/links.py
_MTU = range(1280, 65536)  # RFC 8200: IPv6 needs so much


class Definition(Value):
    """A network of one's own: its `subnet` and `subnet6` in CIDR, the latter "" for one that follows from the machine;
    the `mtu` of its links in bytes; the `bridge` that it is on the host. From an `internal` one nothing leads out."""

    name: str
    subnet: str
    bridge: str
    subnet6: str = ""
    mtu: int = USUAL_MTU
    internal: bool = False


class Joined(Value):
    """Who has an address of a network: the run's id, and its name, "" where its record lies in another VOLT_ROOT."""

    address: str
    run: str
    pid: int
    name: str = ""


class Changed(Value):
    """A setting below /proc/sys: what it was before volt changed it, and what it is now."""

    path: str
    before: str
    now: str


class Network(Value):
    """A network of this machine, as `volt net` tells of it. `bridge` is there on the host where `present`. `address`
    and `address6` are the bridge's own. `whole` says whether nftables' rules are as they should be, None where there
    are none yet. `problem` says why no workload can join it, "" where one can. `sysctls` are the namespace's, of all
    networks together."""

    name: str
    bridge: str
    subnet: str
    subnet6: str
    mtu: int
    internal: bool
    present: bool
    address: str = ""
    address6: str = ""
    workloads: tuple[Joined, ...] = ()
    whole: bool | None = None
    sysctls: tuple[Changed, ...] = ()
    problem: str = ""


class RemovedNetwork(Value):
    """What `rm` has taken away: whether the bridge was there, whether it was the last one and nftables' rules went
    with it; the settings that were put back, and in words those that were not."""

    name: str
    bridge: bool
    rules: bool
    sysctls: tuple[Changed, ...] = ()
    kept: tuple[str, ...] = ()


# ── forms


def bridges_of(name: str) -> Iterator[str]:
    """What a network's bridge can be called where nobody says it, the best first: its name as far as it fits, and
    digits that follow from it where another has that one."""
    if len(_PREFIX + name) <= _LONGEST:
        yield _PREFIX + name
    digits = hashlib.sha256(name.encode()).hexdigest()
    for at in range(0, len(digits) - 6, 6):
        yield f"{_PREFIX}{name[:5]}-{digits[at : at + 6]}"


def bridge_name(written: object) -> str:
    """The name of a bridge, which no workload's link can have. Raises ValueError, as all that follow."""
    if isinstance(written, str) and _LABEL.fullmatch(written) and not written.startswith(_OF_WORKLOADS):
        return written
    raise ValueError(f"{written!r} is no name of a bridge")


def subnet(written: object) -> str:
    """Room for a gateway and a workload at least, and the claims of no more than 65,534."""
    return _network(written, IPv4Network, range(16, 30))


def subnet6(written: object) -> str:
    """The last 32 bits are the IPv4 address."""
    return _network(written, IPv6Network, range(8, 97))


def _network(written: object, kind: type[IPv4Network | IPv6Network], lengths: range) -> str:
    network: Any = kind(written) if isinstance(written, str) else None
    if network is None or network.prefixlen not in lengths:
        raise ValueError(f"{written!r} is no subnet with a prefix from /{lengths[0]} to /{lengths[-1]}")
    return str(network)


def mtu(written: object) -> int:
    if type(written) is not int or written not in _MTU:
        raise ValueError(f"{written!r} is not from {_MTU[0]} to {_MTU[-1]}")
    return written
