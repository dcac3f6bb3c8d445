"""volt generate: files for other programs, which launch workloads."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.candidates import manifest
from volt.cli.failure import FAILED, failing
from volt.cli.options import Env, RunName, Unenforced, Variables
from volt.cli.words import pairs, waivers
from volt.errors import VoltError

Manifest = Annotated[
    str | None, typer.Argument(metavar="[FILE]", help="The manifest.", show_default=False, autocompletion=manifest)
]
Template = Annotated[
    bool, typer.Option("--template", help="The unit volt@.service, of every manifest in /etc/volt/workloads.")
]


@failing(FAILED)
def systemd(
    file: Manifest = None,
    set_: Variables = None,
    env: Env = None,
    allow_unenforced: Unenforced = None,
    name: RunName = None,
    template: Template = False,
) -> int:
    """Print the unit of systemd that launches the workload of FILE, and keeps its [service].

    It belongs into /etc/systemd/system/volt@NAME.service. What a unit is told, volt run is told with --unit-keeps: a
    manifest that asks for something else later is refused, until its unit is written anew.
    """
    if template == (file is not None):
        raise VoltError("name a manifest, or give --template", hint="volt generate systemd web.toml")
    if file is None:
        print(api.systemd_template(), end="")
        return 0
    variables, environment = pairs(set_, "--set"), pairs(env, "--env")
    waived = waivers(allow_unenforced)
    print(api.systemd_unit(file, variables=variables, env=environment, waived=waived, name=name), end="")
    return 0
