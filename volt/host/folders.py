"""Where this machine's volt keeps what it keeps: VOLT_ROOT decides."""

from __future__ import annotations

import os
from collections.abc import Mapping

from volt.errors import VoltError
from volt.model.folders import Folders


def folders(environment: Mapping[str, str] = os.environ) -> Folders:
    """Where state, runs and logs lie: below VOLT_ROOT where it is set. Raises VoltError."""
    root = environment.get("VOLT_ROOT", "")
    if not root:
        return Folders()
    if not root.startswith("/") or ".." in root.split("/"):
        hint = "give an absolute path without .., or unset it"
        raise VoltError(f"VOLT_ROOT is no absolute path: {root}", hint=hint)
    root = root.rstrip("/")
    if set(root.split("/")) <= {"", "."}:
        raise VoltError("VOLT_ROOT cannot be /", hint="name a folder for volt alone, or unset it")
    return Folders(f"{root}/state", f"{root}/run", f"{root}/log", root)
