"""The registries of /etc/volt/config.toml, and who volt is to each of them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volt.errors import VoltError
from volt.model.registries import Access

CREDENTIALS = "/etc/volt/credentials.json"
# What this machine trusts, update-ca-certificates(8).
_TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


def access(host: str, tables: Mapping[str, Mapping[str, Any]]) -> Access:
    """How the settings say that a registry is spoken to; without a word of them, as the system trusts."""
    trusted = {"ca": _TRUSTED} if Path(_TRUSTED).exists() else {}
    return Access(**{"host": host, **trusted, **tables.get(host, {})}, files=credential_files())


def read_tables(written: object) -> dict[str, dict[str, Any]]:
    """The section `registries`: a table for each host. Raises ValueError."""
    if not isinstance(written, dict):
        raise ValueError("it is no table of registries")
    for host, table in written.items():
        if not isinstance(table, dict):
            raise ValueError(f"{host} is no table")
        for key, value in table.items():
            kind = {"ca": str, "http": bool, "mirror": str, "tokens": str}.get(key)
            if kind is None:
                raise ValueError(f"{host} has no {key}: there are ca, http, mirror and tokens")
            if not isinstance(value, kind):
                raise ValueError(f"{host}.{key} is not {'true or false' if kind is bool else 'a string'}")
    return written


# ── credentials: the format of Docker's config.json, which its helpers and libraries read


def credential_files() -> tuple[str, ...]:
    """Docker's, then volt's own, which counts where both know a registry."""
    home = os.environ.get("DOCKER_CONFIG") or f"{Path.home()}/.docker"
    return tuple(path for path in (f"{home}/config.json", CREDENTIALS) if Path(path).exists())


def keep_credentials(host: str, user: str, password: str) -> None:
    """For root's eyes alone. Raises VoltError, OSError."""
    known = _known()
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    known.setdefault("auths", {})[host] = {"auth": token}
    _write(known)


def forget_credentials(host: str) -> bool:
    """Whether there were any of volt's own. Raises VoltError, OSError."""
    known = _known()
    if known.get("auths", {}).pop(host, None) is None:
        return False
    _write(known)
    return True


def _known() -> dict[str, Any]:
    try:
        found = json.loads(Path(CREDENTIALS).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise VoltError(f"{CREDENTIALS} is no JSON: {error}", hint="remove it, and log in again") from error
    return found if isinstance(found, dict) else {}


def _write(known: Mapping[str, Any]) -> None:
    temporary = f"{CREDENTIALS}.{os.getpid()}"
    Path(CREDENTIALS).parent.mkdir(mode=0o755, exist_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(known, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, CREDENTIALS)  # noqa: PTH104 (paths are text here)
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise
