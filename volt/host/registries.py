"""The registries of /etc/volt/config.toml, and who volt is to each of them."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volt.errors import VoltError
from volt.model.registries import Access

HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?", re.ASCII)
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
            if key in ("mirror", "tokens") and not HOST.fullmatch(str(value)):
                raise ValueError(f"{host}.{key}: {value!r} is no host")
            if not isinstance(value, kind):
                raise ValueError(f"{host}.{key} is not {'true or false' if kind is bool else 'a string'}")
    return written


# ── credentials: the format of Docker's config.json, which its helpers and libraries read


def credential_files() -> tuple[str, ...]:
    """Docker's, then volt's own, which counts where both know a registry."""
    home = os.environ.get("DOCKER_CONFIG") or f"{Path.home()}/.docker"
    return tuple(path for path in (f"{home}/config.json", CREDENTIALS) if Path(path).exists())


def with_credentials(host: str, user: str, password: str) -> bytes:
    """The text of volt's own file with these. Makes its folder. Raises VoltError, OSError."""
    known = _known()
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    Path(CREDENTIALS).parent.mkdir(mode=0o755, exist_ok=True)
    return _written({**known, "auths": {**known.get("auths", {}), host: {"auth": token}}})


def without_credentials(host: str) -> bytes | None:
    """The text of volt's own file without those for a registry, None where it has none. Raises VoltError, OSError."""
    known = _known()
    left = {name: one for name, one in known.get("auths", {}).items() if name != host}
    return _written({**known, "auths": left}) if len(left) < len(known.get("auths", {})) else None


def _known() -> dict[str, Any]:
    try:
        found = json.loads(Path(CREDENTIALS).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise VoltError(f"{CREDENTIALS} is no JSON: {error}", hint="remove it, and log in again") from error
    if not isinstance(found, dict) or not isinstance(found.get("auths", {}), dict):
        raise VoltError(f"{CREDENTIALS} has no table of registries", hint="remove it, and log in again")
    return found


def _written(known: Mapping[str, Any]) -> bytes:
    return json.dumps(known, indent=1).encode() + b"\n"
