"""Networks taken away again, and what crashes have left of some."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

from volt.api.networking import networks_folder, require_root, run_names, told, unknown
from volt.errors import NetworkError
from volt.host import definitions, sysctls
from volt.host.namespaces import network_namespaces
from volt.host.networks import probe_bridge
from volt.host.settings import read_settings
from volt.model.networks import DEFAULT, Definition, Joined, RemovedNetwork
from volt.model.run import Cleared, Rubbish
from volt.plan import bridge_rules
from volt.plan.links import MAC, PREFIX, remove
from volt.plan.network import ADDRESSES
from volt.runs import netlink
from volt.runs.addresses import claimed, held, holders
from volt.runs.claims import is_held
from volt.runs.resolvers import end_resolver
from volt.runs.retracting import remove_dead_address
from volt.runs.sweep import address_folders
from volt.runs.tree import remove_tree

_SHOWN = 10  # of the workloads that a network is not taken from
_DIGITS = re.compile("[0-9a-f]{8}", re.ASCII)
_GONE = (errno.ENOENT, errno.ENODEV)


def remove_network(name: str) -> RemovedNetwork:
    """Take a network down in this network namespace, and forget its definition; the default one is made anew by the
    next workload that joins it. With the last network go nftables' tables, and the settings of the host are as before.

    What a crash interrupts is taken up by the next call. Raises NoSuchNetwork, NetworkError while workloads are on it,
    HostUnfit without root.
    """
    require_root()
    with told(f"the network {name} cannot be taken away"), definitions.changing():
        outline = _outline(name)
        if outline is None:
            raise unknown(name)
        names = run_names()
        _refuse_used(outline, names)
        hidden = name != DEFAULT and definitions.hide(name)
        try:
            _refuse_used(outline, names)
            bridge = take_down(outline)
            _refuse_used(outline, names)  # one that was planned before may have come meanwhile
        except NetworkError:
            if hidden:
                definitions.show(name)
            raise
        rules, put_back = end_last(names)
        if name != DEFAULT:
            definitions.forget(name)
    return RemovedNetwork(name, bridge, rules, put_back.done, put_back.kept)


def _outline(name: str) -> Definition | None:
    """As far as it can be read: what is defined badly can be taken away."""
    if name == DEFAULT:
        found = probe_bridge()
        return Definition(DEFAULT, found.subnet, found.label, found.subnet6)
    return definitions.outline(name)


def _refuse_used(outline: Definition, names: Mapping[str, str]) -> None:
    """Raises NetworkError that names who is on it."""
    if users := users_of(outline, names):
        shown = ", ".join(f"{one.name or one.run} ({one.address})" for one in users[:_SHOWN])
        more = f" and {len(users) - _SHOWN} more" * (len(users) > _SHOWN)
        hint = f"volt stop {users[0].name or users[0].run}" if users[0].name or users[0].run else ""
        raise NetworkError(f"workloads are on {outline.name}: {shown}{more}", hint=hint)


def users_of(outline: Definition, names: Mapping[str, str]) -> tuple[Joined, ...]:
    """Who has an address of its subnets, as it is defined and as its bridge has it, or a link on the bridge. Raises
    OSError."""
    links = netlink.links()
    bridge = next((one for one in links if one.name == outline.bridge), None)
    ports = {one.name for one in links if bridge and one.master == bridge.index}
    own = ip_network(outline.subnet) if outline.subnet else None
    found = holders(networks_folder(ADDRESSES), names)
    return tuple(one for one in found if link_of(one.address) in ports or (own and ip_address(one.address) in own))


def link_of(address: str) -> str:
    """What the link is called of who has an address: volt/plan/links.py."""
    return f"{PREFIX}{int(IPv4Address(address)):08x}"


def take_down(outline: Definition) -> bool:
    """The network is unknown to the rules, and its bridge gone, with what may come out of links of its subnet and what
    answers for its names: whether the bridge was there. Raises OSError."""
    for request in bridge_rules.leave(outline.bridge):
        netlink.tell(netlink.NETFILTER, request, _GONE)
    there = any(one.name == outline.bridge and one.kind == "bridge" for one in netlink.links())
    if there:
        netlink.tell(netlink.ROUTE, remove(outline.bridge), _GONE)
    if outline.subnet:
        own = ip_network(outline.subnet)
        forget_addresses(lambda address: address in own)
    end_resolver(networks_folder(outline.bridge))
    return there


def forget_addresses(wanted: Callable[[IPv4Address], bool]) -> None:
    """Nothing may come out of links of these addresses any more. Raises OSError."""
    four, six = (
        [key for key in netlink.keys(ask) if (found := address_in(key)) and wanted(found)]
        for ask in bridge_rules.permitted()
    )
    for request in bridge_rules.forbid(four, six):
        netlink.tell(netlink.NETFILTER, request, _GONE)


def address_in(key: bytes) -> IPv4Address | None:
    """The address that the link of a key is called after."""
    return address_of(os.fsdecode(key[:16].rstrip(b"\0")))


def address_of(link: str) -> IPv4Address | None:
    """Of who has a link of that name, None where it is no workload's."""
    digits = link.removeprefix(PREFIX)
    return IPv4Address(int(digits, 16)) if _DIGITS.fullmatch(digits) and digits != link else None


def own_bridges(links: tuple[netlink.Link, ...]) -> list[netlink.Link]:
    """Bridges that volt has made: their MAC follows from their address."""
    return [one for one in links if one.kind == "bridge" and one.mac.startswith(MAC)]


def end_last(names: Mapping[str, str]) -> tuple[bool, sysctls.PutBack]:
    """Where no network is left in this network namespace, the tables go and the settings are put back: whether that
    was so. Raises OSError."""
    nothing = sysctls.PutBack((), ())
    folder = networks_folder(ADDRESSES)
    if own_bridges(netlink.links()) or holders(folder, names):
        return False, nothing
    for request in bridge_rules.no_rules():
        netlink.tell(netlink.NETFILTER, request, _GONE)
    # A launch claims its address before it looks for rules and settings. One that came in between may have found what
    # is no more: it has what it needs back at once.
    if holders(folder, names):
        netlink.tell(netlink.NETFILTER, bridge_rules.host_rules().make)
        return False, nothing
    put_back = sysctls.put_back(networks_folder())
    if holders(folder, names):
        sysctls.give_again(networks_folder(), put_back)
        return False, nothing
    return True, put_back


# ── what crashes have left

Left = tuple[Rubbish, Callable[[], object]]  # and how it goes


def collect_networks(*, dry_run: bool = False) -> Cleared:
    """Remove what crashes have left of networks: claims, links and what may come out of them whose workload is gone;
    removals that were not finished; bridges whose network is no more; what was kept for a network namespace that is
    gone. With `dry_run` nothing is removed.

    What cannot be removed is a problem, in words, and keeps nothing else from it. Raises NetworkError, HostUnfit
    without root.
    """
    require_root()
    done, problems = [], []
    with told("what crashes have left of networks cannot be looked for"), definitions.changing():
        for one, remove_it in left():
            try:
                if not dry_run:
                    remove_it()
            except (OSError, NetworkError) as error:
                why = error.strerror if isinstance(error, OSError) else error.message
                problems.append(f"{one.path} cannot be removed: {why}")
            else:
                done.append(one)
    return Cleared(tuple(done), tuple(problems))


def left() -> Iterator[Left]:
    """Each as it is found, so that what goes before is gone by then. Raises OSError."""
    yield from _unfinished()
    yield from _claims()
    yield from _of_addresses()
    yield from _bridges()
    yield from _namespaces()


def _unfinished() -> Iterator[Left]:
    begun, going = definitions.unfinished()
    for path in begun:
        yield Rubbish("file", path, "", "its writer was interrupted"), partial(Path(path).unlink, missing_ok=True)
    for name in going:
        why = "its removal was not finished"
        yield Rubbish("network", name, "", why), partial(_finish, name)


def _finish(name: str) -> None:
    if Path(definitions.path_of(name)).exists():  # made anew since: what was hidden is nobody's
        definitions.forget(name)
        return
    outline = definitions.outline(name)
    if outline is None or users_of(outline, {}):
        definitions.show(name)
        return
    take_down(outline)
    end_last({})
    definitions.forget(name)


def _claims() -> Iterator[Left]:
    for folder in address_folders():
        for address in claimed(folder):
            path = f"{folder}/{address}"
            if not is_held(path):
                yield Rubbish("claim", path, "", "who held it has died"), partial(remove_dead_address, folder, address)


def _of_addresses() -> Iterator[Left]:
    """Links, and what may come out of them, whose address nobody has."""
    folder = networks_folder(ADDRESSES)
    living = {one.address for one in holders(folder, {})}
    links = {str(found): one.name for one in netlink.links() if (found := address_of(one.name))}
    keys = (key for ask in bridge_rules.permitted() for key in netlink.keys(ask))
    elements = {str(found) for key in keys if (found := address_in(key))}
    for address in sorted({*links, *elements} - living):
        kind, path = ("link", links[address]) if address in links else ("element", link_of(address))
        yield Rubbish(kind, path, "", f"no workload has {address}"), partial(_forget, folder, address)


def _forget(folder: str, address: str) -> None:
    """Nobody gets the address meanwhile: a workload whose link this becomes would lose it. Raises OSError."""
    with held(folder, address) as ours:
        if ours:
            netlink.tell(netlink.ROUTE, remove(link_of(address)), _GONE)
            forget_addresses(lambda found: str(found) == address)


def _bridges() -> Iterator[Left]:
    links = netlink.links()
    known = {read_settings().bridge, *(one.bridge for one in definitions.outlines())}
    used = {one.master for one in links}
    for one in own_bridges(links):
        if one.name not in known and one.index not in used:
            gone = Definition("", "", one.name)
            why = "no network of this machine has such a bridge"
            yield Rubbish("bridge", one.name, "", why), partial(take_down, gone)


def _namespaces() -> Iterator[Left]:
    living = network_namespaces()
    for folder in address_folders():
        above = folder.rpartition("/")[0]
        number = above.rpartition("/")[2]
        if living is not None and number.isdecimal() and int(number) not in living and not holders(folder, {}):
            yield Rubbish("namespace", above, "", "its network namespace is gone"), partial(remove_tree, above)
