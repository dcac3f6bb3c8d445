"""What a machine's policy refuses: whatever a manifest, or the caller of one launch, asks for beyond it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from volt.model.facts import Call, Facts, ProfileText
from volt.model.findings import Bound, Finding
from volt.model.modes import LandlockProfile
from volt.model.policy import POLICY, Policy
from volt.model.sizes import Size
from volt.model.values import Value
from volt.model.workload import Resources, Volume, Workload
from volt.plan.capabilities import payload_sets

DEFAULT_PROFILE = "default"  # where a manifest names none
LIMITS = ("memory_limit", "pids_max")  # of [resources], those that a policy bounds
ASK = "ask whoever administers this machine"


class Asked(Value):
    """A word or an absolute path in the manifest, the keys that it has there and in the policy, its use, and what to
    write where neither another word nor another path will do."""

    key: str
    bound: str
    value: str
    use: str = ""
    otherwise: str = ""


def check_policy(workload: Workload, facts: Facts, call: Call) -> Iterator[Finding]:
    """A finding for everything that is beyond the policy; where there is none, for modules of the kernel alone."""
    policy = facts.policy
    if workload.boots:
        yield from _modules(workload.kernel.modules, policy)
    if policy is None:
        return
    yield from _waivers(call, policy)
    yield from _env_file(workload, facts, policy)
    yield from _capabilities(workload, policy)
    yield from _profiles(workload, facts, policy)
    yield from check_resources(workload.resources, facts.memory, policy)
    yield from _network(workload, policy)
    yield from _root(workload, facts, policy)
    yield from _image(facts, policy)
    for number, volume in enumerate(workload.storage.volumes):
        yield from _volume(f"storage.volumes[{number}]", volume, facts, policy)


def check_resources(
    wanted: Resources, memory: int, policy: Policy, only: Collection[str] = LIMITS
) -> Iterator[Finding]:
    """Limits that are missing or too high. Of a workload that runs `only` those that change are looked at."""
    for name in (name for name in LIMITS if name in only):
        most, found, key = getattr(policy, name), getattr(wanted, name), f"resources.{name}"
        if most is None or (found is not None and _number(found, memory) <= _number(most, memory)):
            continue
        message = f"{name} {found} is too much" if found else f"{name} is not limited, and has to be"
        yield _beyond(policy, key, key, f"{message} on this machine", f"write at most {most}")


def _number(value: Size | int, memory: int) -> int:
    return value.of(memory) if isinstance(value, Size) else value


def _beyond(policy: Policy, key: str, bound: str, message: str, hint: str) -> Finding:
    """A finding about the value `key` of the manifest, and the key `bound` of the policy."""
    return Finding("beyond-policy", key, message, hint if policy.quotable else ASK, policy=Bound(bound))


def _waivers(call: Call, policy: Policy) -> Iterator[Finding]:
    if policy.allow_unenforced is None:
        return
    for name in call.waived:
        if name not in policy.allow_unenforced:
            message = f"--allow-unenforced {name} may not be given on this machine"
            yield _beyond(policy, "", "allow_unenforced", message, f"launch without --allow-unenforced {name}")


def _modules(asked: Sequence[str], policy: Policy | None) -> Iterator[Finding]:
    """What is loaded is the host's, for as long as it is up: so what no policy lists is not permitted."""
    most, key = policy.kernel_modules if policy else None, "kernel.modules"
    beyond = [name for name in asked if name not in (most or ())]
    listed = ", ".join(f'"{name}"' for name in dict.fromkeys((*(most or ()), *beyond)))
    hint = f"remove it, or have root write in {POLICY}, below [kernel]: modules = [{listed}]"
    for number, name in enumerate(asked):
        if name in beyond:
            bound = None if most is None else Bound(key)
            message = f"the kernel's module {name} may not be loaded on this machine"
            told = hint if policy is None or policy.quotable else ASK
            yield Finding("beyond-policy", f"{key}[{number}]", message, told, policy=bound)


def _env_file(workload: Workload, facts: Facts, policy: Policy) -> Iterator[Finding]:
    if workload.env_file:
        asked = Asked("workload.env_file", "workload.env_file", workload.env_file)
        yield from _place(asked, policy.env_file, _opened_at(asked.value, facts), policy)


def _capabilities(workload: Workload, policy: Policy) -> Iterator[Finding]:
    most, key, listed = policy.capabilities, "security.capabilities", workload.security.capabilities
    if most is None:
        return
    if listed is None:
        given = payload_sets(workload, 0).bounding
        if beyond := [name for name in given if name not in most]:
            left = ", ".join(f'"{name}"' for name in given if name in most)
            message = f"absent, capabilities are the usual {len(given)}, and a payload cannot have {_list(beyond)}"
            yield _beyond(policy, key, key, message, f"write capabilities = [{left}]")
        return
    for number, name in enumerate(listed):
        if name not in most:
            message = f"a payload cannot have the capability {name} on this machine"
            hint = f"remove it; these may be given: {', '.join(most) or 'none'}"
            yield _beyond(policy, f"{key}[{number}]", key, message, hint)


def _profiles(workload: Workload, facts: Facts, policy: Policy) -> Iterator[Finding]:
    security = workload.security
    key, used = "security.landlock_profile", security.landlock_profile or DEFAULT_PROFILE
    asked = Asked(key, key, used)
    if used == LandlockProfile.CUSTOM and security.landlock_policy:
        asked = Asked("security.landlock_policy", key, security.landlock_policy)
    yield from _place(asked, policy.landlock_profile, _read_at(facts.landlock), policy)
    key = "security.seccomp_profile"
    asked = Asked(key, key, security.seccomp_profile or DEFAULT_PROFILE)
    yield from _place(asked, policy.seccomp_profile, _read_at(facts.seccomp), policy)


def _read_at(profile: ProfileText | None) -> str:
    """Where the profile lies that was read: its path may lead elsewhere by now."""
    return profile.real if profile else ""


def _opened_at(path: str, facts: Facts) -> str:
    fact = facts.paths.get(path)
    return fact.real if fact else ""


def _network(workload: Workload, policy: Policy) -> Iterator[Finding]:
    key, mode = "network.mode", workload.network.joined
    if policy.network_mode is not None and mode not in policy.network_mode:
        message = f"the network mode {mode} may not be used on this machine"
        yield _beyond(policy, key, key, message, _one_of(policy.network_mode))
    key, name = "network.name", workload.network.name
    if policy.network_name is not None and name and name not in policy.network_name:
        message = f"the network {name} may not be joined on this machine"
        yield _beyond(policy, key, key, message, _one_of(policy.network_name))


def _root(workload: Workload, facts: Facts, policy: Policy) -> Iterator[Finding]:
    root = workload.storage.rootfs
    if facts.image or (root or "").startswith("cas://") or workload.image:
        if policy.rootfs is not None and "image" not in policy.rootfs:
            key = facts.image.key if facts.image else "storage.rootfs" if root else "workload.image"
            message = "no image may be used on this machine"
            yield _beyond(policy, key, "storage.rootfs", message, _one_of(policy.rootfs))
    elif root:
        asked = Asked("storage.rootfs", "storage.rootfs", root)
        yield from _place(asked, policy.rootfs, _opened_at(root, facts), policy)


def _image(facts: Facts, policy: Policy) -> Iterator[Finding]:
    """An image that is not there, and is looked for nowhere, is refused for that alone."""
    image, most = facts.image, policy.image_registries
    if image is None:
        return
    for place in image.unsigned:
        message = f"no key that the policy has for {place} has signed this image"
        hint = "pull it again, or have it signed as cosign does"
        yield _beyond(policy, image.key, "images.signers", message, hint)
    if most is None or not (image.there or image.origins) or any(allows(most, one) for one in image.origins):
        return
    known = f"images from {' or '.join(image.origins)}" if image.origins else "an image from nobody knows where"
    yield _beyond(policy, image.key, "images.registries", f"{known} may not be used on this machine", ways(most))


def allows(registries: Iterable[str], origin: str) -> bool:
    """Whether a repository, HOST/PATH, lies in a registry, or a part of one, that a policy lists. What was imported,
    "", is from none, and not bounded."""
    return not origin or any(f"{origin}/".startswith(f"{one}/") for one in registries)


def ways(registries: Sequence[str]) -> str:
    """What to do instead, where a registry is not allowed."""
    return f"take one from {_list(registries, 'or')}" if registries else "import it: no registry is allowed"


def _volume(key: str, volume: Volume, facts: Facts, policy: Policy) -> Iterator[Finding]:
    bounds, real = "storage.volumes", _opened_at(volume.host, facts)
    asked = Asked(f"{key}.host", f"{bounds}.host", volume.host)
    yield from _place(asked, policy.volume_host, real, policy)
    if not volume.readonly:
        asked = Asked(f"{key}.host", f"{bounds}.writable", volume.host, " for writing", ", or add readonly = true")
        yield from _place(asked, policy.volume_writable, real, policy)
    if volume.owner_root and policy.volume_owner is not None and "root" not in policy.volume_owner:
        message = "the inside may not write as the host's root on this machine"
        yield _beyond(policy, f"{key}.owner", f"{bounds}.owner", message, "remove owner, and give the path another one")


def _place(asked: Asked, allowed: tuple[str, ...] | None, real: str, policy: Policy) -> Iterator[Finding]:
    """A word that is allowed, or a path: both as it is written and `real`, where it leads, as planning has opened it.
    A launch opens the same inode again, so no link that changes in between leads it elsewhere."""
    if allowed is None:
        return
    value = asked.value
    message = f"{value} may not be used{asked.use} on this machine"
    if value.startswith("/"):
        good = _inside(value, allowed)
        if good and real and not _inside(real, allowed):
            good, message = False, f"{value} leads to {real}, which may not be used{asked.use} on this machine"
    else:
        good = value in allowed
    if not good:
        yield _beyond(policy, asked.key, asked.bound, message, _one_of(allowed) + asked.otherwise)


def _inside(path: str, folders: Iterable[str]) -> bool:
    """Below a folder, or that folder itself; of a path with a `..` nobody knows."""
    parts = PurePosixPath(path)
    known = ".." not in parts.parts
    return known and any(parts.is_relative_to(folder) for folder in folders if folder.startswith("/"))


def _one_of(allowed: Sequence[str]) -> str:
    words = [word for word in allowed if not word.startswith("/")]
    folders = [word for word in allowed if word.startswith("/")]
    ways = [f"write {_list(words, 'or')}"] if words else []
    ways += [f"name a place below {_list(folders, 'or')}"] if folders else []
    return ", or ".join(ways) or "leave it out: nothing is allowed"


def _list(words: Iterable[str], last: str = "and") -> str:
    *before, end = words
    return f"{', '.join(before)} {last} {end}" if before else end
