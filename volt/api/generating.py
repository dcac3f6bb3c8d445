"""Units of systemd that launch workloads."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING

from volt.api.planning import named, resolved
from volt.errors import ManifestError, VoltError
from volt.host.folders import folders
from volt.model.facts import Call

if TYPE_CHECKING:
    from volt.model.workload import Workload
    from volt.plan.unit_file import Launch

COMMAND = "volt"


def systemd_unit(
    manifest: str | Path,
    *,
    variables: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    waived: tuple[str, ...] = (),
    name: str | None = None,
) -> str:
    """The file of the unit that launches the workload of `manifest`: what `volt generate systemd FILE` prints. The
    unit has to be called volt@NAME.service. The options are those of `volt run`.

    Raises ManifestError, VoltError for what no unit can launch.
    """
    from volt.plan.unit_file import unit_file

    file = str(Path(manifest).absolute())
    if str(manifest) == "-":
        raise VoltError("a unit launches a manifest that is a file", hint="write it below /etc/volt/workloads")
    read = named(resolved(file, variables, None, None), Call(name=name))
    if read.workload is None or any(finding.severity == "error" for finding in read.findings):
        raise ManifestError(read.findings)
    options = [word for key, value in (variables or {}).items() for word in ("--set", f"{key}={value}")]
    options += [word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")]
    options += [word for one in waived for word in ("--allow-unenforced", one)]
    options += ["--name", name] if name else []
    return unit_file(read.workload, _launch(file, tuple(options), _paths(read.workload)))


def systemd_template() -> str:
    """The file of volt@.service, whose instance volt@NAME.service launches /etc/volt/workloads/NAME.toml. Raises
    VoltError."""
    from volt.plan.unit_file import WORKLOADS, template

    return template(_launch("", (), (WORKLOADS,)))


def _launch(file: str, options: tuple[str, ...], paths: tuple[str, ...]) -> Launch:
    from volt.plan.unit_file import Launch

    where = folders()
    program = _program()
    mounts = (program[0], *([file] if file else []), where.state, where.run, *paths)
    environment = (f"VOLT_ROOT={where.root}",) if where.root else ()
    return Launch(program, file, options, environment, tuple(normpath(one) for one in mounts))


def _program() -> tuple[str, ...]:
    """The static program beside this Python, where it is installed as a command; else this Python with volt in it."""
    for folder in (Path(sys.argv[0]).absolute().parent, Path(sys.executable).parent):
        command = folder / COMMAND
        if (folder / f"{COMMAND}-python").exists() and os.access(command, os.X_OK):
            return (str(command),)
    return (sys.executable, "-m", COMMAND)


def _paths(workload: Workload) -> tuple[str, ...]:
    """What lies on the host and has to be mounted before the workload is launched."""
    root = workload.storage.rootfs or ""
    found = (root if root.startswith("/") else "", workload.env_file or "")
    return tuple(filter(None, (*found, *(volume.host for volume in workload.storage.volumes))))
