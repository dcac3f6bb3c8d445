"""The networks of this machine: defined, listed, and shown with all that lies on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from volt.errors import HostUnfit, ManifestError, NetworkError, NoSuchNetwork, StateError
from volt.host import definitions, sysctls
from volt.host.folders import folders
from volt.host.networks import choose, namespace, probe_bridge
from volt.model.facts import Bridge
from volt.model.findings import quote
from volt.model.folders import NETWORKS_FOLDER
from volt.model.networks import (
    DEFAULT,
    RESERVED,
    USUAL_MTU,
    Definition,
    Joined,
    Network,
    bridges_of,
    mtu,
    subnet,
    subnet6,
)
from volt.plan import bridge_rules
from volt.plan.network import ADDRESSES, gateways
from volt.runs import netlink
from volt.runs.addresses import holders
from volt.runs.states import look


def require_root() -> None:
    """Raises HostUnfit: who has an address is for root to know."""
    if os.geteuid() != 0:
        raise HostUnfit("networks are root's alone", hint="run it with sudo")


def networks_folder(name: str = "") -> str:
    """What is known of the networks of this network namespace, or something below it."""
    return f"{NETWORKS_FOLDER}/{namespace()}" + (f"/{name}" if name else "")


def definition(name: str) -> Definition | None:
    """The network of this machine's own that is called so, None without one. Raises ManifestError with all that is
    wrong with its definition, StateError for one that cannot be read."""
    data = definitions.read(name) if name not in RESERVED else None
    if data is None:
        return None
    from volt.manifest.networks import read_definition

    read = read_definition(name, next(bridges_of(name)), definitions.path_of(name), data)
    if read.definition is None:
        raise ManifestError(read.findings)
    return read.definition


def create_network(
    name: str, *, subnet: str = "", subnet6: str = "", mtu: int = USUAL_MTU, internal: bool = False
) -> Network:
    """Define a network of this machine's own: workloads join it by network.name, and the first one makes its bridge.

    Without `subnet` it has the first free /24 of a few pools, without `subnet6` a unique local one. Raises NetworkError
    for what it cannot have, HostUnfit without root.
    """
    require_root()
    asked = Definition(_new_name(name), *_formed(subnet, subnet6, mtu), internal)
    with told(f"the network {name} cannot be made"), definitions.changing():
        if name in definitions.names():
            raise NetworkError(f"there is a network {name} already", hint=f"volt net show {name} tells what it is")
        chosen = choose(asked)
        definitions.write(name, _written(chosen))
    return network(name)


@contextmanager
def told(what: str) -> Iterator[None]:
    """What the system refuses as a NetworkError."""
    try:
        yield
    except OSError as error:
        where = f": {quote(os.fsdecode(error.filename))}" if error.filename else ""
        raise NetworkError(f"{what}: {error.strerror or error}{where}") from error


def _new_name(name: str) -> str:
    from volt.manifest.forms import label

    try:
        label(name)
    except ValueError as error:
        raise NetworkError(str(error), hint="write lower-case letters, digits and hyphens") from None
    if name in RESERVED:
        raise NetworkError(f"{name} is a mode, and no network can be called so", hint="choose another name")
    return name


def _formed(first: str, six: str, size: int) -> tuple[str, str, str, int]:
    """Subnet, bridge, the other subnet and MTU. Raises NetworkError for the first that is none."""
    found: list[str | int] = []
    for option, written, form in (("subnet", first, subnet), ("subnet6", six, subnet6), ("mtu", size, mtu)):
        try:
            found.append(form(written) if written != "" else "")
        except ValueError as error:
            raise NetworkError(f"--{option}: {error}", hint=_FORMS[option]) from None
    return str(found[0]), "", str(found[1]), int(found[2])


_FORMS = {
    "subnet": "write 10.203.0.0/24",
    "subnet6": "write fd12:3456:789a::/64",
    "mtu": "write 1500",
}


def _written(network: Definition) -> str:
    return (
        f"# A network of this machine: volt net show {network.name}\n"
        f'subnet = "{network.subnet}"\n'
        f'subnet6 = "{network.subnet6}"\n'
        f"mtu = {network.mtu}\n"
        f"internal = {'true' if network.internal else 'false'}\n"
        f'bridge = "{network.bridge}"\n'
    )


def networks() -> tuple[Network, ...]:
    """Every network, the default one first: one whose definition is bad has that as its problem. Raises VoltError for
    settings that are none, HostUnfit without root."""
    require_root()
    names, links = run_names(), netlink.links()
    found = [_network(probe_bridge(), names, links)]
    for outline in definitions.outlines():
        try:
            own = definition(outline.name)
        except (ManifestError, StateError) as error:
            found.append(_broken(outline, error))
        else:
            found += [_network(probe_bridge(own), names, links)] if own else []
    return tuple(found)


def network(name: str = DEFAULT) -> Network:
    """One network, with the state of what it is made of. Raises NoSuchNetwork, ManifestError for a bad definition,
    VoltError for settings that are none, HostUnfit without root."""
    require_root()
    own = definition(name) if name != DEFAULT else None
    if own is None and name != DEFAULT:
        raise unknown(name)
    return _network(probe_bridge(own), run_names(), netlink.links())


def network_names() -> tuple[str, ...]:
    """Of those that are defined, good or bad, for whoever asks."""
    return definitions.names()


def unknown(name: str) -> NoSuchNetwork:
    """What to raise for a network that there is not."""
    import difflib

    near = difflib.get_close_matches(name, (DEFAULT, *definitions.names()), 1, 0.6)
    hint = f"did you mean '{near[0]}'?" if near else "volt net ls lists what there is"
    return NoSuchNetwork(f"there is no network {quote(name)}", hint=hint)


def run_names() -> Mapping[str, str]:
    """The name of each run by its id, of those that this state knows."""
    return {state.id: state.name for state in look(folders()).runs}


def joined(bridge: Bridge, names: Mapping[str, str]) -> tuple[Joined, ...]:
    """The workloads on a network. Raises OSError."""
    own = ip_network(bridge.subnet)
    return tuple(one for one in holders(networks_folder(ADDRESSES), names) if ip_address(one.address) in own)


def _network(bridge: Bridge, names: Mapping[str, str], links: tuple[netlink.Link, ...]) -> Network:
    four, six = gateways(bridge)
    present = any(link.name == bridge.label and link.kind == "bridge" for link in links)
    return Network(
        name=bridge.network,
        bridge=bridge.label,
        subnet=bridge.subnet,
        subnet6=bridge.subnet6,
        mtu=bridge.mtu,
        internal=bridge.internal,
        present=present,
        address=str(four.ip),
        address6=str(six.ip) if six else "",
        workloads=joined(bridge, names),
        whole=_whole(bridge, present=present),
        sysctls=sysctls.changed(networks_folder()),
        problem=bridge.problem,
    )


def _whole(bridge: Bridge, *, present: bool) -> bool | None:
    """Whether nftables has every rule, and knows a network that is present; None where it has none at all."""
    rules = bridge_rules.host_rules()
    found = [one for ask in bridge_rules.listings() for one in netlink.dump(netlink.NETFILTER, ask)]
    if not found:
        return None
    marked = sum(1 for one in found if rules.mark in one)
    sets = [bridge_rules.joined(), *([bridge_rules.inside()] if bridge.internal else [])]
    label = os.fsencode(bridge.label)
    known = all(label in (key.rstrip(b"\0") for key in netlink.keys(ask)) for ask in sets)
    return marked == rules.count and (known or not present)


def _broken(outline: Definition, error: ManifestError | StateError) -> Network:
    """What is known of a network whose definition is bad."""
    first = error.findings[0] if isinstance(error, ManifestError) else None
    problem = f"{first.place}: {first.message}" if first else error.message
    return Network(
        name=outline.name,
        bridge=outline.bridge,
        subnet=outline.subnet,
        subnet6=outline.subnet6,
        mtu=outline.mtu,
        internal=outline.internal,
        present=False,
        problem=problem,
    )
