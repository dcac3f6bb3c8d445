"""What of the host's /etc a `rootfs = "host"` shows: an allow-list, so that whatever is new stays outside."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from volt.host.files import read_text

RESOLV_CONF = "/etc/resolv.conf"
_MOST = 1 << 16

# Absent on purpose: passwd, group, nsswitch.conf, hosts, hostname and resolv.conf, which volt writes itself;
# all of ssl but these two, since ssl/private holds keys; whatever may hold a password or a proxy's.
SHOWN = (
    # /usr/bin leads through it: awk, cc, editor, java
    "alternatives",
    # the dynamic linker's
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    # certificates and the library's settings
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "ca-certificates.conf",
    # names and numbers of the network, getservbyname(3) and its kin
    "services",
    "protocols",
    "rpc",
    "networks",
    "ethertypes",
    "gai.conf",
    "host.conf",
    # time, language, terminals
    "localtime",
    "timezone",
    "locale.alias",
    "locale.conf",
    "terminfo",
    "inputrc",
    # kinds of files, and what to draw them with
    "mime.types",
    "magic",
    "magic.mime",
    "fonts",
    # which system this is; os-release is a link into /usr
    "debian_version",
    "lsb-release",
)
# What interpreters read from there, whatever their version.
SHOWN_PATTERN = re.compile(r"python3(\.\d+)?|perl|java-\d+-openjdk")


def shown_names(etc: str = "/etc") -> tuple[str, ...]:
    """The names below /etc that a host rootfs may show and that lead to a file or a folder here."""
    try:
        patterned = [name for name in os.listdir(etc) if SHOWN_PATTERN.fullmatch(name)]  # noqa: PTH208
    except OSError:
        return ()
    names = (*SHOWN, *patterned)
    return tuple(sorted(name for name in names if _is_there(Path(etc, name))))


def _is_there(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def resolvers(path: str = RESOLV_CONF) -> str:
    """The host's resolv.conf(5), at most 64 KiB; "" without one."""
    return read_text(path, _MOST)
