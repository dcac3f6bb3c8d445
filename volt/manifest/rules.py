"""Rules between fields: what each alone cannot know. And what fields mean in a mode that ignores them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from volt.manifest.forms import ports
from volt.manifest.nodes import Node
from volt.manifest.reader import Reader
from volt.model.findings import quote
from volt.model.modes import Mode, NetworkMode
from volt.model.workload import Port

Sections = Mapping[str, Mapping[str, Any]]
Find = Any  # dotted key → Node | None
UNPRIVILEGED = 1024  # ip_unprivileged_port_start's default, ip-sysctl.rst


def check(reader: Reader, sections: Sections, find: Find, exists: Any) -> None:
    """Every rule that more than one value decides."""
    _required(reader, sections, find)
    _kernel(reader, sections, find)
    _security(reader, sections, find)
    _resources(reader, sections, find)
    _network(reader, sections, find)
    _mounts(reader, sections, find, exists)


def _required(reader: Reader, sections: Sections, find: Find) -> None:
    for name, hint in (("name", 'write name = "web"'), ("mode", 'write mode = "container"')):
        key = f"workload.{name}"
        if sections["workload"].get(name) is None and not _unknown(reader, key):
            node = find(key) or find("workload")
            reader.wrong("missing-key", key, node, f"{key} is missing", f"in [workload], {hint}")


def _unknown(reader: Reader, key: str) -> bool:
    """Whether a value that is not there means nothing: it was wrong, or stands in a file that was not read."""
    section = key.partition(".")[0]
    return not reader.complete or reader.reported(key) or reader.reported(section)


def _kernel(reader: Reader, sections: Sections, find: Find) -> None:
    mode = sections["workload"].get("mode")
    for name in ("version", "path", "modules", "cmdline"):
        value, key = sections["kernel"].get(name), f"kernel.{name}"
        if not value:
            continue
        if mode == Mode.CONTAINER:
            reader.note("ignored", key, find(key), f"{key} is ignored in container mode")
        if mode == Mode.HYBRID_EMULATED and name != "version":
            reader.wrong("wrong-mode", key, find(key), f"{key} has no meaning in hybrid-emulated", "remove it")


def _security(reader: Reader, sections: Sections, find: Find) -> None:
    security, mode = sections["security"], sections["workload"].get("mode")
    if security.get("no_new_privs") is False and mode not in (None, Mode.HYBRID_NATIVE):
        key = "security.no_new_privs"
        reader.wrong("wrong-mode", key, find(key), "only hybrid-native can do without no_new_privs", "remove it")
    profile = security.get("landlock_profile")
    undecided = profile is None and _unknown(reader, "security.landlock_profile")
    if security.get("landlock_policy") and profile != "custom" and not undecided:
        key = "security.landlock_policy"
        hint = 'write landlock_profile = "custom", or remove the policy'
        reader.wrong("unused-policy", key, find(key), "a policy goes with the custom profile alone", hint)


def _resources(reader: Reader, sections: Sections, find: Find) -> None:
    limit, soft = sections["resources"].get("memory_limit"), sections["resources"].get("memory_soft")
    if not limit or not soft:
        return
    for mine, other in ((soft.bytes, limit.bytes), (soft.percent, limit.percent)):
        if mine is not None and other is not None and mine >= other:
            key = "resources.memory_soft"
            hint = "write a smaller size than memory_limit"
            reader.wrong("soft-above-limit", key, find(key), f"{soft} is not below memory_limit", hint)


def _network(reader: Reader, sections: Sections, find: Find) -> None:
    network = sections["network"]
    mode = network.get("mode")
    if network.get("address") and mode in (NetworkMode.HOST, NetworkMode.NONE):
        message = "there is no address to choose without a network, or in the host's"
        reader.wrong("wrong-network-mode", "network.address", find("network.address"), message, "remove it")
    if network.get("dns") and mode == NetworkMode.NONE:
        key = "network.dns"
        reader.wrong("wrong-network-mode", key, find(key), "with no network there is no resolver", "remove it")
    undecided = mode is None and _unknown(reader, "network.mode")
    if network.get("name") and mode != NetworkMode.CUSTOM and not undecided:
        key = "network.name"
        hint = 'write mode = "custom", or remove the name'
        reader.wrong("wrong-network-mode", key, find(key), "only custom joins a named network", hint)
    if network.get("ports"):
        _ports(reader, mode, find("network.ports"))


def _ports(reader: Reader, mode: Any, node: Node) -> None:
    taken: list[Port] = []
    if mode == NetworkMode.NONE:
        message = "with no network nothing can be published"
        reader.wrong("wrong-network-mode", "network.ports", node, message, "remove them")
    for number, element in enumerate(node.value):
        published = ports(element.value)
        key = f"network.ports[{number}]"
        if mode == NetworkMode.HOST:
            _declared(reader, key, element, published)
        outside = [port for port in published if port.host is not None]
        known = {(port.host, port.protocol) for port in outside}
        twice = next(
            (port for port in taken if (port.host, port.protocol) in known and _overlap(port, outside[0])), None
        )
        if twice:
            message = f"host port {twice.host}/{twice.protocol} is published twice"
            reader.wrong("port-twice", key, element, message, "remove one")
        taken += outside


def _overlap(one: Port, other: Port) -> bool:
    """Whether some address of the host's is one of both: those of one element are the same."""
    if one.address is None or other.address is None:
        return True
    here, there = ip_address(one.address), ip_address(other.address)
    return here.version == there.version and (here == there or here.is_unspecified or there.is_unspecified)


def _declared(reader: Reader, key: str, node: Node, published: tuple[Port, ...]) -> None:
    """Under host nothing is published: a port declares what may be bound there."""
    if any(port.host is not None or port.address for port in published):
        hint = "under host write the container's port alone: it declares what may be bound"
        reader.wrong("published-under-host", key, node, "nothing is published in the host's network", hint)
    if any(port.container < UNPRIVILEGED for port in published):
        message = f"ports below {UNPRIVILEGED} cannot be bound in the host's network from a user namespace"
        reader.wrong("privileged-port", key, node, message, f"write a port from {UNPRIVILEGED} up")


def _mounts(reader: Reader, sections: Sections, find: Find, exists: Any) -> None:
    taken: dict[str, str] = {}
    places = [(f"storage.tmpfs[{n}]", tmpfs.path) for n, tmpfs in enumerate(sections["storage"].get("tmpfs") or ())]
    volumes = sections["storage"].get("volumes") or ()
    places += [(f"storage.volumes[{n}].container", volume.container) for n, volume in enumerate(volumes)]
    for key, path in places:
        if path in taken:
            message = f"{quote(path)} is mounted twice, also by {taken[path]}"
            reader.wrong("mounted-twice", key, find(key), message, "remove one")
        taken.setdefault(path, key)
    for n, volume in enumerate(volumes):
        key = f"storage.volumes[{n}].host"
        if not exists(volume.host):
            message = f"{quote(volume.host)} does not exist"
            reader.wrong("missing-volume", key, find(key), message, "make it first, or correct the path")
