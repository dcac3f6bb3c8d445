"""What stands beside a running workload while it is audited: in its namespaces, and behind none of its walls.

Signals and messages to it are what Landlock's scopes withhold from all that the init has started. From inside it is of
no other use: nobody reads from the socket, and the process is dead, left for its parent to be reaped. Before it has
ended nobody inside can trace it or read its memory, with whatever capabilities: it is not dumpable, prctl(2).
"""

# What a link of /proc says may be no path.
# ruff: noqa: PTH115

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress

from volt.errors import StateError
from volt.model.audit import Beside
from volt.runs.network import abstract_socket
from volt.runs.processes import namespaced

_CLONE_NEWPID = 0x2000_0000
_PR_SET_DUMPABLE = 4
_SECONDS = 10.0  # that a process takes to begin and to end
_LOOK = 0.2  # seconds between two looks at whether the run ends
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def beside(init: int, user: int, scopes: Collection[str]) -> Iterator[Beside]:
    """What these of Landlock's scopes withhold, beside the run whose init has this number: a process with the id `user`
    of the host's, and an abstract socket. Raises StateError."""
    with ExitStack() as held:
        try:
            process = held.enter_context(_dead(init, user)) if "signal" in scopes else 0
            abstract = b""
            if "abstract_unix_socket" in scopes:
                abstract = held.enter_context(abstract_socket(init)).getsockname()
        except OSError as error:
            raise StateError(f"nothing can be placed beside it: {error}") from error
        yield Beside(abstract, process)


@contextmanager
def _dead(init: int, user: int) -> Iterator[int]:
    """The number that a process has inside which has ended, and which its parent, a child of ours, does not reap until
    the end."""
    heard, told = os.pipe()
    waits, ends = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(ends)
        _stand(init, user, told, waits)
    os.close(told)
    os.close(waits)
    try:
        yield _told(heard)
    finally:
        os.close(ends)
        _reap(parent, heard)
        os.close(heard)


def _told(heard: int) -> int:
    if not select.select([heard], [], [], _SECONDS)[0]:
        raise StateError(f"no process could be started beside it within {_SECONDS:.0f} seconds")
    number = os.read(heard, 16)
    if not number:
        raise StateError("no process could be started beside it")
    return int(number)


def _reap(parent: int, heard: int) -> None:
    """It reaps its own and ends when our end of its pipe is closed, which closes its end of the other."""
    if not select.select([heard], [], [], _SECONDS)[0]:
        os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)


def _stand(init: int, user: int, told: int, waits: int) -> None:
    """The parent's part, which never returns."""
    with suppress(BaseException):
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        os.setsid()  # whoever stops an audit by its terminal does not stop this
        namespace = os.open(f"/proc/{init}/ns/pid", os.O_RDONLY)
        if _libc.setns(namespace, _CLONE_NEWPID) == 0:
            child = os.fork()
            if child == 0:
                _end_as(user)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            os.write(told, str(namespaced(child)[-1]).encode())
            # An init that ends waits for all in its pid namespace to be reaped: its link leads nowhere by then.
            while not select.select([waits], [], [], _LOOK)[0] and os.readlink(f"/proc/{init}/exe"):
                pass
            os.waitpid(child, 0)
    os._exit(0)


def _end_as(user: int) -> None:
    with suppress(BaseException):
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os._exit(0)
