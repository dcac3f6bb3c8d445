"""Who volt is to a registry: what Docker's files say, and the programs that keep passwords for it.

The files are those of docker login, config.json; a program `docker-credential-NAME` is spoken to as
github.com/docker/docker-credential-helpers says: the registry in, a name and a secret out.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from volt.errors import RegistryError
from volt.images.config import CONFIG_MOST, parsed

_PATIENCE = 30.0  # seconds: it may have to unlock a keyring
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_NONE = "credentials not found"  # what one says that knows nothing of a registry
_TOKEN = "<token>"  # stands before a token that is no password
# What a helper may know of the caller: whose keyring it is, and where that lies.
_KEPT = ("HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "PASSWORD_STORE_DIR")


def credentials(files: Iterable[str], names: Iterable[str]) -> str:
    """Name and password for a registry that is called by one of these names, as the header Basic has them, RFC 7617;
    "" where nothing is known. Raises RegistryError for a file that is none, and for a helper that fails, OSError."""
    known = _merged(files)
    for name in names:
        if found := str(known["auths"].get(name, {}).get("auth") or ""):
            return found
        for helper in filter(None, (known["credHelpers"].get(name), known["credsStore"])):
            if found := _asked(str(helper), name):
                return found
    return ""


def _merged(files: Iterable[str]) -> dict[str, Any]:
    """What files of credentials know together, the later ones first."""
    found: dict[str, Any] = {"auths": {}, "credHelpers": {}, "credsStore": None}
    for path in files:
        known = parsed(_read(path), path)
        for key, kind in (("auths", dict), ("credHelpers", str)):
            of_hosts = known.get(key) or {}
            if not isinstance(of_hosts, dict):
                raise RegistryError(f"{path}: {key} is no table of registries")
            found[key] |= {host: one for host, one in of_hosts.items() if isinstance(one, kind)}
        found["credsStore"] = known.get("credsStore") or found["credsStore"]
    return found


def _read(path: str) -> bytes:
    """What a regular file says, never waited for. Raises RegistryError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RegistryError(f"{path} is no file")
        return file.read(CONFIG_MOST)


def _asked(helper: str, name: str) -> str:
    """What a helper has for a registry."""
    program = _program(helper, name)
    status, said, also = _answer(program, name)
    text = said.decode("utf-8", "replace").strip()
    if status != 0:
        if _NONE in text.lower():
            return ""
        why = (text or also.decode("utf-8", "replace").strip() or f"it ends with {status}").splitlines()[0]
        raise _failed(program, name, why)
    try:
        given = json.loads(text)
        user, secret = str(given["Username"]), str(given["Secret"])
    except (ValueError, KeyError, TypeError):
        raise _failed(program, name, "its answer has no Username and Secret") from None
    if user == _TOKEN:
        raise _failed(program, name, "it has a token and no password, which is not taken")
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


def _program(helper: str, name: str) -> str:
    """The absolute path of a helper on PATH: a program of root's, or the caller's, that nobody else can write."""
    program = f"docker-credential-{helper}"
    if not _NAME.fullmatch(helper):
        raise _failed(program, name, "it is no name of a program")
    for folder in _folders():
        with suppress(OSError):
            status = Path(folder, program).stat()
            own = status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if own and stat.S_ISREG(status.st_mode) and os.access(f"{folder}/{program}", os.X_OK):
                return f"{folder}/{program}"
    raise _failed(program, name, "no folder of PATH has it as a program that nobody but root can write")


def _folders() -> list[str]:
    """Of PATH; a relative one is wherever the caller stands."""
    return [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]


def _answer(program: str, name: str) -> tuple[int, bytes, bytes]:
    """Its status, and what it prints. Who hangs ends with all that it has started."""
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environment |= {"PATH": ":".join(_folders()), "LANG": "C.UTF-8"}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([program, "get"], env=environment, cwd="/", start_new_session=True, **pipes) as process:
        try:
            said, also = process.communicate(name.encode(), timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # it has not been waited for: nobody else has its number
            raise _failed(program, name, f"it does not answer within {_PATIENCE:g} seconds") from None
    return process.returncode, said, also


def _failed(program: str, name: str, why: str) -> RegistryError:
    hint = f"volt login {name} is asked before any helper; else mend credsStore or credHelpers of Docker's config.json"
    return RegistryError(f"{program}, which keeps the password for {name}: {why}", hint=hint)
