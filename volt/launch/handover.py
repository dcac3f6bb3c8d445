"""The hand-over of a plan to the static program: as a sealed memfd, to this process or to a new one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from volt.model.binary import encode
from volt.model.plan import LaunchPlan

if TYPE_CHECKING:
    import subprocess

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def seal(plan: bytes) -> int:
    """A descriptor of a sealed memfd (memfd_create(2)) with a plan's binary form, close-on-exec."""
    descriptor = os.memfd_create("volt-plan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(plan)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def become(program: str, plan: bytes) -> NoReturn:
    """execve(2) the static program in this process: Python is gone. Of the environment only the name of the socket goes
    along where this process says that it is ready, sd_notify(3). Raises OSError when it cannot."""
    descriptor = seal(plan)
    told = {name: os.environ[name] for name in ("NOTIFY_SOCKET",) if name in os.environ}
    try:
        os.set_inheritable(descriptor, True)
        os.execve(program, ["volt", "perform", str(descriptor)], told)  # noqa: S606 (that is the hand-over)
    finally:
        os.close(descriptor)


def spawn(
    program: str,
    plan: LaunchPlan,
    stdio: tuple[int | None, int | None, int | None],
    keep: Sequence[int],
    *,
    tracer: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """The static program in a new process, with nothing of this one but `stdio` and `keep`.

    Each of `stdio` is a descriptor, subprocess.PIPE, subprocess.DEVNULL, or None for this process's own.
    The program gets an empty environment, so that it performs the plan and nothing else. A `tracer` is the command
    line of a program that runs another one, whose own command line follows. Raises OSError.
    """
    import subprocess

    descriptor = seal(encode(plan))
    try:
        return subprocess.Popen(
            [*(tracer or ["volt"]), *([program] if tracer else []), "perform", str(descriptor)],
            executable=tracer[0] if tracer else program,
            env={},
            stdin=stdio[0],
            stdout=stdio[1],
            stderr=stdio[2],
            pass_fds=(descriptor, *keep),
            cwd="/",
        )
    finally:
        os.close(descriptor)
