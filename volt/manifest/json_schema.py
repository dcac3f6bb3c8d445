"""The JSON Schema of the manifest, from its model: for editors, complete from the start."""

from __future__ import annotations

from typing import Any

# A manifest that stands by itself needs these; one that extends another may get them from it.
COMPLETE = {
    "if": {"not": {"required": ["extends"]}},
    "then": {"required": ["workload"], "properties": {"workload": {"required": ["name", "mode"]}}},
}
UNSET_OR_VARIABLE = {"type": "string", "pattern": r"^$|\$"}
SPREAD = {"const": "...", "description": "The list of the base."}


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a manifest file; every field with its description."""
    from volt.model.manifest import Manifest

    made = Manifest.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["properties"].pop("source_path", None)
    made["$defs"]["WorkloadSection"].pop("required")
    for one in (made, *made["$defs"].values()):
        if one.get("type") == "object":
            one["additionalProperties"] = False
            one["properties"] = {name: _field(field) for name, field in one["properties"].items()}
    return made | COMPLETE


def _field(field: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: an absent key is absent. A variable may stand for any text, a "..." in any list."""
    kinds = [kind for kind in field.pop("anyOf", []) if kind != {"type": "null"}]
    if field.get("default", ...) is None:
        del field["default"]
    if len(kinds) == 1:
        field |= kinds[0]
    elif kinds:
        field["anyOf"] = kinds
    target = field.get("$ref", "")
    if target and not target.endswith("Section"):
        del field["$ref"]
        field["anyOf"] = [{"$ref": target}, UNSET_OR_VARIABLE]
    if "pattern" in field:
        field["pattern"] += r"|\$"
    if "$ref" in field.get("items", {}):
        field["items"] = {"anyOf": [field["items"], SPREAD]}
    return field
