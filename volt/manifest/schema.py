"""The JSON Schema of the manifest, from its model: for editors, complete from the start."""

from __future__ import annotations

from typing import Any


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a manifest file; every field with its description."""
    from volt.model.manifest import Manifest

    made = Manifest.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["properties"].pop("source_path", None)
    for one in (made, *made["$defs"].values()):
        if one.get("type") == "object":
            one["additionalProperties"] = False
            for field in one["properties"].values():
                _without_null(field)
    return made


def _without_null(field: dict[str, Any]) -> None:
    """TOML has no null: an absent key is absent."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del field["anyOf"]
        field |= kinds[0]
    elif kinds:
        field["anyOf"] = kinds
    if field.get("default", ...) is None:
        del field["default"]
