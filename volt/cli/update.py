"""volt update: new limits for a workload that runs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from volt import api
from volt.cli.candidates import living_name
from volt.cli.failure import FAILED, failing
from volt.cli.options import Json
from volt.errors import ManifestError, VoltError
from volt.model.sizes import Size

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The workload's name.", show_default=False, autocompletion=living_name),
]
MemoryLimit = Annotated[str | None, typer.Option("--memory-limit", metavar="SIZE", help="memory.max: 512M, 25%, none.")]
MemorySoft = Annotated[str | None, typer.Option("--memory-soft", metavar="SIZE", help="memory.high, or none.")]
CpuWeight = Annotated[str | None, typer.Option("--cpu-weight", metavar="1-10000", help="Or none: 100.")]
CpuSet = Annotated[str | None, typer.Option("--cpu-set", metavar="CORES", help="0-3,5, or none: every core.")]
IoWeight = Annotated[str | None, typer.Option("--io-weight", metavar="1-10000", help="Or none: 100.")]
PidsMax = Annotated[str | None, typer.Option("--pids-max", metavar="NUMBER", help="Processes and threads, or none.")]


@failing(FAILED)
def update(
    name: Name,
    memory_limit: MemoryLimit = None,
    memory_soft: MemorySoft = None,
    cpu_weight: CpuWeight = None,
    cpu_set: CpuSet = None,
    io_weight: IoWeight = None,
    pids_max: PidsMax = None,
    json_: Json = False,
) -> int:
    """Change the limits of the running workload NAME, all that are given or none; the manifest stays as it is.

    Prints every limit as the kernel has it then. `none` takes a limit away.
    """
    given = {
        "memory_limit": memory_limit,
        "memory_soft": memory_soft,
        "cpu_weight": cpu_weight,
        "cpu_set": cpu_set,
        "io_weight": io_weight,
        "pids_max": pids_max,
    }
    wanted = {key: value for key, value in given.items() if value is not None}
    if not wanted:
        raise VoltError("no limit is given", hint="volt update --help lists them")
    try:
        held = api.update(name, wanted)
    except ManifestError as error:
        raise _refused(error) from None
    if json_:
        print(json.dumps({"version": 1, "name": name, "resources": held}, indent=2))
        return 0
    for key, value in held.items():
        size = key.startswith("memory") and value.isdecimal()
        print(f"{key} = {Size(int(value)) if size else value or 'every core'}")
    return 0


def _refused(error: ManifestError) -> VoltError:
    """What is wrong with the values, by the options that they were given with."""
    wrong = (_option(finding.key) + finding.message + _bound(finding) for finding in error.findings)
    return VoltError("; ".join(wrong), hint="; ".join(dict.fromkeys(one.hint for one in error.findings if one.hint)))


def _option(key: str) -> str:
    return f"--{key.rpartition('.')[2].replace('_', '-')}: "


def _bound(finding: api.Finding) -> str:
    return f" ({finding.policy.place})" if finding.policy else ""
