"""Rules between fields: what each alone cannot know. And what fields mean in a mode that ignores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volt.manifest.reader import Reader
from volt.model.modes import Mode, NetworkMode

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
        if sections["workload"].get(name) is None and not _reported(reader, f"workload.{name}"):
            node = find(f"workload.{name}") or find("workload")
            reader.wrong(
                "missing-key",
                f"workload.{name}",
                node,
                f"workload.{name} is missing",
                f"in [workload], {hint}",
            )


def _reported(reader: Reader, key: str) -> bool:
    return any(problem.key == key for problem in reader.problems)


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
    if security.get("landlock_policy") and profile != "custom":
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
            reader.wrong("soft-above-limit", key, find(key), f"{soft} is not below the limit of {limit}", hint)


def _network(reader: Reader, sections: Sections, find: Find) -> None:
    network = sections["network"]
    mode = network.get("mode")
    if network.get("address") and mode in (NetworkMode.HOST, NetworkMode.NONE):
        message = f'there is no address to choose with mode = "{mode}"'
        reader.wrong("wrong-network-mode", "network.address", find("network.address"), message, "remove it")
    if network.get("dns") and mode == NetworkMode.NONE:
        reader.wrong(
            "wrong-network-mode",
            "network.dns",
            find("network.dns"),
            "with no network there is no resolver",
            "remove it",
        )
    if network.get("name") and mode != NetworkMode.CUSTOM:
        hint = 'write mode = "custom", or remove the name'
        reader.wrong(
            "wrong-network-mode",
            "network.name",
            find("network.name"),
            "only custom joins a named network",
            hint,
        )
    if network.get("ports"):
        _ports(reader, network, mode, find)


def _ports(reader: Reader, network: Mapping[str, Any], mode: Any, find: Find) -> None:
    key, node = "network.ports", find("network.ports")
    if mode == NetworkMode.NONE:
        reader.wrong("wrong-network-mode", key, node, "with no network nothing can be published", "remove them")
    if mode == NetworkMode.HOST:
        if any(port.host is not None or port.address for port in network["ports"]):
            hint = "under host write the container's port alone: it declares what may be bound"
            reader.wrong("published-under-host", key, node, "nothing is published in the host's network", hint)
        if any(port.container < UNPRIVILEGED for port in network["ports"]):
            message = f"ports below {UNPRIVILEGED} cannot be bound in the host's network from a user namespace"
            reader.wrong("privileged-port", key, node, message, f"write a port from {UNPRIVILEGED} up")
    seen = set()
    for port in network["ports"]:
        place = (port.address, port.host, port.protocol)
        if port.host is not None and place in seen:
            reader.wrong(
                "port-twice",
                key,
                node,
                f"host port {port.host}/{port.protocol} is published twice",
                "remove one",
            )
        seen.add(place)


def _mounts(reader: Reader, sections: Sections, find: Find, exists: Any) -> None:
    taken: dict[str, str] = {}
    places = [(f"storage.tmpfs[{n}]", tmpfs.path) for n, tmpfs in enumerate(sections["storage"].get("tmpfs") or ())]
    volumes = sections["storage"].get("volumes") or ()
    places += [(f"storage.volumes[{n}].container", volume.container) for n, volume in enumerate(volumes)]
    for key, path in places:
        if path in taken:
            reader.wrong(
                "mounted-twice",
                key,
                find(key),
                f"{path} is mounted twice, also by {taken[path]}",
                "remove one",
            )
        taken.setdefault(path, key)
    for n, volume in enumerate(volumes):
        key = f"storage.volumes[{n}].host"
        if not exists(volume.host):
            reader.wrong(
                "missing-volume",
                key,
                find(key),
                f"{volume.host} does not exist",
                "make it first, or correct the path",
            )
