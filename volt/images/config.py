"""What an image says about itself: how it is run, for which machine it is, and how it was made. OCI image-spec,
config.md; docker save writes the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from volt.errors import StoreError
from volt.model.values import Value, field, kinds

CONFIG_MOST = 4 << 20  # bytes
_STEPS_MOST = 1000  # of a history
_LISTS = {"entrypoint": "Entrypoint", "command": "Cmd", "env": "Env"}
_SETS = {"ports": "ExposedPorts", "volumes": "Volumes"}
_WORDS = {"user": "User", "workdir": "WorkingDir", "stop_signal": "StopSignal"}
# What Python's kind of a value is called there.
_CALLED: dict[type, str] = {list: "a list", dict: "an object", str: "a string"}


class Layer(Value):
    """One line of an image's history: `created` as it is written, `empty` where it changed no file."""

    created: str = ""
    created_by: str = ""
    empty: bool = False


class ImageConfig(Value):
    """`architecture` and `system` as Go calls them; `env` has NAME=value; `ports` and `volumes` are what an image
    exposes, which is told and changes nothing, and where it keeps data."""

    architecture: str = ""
    variant: str = ""
    system: str = ""
    created: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    stop_signal: str = ""
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Layer, ...] = ()

    @property
    def platform(self) -> str:
        """linux/arm64/v8."""
        return "/".join(filter(None, (self.system, self.architecture, self.variant)))


def read_config(data: bytes) -> tuple[ImageConfig, tuple[str, ...]]:
    """An image's config, and the digests of its layers' plain bytes, the lowest first. Raises StoreError."""
    known = parsed(data, "the image's config")
    inner = _of(known, "config", dict)
    found: dict[str, Any] = {name: _of(inner, key, str) for name, key in _WORDS.items()}
    found |= {name: _strings(inner, key) for name, key in _LISTS.items()}
    found |= {name: _names(inner, key) for name, key in _SETS.items()}
    found |= {name: _of(known, name, str) for name in ("architecture", "variant", "created")}
    labels = _of(inner, "Labels", dict)
    history = tuple(_layer(one) for one in _of(known, "history", list)[:_STEPS_MOST])
    config = ImageConfig(
        **found, system=_of(known, "os", str), labels={key: str(labels[key]) for key in labels}, history=history
    )
    return config, _strings(_of(known, "rootfs", dict), "diff_ids")


def write_config(config: ImageConfig, plain: str) -> bytes:
    """An image's config as OCI has it, for one layer whose plain bytes have that digest; the same for the
    same."""
    inner: dict[str, Any] = {key: getattr(config, name) for name, key in (_WORDS | _LISTS).items()}
    inner |= {key: {one: {} for one in getattr(config, name)} for name, key in _SETS.items()}
    inner["Labels"] = dict(config.labels)
    known = {
        "created": config.created,
        "architecture": config.architecture,
        "variant": config.variant,
        "os": config.system or "linux",
        "config": {key: value for key, value in inner.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [plain]},
        "history": _of_one_layer(config.history),
    }
    empty = {key for key, value in known.items() if value == ""}
    return json.dumps({key: known[key] for key in sorted({*known} - empty)}, separators=(",", ":")).encode()


def _of_one_layer(history: Sequence[Layer]) -> list[dict[str, Any]]:
    """What was done, step by step; of those that changed files the last one counts, as what made the layer: readers
    refuse an image with more of them than it has layers, and with less."""
    made = [number for number, one in enumerate(history) if not one.empty]
    steps = [*history] if made else [*history, Layer(created_by="volt image")]
    last = made[-1] if made else len(history)
    said = [
        {"created": one.created, "created_by": one.created_by, "empty_layer": number != last}
        for number, one in enumerate(steps)
    ]
    return [{key: value for key, value in one.items() if value} for one in said]


def document(config: ImageConfig) -> dict[str, Any]:
    """As a record has it."""
    known = {name: getattr(config, name) for name in kinds(ImageConfig)}
    known["history"] = [{name: getattr(one, name) for name in kinds(Layer)} for one in config.history]
    return {name: value for name, value in known.items() if value}


def of_document(known: Mapping[str, Any]) -> ImageConfig:
    """What `document` made. Raises TypeError, ValueError, KeyError."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    found["history"] = tuple(Layer(**one) for one in known.get("history", ()))
    return ImageConfig(**found)


def parsed(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises StoreError for what is none."""
    try:
        known = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{what} is no JSON: {error}") from error
    if not isinstance(known, dict):
        raise StoreError(f"{what} is no object")
    return known


def _layer(known: object) -> Layer:
    if not isinstance(known, dict):
        raise StoreError("the image's config: its history is damaged")
    return Layer(_of(known, "created", str), _of(known, "created_by", str), bool(known.get("empty_layer")))


def _of(known: Mapping[str, Any], key: str, kind: type) -> Any:
    """A value; what is absent or null is empty. Raises StoreError for one of another kind."""
    value = known.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise StoreError(f"the image's config: {key} is not {_CALLED[kind]}")
    if isinstance(value, str):
        _require_text(key, value)
    return value


def _require_text(key: str, value: str) -> None:
    """Of words that a program can be given."""
    if "\0" in value or any("\ud800" <= one <= "\udfff" for one in value):
        raise StoreError(f"the image's config: {key} has what no text has")


def _names(known: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = sorted(_of(known, key, dict))
    for one in found:
        _require_text(key, one)
    return tuple(found)


def _strings(known: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = _of(known, key, list)
    if not all(isinstance(one, str) for one in found):
        raise StoreError(f"the image's config: {key} has more than strings in it")
    for one in found:
        _require_text(key, one)
    return tuple(found)
