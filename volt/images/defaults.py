"""What an image says about how it is run, as far as the manifest says nothing else."""

from __future__ import annotations

from volt.images.config import ImageConfig
from volt.model.signals import NAMES
from volt.model.values import replace
from volt.model.workload import User, Workload

_VOLUMES_MOST = 100
_NAME_MOST, _PATH_MOST = 255, 2048  # bytes: NAME_MAX, and half of PATH_MAX


def filled(workload: Workload, config: ImageConfig) -> tuple[Workload, tuple[str, ...]]:
    """The workload with what the image gives, and the dotted keys of that; the image's variables are given apart, for
    they come before those of an env_file. What no workload can have stays as it was, and is found missing."""
    changes: dict[str, object] = {}
    # Of an image that is booted its own init is what runs.
    if not workload.command and not workload.boots and (command := config.entrypoint + config.command):
        changes["command"] = command
    if workload.user is None and (user := _user(config.user)):
        changes["user"] = user
    if workload.workdir is None and config.workdir.strip("/"):
        changes["workdir"] = "/" + config.workdir.strip("/")
    keys = [f"workload.{name}" for name in changes]
    made = replace(workload, **changes)
    if workload.service.stop_signal is None and not workload.boots and (signal := _signal(config.stop_signal)):
        made = replace(made, service=replace(made.service, stop_signal=signal))
        keys.append("service.stop_signal")
    return made, tuple(keys)


def folders(config: ImageConfig) -> tuple[str, tuple[str, ...]]:
    """Where its program starts, and where it keeps data, as far as they are paths below the root that there can be: ""
    and none where there are none."""
    workdir, *volumes = (_folder(one) for one in (config.workdir, *config.volumes[:_VOLUMES_MOST]))
    return workdir, tuple(sorted({*volumes} - {""}))


def _folder(written: str) -> str:
    parts = [part for part in written.split("/") if part not in ("", ".")]
    path = "/".join(("", *parts))
    can_be = ".." not in parts and path.isprintable() and all(len(part.encode()) <= _NAME_MOST for part in parts)
    return path if can_be and len(path.encode()) <= _PATH_MOST else ""


def _user(written: str) -> User | None:
    first, _, second = written.partition(":")
    if not first and not second:
        return None
    return User(_account(first) if first else 0, _account(second) if second else None)


def _account(written: str) -> str | int:
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 11 else written


def _signal(written: str) -> str:
    """Without SIG, as a workload has it; "" for none and for one that a manifest cannot name."""
    name = written.upper().removeprefix("SIG")
    if name.isascii() and name.isdecimal() and len(name) < 3:
        return NAMES[int(name) - 1] if 0 < int(name) <= len(NAMES) else ""
    return name if name in NAMES else ""
