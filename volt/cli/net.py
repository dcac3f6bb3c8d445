"""volt net: the networks that workloads join, defined, looked at and taken away."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from volt import api
from volt.cli.candidates import network_name
from volt.cli.columns import columns
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.naming import each, tell, tell_cleared
from volt.cli.options import Json
from volt.cli.states import document

NewName = Annotated[
    str, typer.Argument(metavar="NETWORK", help="Lower-case letters, digits and hyphens.", show_default=False)
]
Which = Annotated[
    str,
    typer.Argument(metavar="[NETWORK]", help="By default bridge, which workloads join.", autocompletion=network_name),
]
Several = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK...", help="bridge is the default one.", show_default=False, autocompletion=network_name
    ),
]
Subnet = Annotated[
    str,
    typer.Option("--subnet", metavar="CIDR", help="IPv4, /16 to /29; by default the first /24 that is free."),
]
Subnet6 = Annotated[
    str,
    typer.Option("--subnet6", metavar="CIDR", help="IPv6, /8 to /96; by default a unique local /64 of this machine's."),
]
Mtu = Annotated[int, typer.Option("--mtu", metavar="BYTES", help="Of its links.")]
Internal = Annotated[bool, typer.Option("--internal", help="Without a way out, and nothing outside reaches it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Remove nothing, and list what would be.")]


@failing(FAILED)
def create(
    network: NewName,
    subnet: Subnet = "",
    subnet6: Subnet6 = "",
    mtu: Mtu = 1500,
    internal: Internal = False,
    json_: Json = False,
) -> int:
    """Define a network of one's own, which workloads join by `mode = "custom"` and `network.name`.

    It is written to /etc/volt/networks/NETWORK.toml, and the first workload that joins makes its bridge. A subnet that
    a route of the host's or another network overlaps is refused.
    """
    made = api.create_network(network, subnet=subnet, subnet6=subnet6, mtu=mtu, internal=internal)
    if json_:
        print(json.dumps({"version": 1, "network": document(made)}, indent=2))
    else:
        print(made.name)
    return 0


@failing(FAILED)
def ls(json_: Json = False) -> int:
    """List the networks of this machine, with their bridges, subnets and workloads."""
    found = api.networks()
    if json_:
        print(json.dumps({"version": 1, "networks": [document(one) for one in found]}, indent=2))
        return 0
    head = ("NAME", "BRIDGE", "SUBNET", "SUBNET6", "WORKLOADS", "INTERNAL")
    rows = [
        (one.name, one.bridge, one.subnet, one.subnet6, str(len(one.workloads)), "yes" if one.internal else "no")
        for one in found
    ]
    print(columns([head, *rows], (0, 1, 2, 3, 5)), end="")
    for one in found:
        if one.problem:
            print(f"volt: {printable(f'{one.name}: {one.problem}')}", file=sys.stderr)
    return 0


@failing(FAILED)
def show(network: Which = "bridge", json_: Json = False) -> int:
    """Print all that is known of a network: subnets, bridge, who has which address, and what volt changed on the host.

    What was changed is the same for all networks: it is put back with the last one.
    """
    one = api.network(network)
    if json_:
        print(json.dumps({"version": 1, "network": document(one)}, indent=2))
        return 0
    state = "there" if one.present else "not there: the next workload that joins makes it"
    rules = {True: "whole", False: "not whole: the next workload that joins mends them", None: "none yet"}[one.whole]
    rows = [
        ("name", one.name),
        ("bridge", f"{one.bridge}, {state}"),
        *((f"subnet{kind}", f"{subnet}, the host is {own}") for kind, subnet, own in _subnets(one)),
        ("mtu", str(one.mtu)),
        ("internal", "yes" if one.internal else "no"),
        ("rules", rules),
        *(("problem", problem) for problem in [one.problem] if problem),
        *(("workload", f"{user.address} {user.name or '-'} {user.run}") for user in one.workloads),
        *(("changed", f"{change.path}: {change.before} before, {change.now or 'gone'} now") for change in one.sysctls),
    ]
    print(columns(rows, (0, 1)), end="")
    return 0


def _subnets(one: api.Network) -> list[tuple[str, str, str]]:
    found = [("", one.subnet, one.address), ("6", one.subnet6, one.address6)]
    return [each for each in found if each[1]]


@failing(FAILED)
def rm(networks: Several, json_: Json = False) -> int:
    """Take networks away: bridge, rules and definition. The default one, `bridge`, comes back with the next workload.

    Refused while workloads are on it. With the last one the host's settings are put back which launches have changed,
    unless somebody has changed them since.
    """
    return tell(lambda: each(networks, api.remove_network), json_=json_, line=_removed, key="removed")


def _removed(one: api.RemovedNetwork) -> str:
    for reason in one.kept:
        print(f"volt: {printable(reason)}", file=sys.stderr)
    return printable(one.name)


@failing(FAILED)
def gc(dry_run: DryRun = False, json_: Json = False) -> int:
    """Remove what crashes have left of networks.

    Claims of addresses, links and rules whose workload is gone, removals that were not finished, bridges without a
    network, what was kept for network namespaces that are gone. Ends with 1 where something cannot be removed.
    """
    found = api.collect_networks(dry_run=dry_run)
    return tell_cleared(found, dry_run=dry_run, json_=json_)
