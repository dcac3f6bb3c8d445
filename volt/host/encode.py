"""Facts as JSON and back: what a stored plan was made from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from volt.errors import StateError
from volt.model.facts import Boot, Bridge, Cgroup, Control, Facts, ImageFact, Modules, PathFact, ProfileText, Resolver
from volt.model.folders import Folders
from volt.model.policy import Policy
from volt.model.sizes import Size

VERSION = 1


def facts_to_json(facts: Facts) -> str:
    """The facts as a JSON document, version 1, the same text for the same facts."""
    return json.dumps({"version": VERSION, **asdict(facts)}, indent=2, sort_keys=True) + "\n"


def facts_from_json(document: str) -> Facts:
    """The facts that facts_to_json wrote. Raises StateError for anything else."""
    try:
        values = json.loads(document)
        if values.pop("version") != VERSION:
            raise StateError("these facts are of another version of volt", hint="probe the machine again")
        return _facts(values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StateError(f"these are no facts: {error}", hint="probe the machine again") from error


def _facts(values: dict[str, Any]) -> Facts:
    major, minor = values["kernel"]
    typed = {
        "kernel": (major, minor),
        "folders": Folders(**values["folders"]),
        "control": _control(values["control"]),
        "heat": tuple(values.get("heat", ())),
        "host_etc": tuple(values["host_etc"]),
        "subordinate": tuple((first, count) for first, count in values["subordinate"]),
        "busy_uids": tuple(values["busy_uids"]),
        "limits": {name: (soft, hard) for name, (soft, hard) in values["limits"].items()},
        "paths": {path: PathFact(**fact) for path, fact in values["paths"].items()},
        "policy": values.get("policy") and _policy(values["policy"]),
        "seccomp": values.get("seccomp") and ProfileText(**values["seccomp"]),
        "bridge": values.get("bridge") and _bridge(values["bridge"]),
        "landlock": values.get("landlock") and ProfileText(**values["landlock"]),
        "image": values.get("image") and _image(values["image"]),
        "boot": _boot(values.get("boot", {})),
    }
    return Facts(**{**values, **typed})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _boot(values: dict[str, Any]) -> Boot:
    modules = values.get("modules")
    return Boot(**{**_plain(values), "modules": modules and Modules(**_plain(modules))})


def _image(values: dict[str, Any]) -> ImageFact:
    folder = values.get("folder")
    return ImageFact(**{**values, "folder": folder and PathFact(**folder)})


def _bridge(values: dict[str, Any]) -> Bridge:
    resolver = values.get("resolver")
    return Bridge(**{**values, "resolver": resolver and Resolver(**resolver)})


def _policy(values: dict[str, Any]) -> Policy:
    typed = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    size = values["memory_limit"]
    return Policy(**{**values, **typed, "memory_limit": size and Size(**size)})


def _control(values: dict[str, Any]) -> Control:
    typed = {
        "own": _cgroup(values["own"]),
        "top": _cgroup(values["top"]),
        "delegated": values["delegated"] and _cgroup(values["delegated"]),
        "legacy": tuple(values["legacy"]),
        "cores": tuple(values["cores"]),
    }
    return Control(**{**values, **typed})


def _cgroup(values: dict[str, Any]) -> Cgroup:
    typed = {name: tuple(values[name]) for name in ("controllers", "enabled")}
    return Cgroup(**{**values, **typed})
