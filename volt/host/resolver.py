"""What can answer for names of workloads on this machine: dnsmasq(8), whose it runs as, and what stands in its way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from volt.host.etc import RESOLV_CONF
from volt.host.files import lines, read_text
from volt.host.tools import find_program, places
from volt.model.facts import Resolver

PROGRAM = "dnsmasq"
ACCOUNTS = "/etc/passwd"
PACKAGE = "dnsmasq-base"
# The first of these that is there: what Debian's package makes, and what is everywhere.
USERS = ("dnsmasq", "nobody")
NOBODY = (65534, 65534)
_LISTENS = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_PORT = f"{53:04X}"
_READ = stat.S_IROTH
_MOST = 1 << 20


def candidates() -> tuple[str, ...]:
    """Where the program is looked for."""
    return places(PROGRAM)


def probe_resolver(*, proc: str = "/proc/self/net", accounts: str = ACCOUNTS, resolvers: str = RESOLV_CONF) -> Resolver:
    """What there is for a bridge of this network namespace. What cannot be is said in `problem`."""
    program = find_program(PROGRAM)
    uid, gid = _account(read_text(accounts, _MOST))
    file = os.path.realpath(resolvers)
    problem = mend = ""
    if not program:
        problem, mend = f"{PROGRAM} is not installed", f"apt install {PACKAGE}"
    elif not _is_open(file):
        problem = f"{resolvers} leads to {file}, which not everybody may look at"
        mend = f"chmod a+rX {file} and the folders above it"
    elif holds_port(proc):
        problem = "another DNS server has port 53 of every address"
        mend = "have it listen on addresses of its own alone (bind-interfaces, listen-on, interface)"
    return Resolver(program, uid, gid, file, problem, mend)


def _is_open(file: str) -> bool:
    """Whether any user can read it and its folder: what follows a file watches that, inotify(7)."""
    try:
        folder, *above = Path(file).parents
        readable = folder.stat().st_mode & _READ and not (
            os.path.lexists(file) and not Path(file).stat().st_mode & _READ
        )
        return bool(readable) and all(one.stat().st_mode & stat.S_IXOTH for one in (folder, *above))
    except OSError:
        return False


def _account(text: str) -> tuple[int, int]:
    """The user and group that it runs as, passwd(5)."""
    known = {}
    for line in lines(text):
        fields = line.split(":")
        if len(fields) > 3 and fields[0] in USERS and fields[2].isdecimal() and fields[3].isdecimal():
            known[fields[0]] = (int(fields[2]), int(fields[3]))
    return next((known[name] for name in USERS if name in known), NOBODY)


def holds_port(proc: str = "/proc/self/net") -> bool:
    """Whether somebody has bound port 53 of all addresses, proc_pid_net(5): then nobody gets it of a single one."""
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        table = lines(read_text(f"{proc}/{kind}", _MOST))
        if any(_is_wildcard(line.split(), kind) for line in table[1:]):
            return True
    return False


def _is_wildcard(words: list[str], kind: str) -> bool:
    if len(words) < 4 or (kind.startswith("tcp") and words[3] != _LISTENS):
        return False
    address, _, port = words[1].partition(":")
    return port == _PORT and not address.strip("0")
