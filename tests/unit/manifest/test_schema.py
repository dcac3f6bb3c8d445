"""The JSON Schema: every field with its description, and no good manifest refused."""

import re
from pathlib import Path

import pytest
import tomli

from volt.manifest import schema
from volt.manifest.fields import SECTIONS, TOP, VOLUME

FOLDER = Path(__file__).parents[3] / "examples"
OTHERS = {FOLDER / "policy.toml", FOLDER / "programs/debian.toml"}  # no manifest, and one that is only extended
EXAMPLES = sorted({*FOLDER.rglob("*.toml")} - OTHERS)
TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}


def problems(value, rule, where="$"):
    """What of a value the rule forbids: as much of JSON Schema as ours uses, and a word that is unknown is an error."""
    made = schema()["$defs"]
    unknown = set(rule) - {
        "$ref", "anyOf", "const", "enum", "type", "pattern", "minimum", "maximum", "items", "properties", "required",
        "additionalProperties", "if", "then", "not", "title", "description", "default", "examples", "$schema", "$defs",
        "readOnly",
    }  # fmt: skip
    assert not unknown
    if "$ref" in rule:
        yield from problems(value, made[rule["$ref"].removeprefix("#/$defs/")], where)
    if "anyOf" in rule and all(any(problems(value, one, where)) for one in rule["anyOf"]):
        yield f"{where}: none of {len(rule['anyOf'])}"
    if "not" in rule and not any(problems(value, rule["not"], where)):
        yield f"{where}: not"
    if "then" in rule and not any(problems(value, rule["if"], where)):
        yield from problems(value, rule["then"], where)
    if value not in rule.get("enum", [rule.get("const", value)]):
        yield f"{where}: no such word"
    kind = TYPES[rule["type"]] if "type" in rule else object
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{where}: type"
    elif isinstance(value, dict):
        yield from members(value, rule, where)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from problems(item, rule.get("items", {}), f"{where}[{number}]")
    elif isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        yield f"{where}: pattern"
    elif isinstance(value, int) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        yield f"{where}: range"


def members(value, rule, where):
    for name in rule.get("required", ()):
        if name not in value:
            yield f"{where}.{name}: missing"
    for name, item in value.items():
        other = rule.get("additionalProperties", {})
        known = rule.get("properties", {}).get(name, other)
        if known is False:
            yield f"{where}.{name}: unknown"
        elif isinstance(known, dict):
            yield from problems(item, known, f"{where}.{name}")


def judge(text):
    return list(problems(tomli.loads(text), schema()))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_accepted(path):
    assert judge(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        'extends = "base.toml"',
        'workload = { name = "${NAME}", mode = "${MODE:-container}" }\nnetwork = { mode = "" }',
        'extends = "b"\nresources = { memory_limit = "", cpu_weight = 0, cpu_set = "${CORES}", memory_soft = "25%" }',
        'extends = "b"\nstorage = { volumes = ["...", { host = "a", container = "/a", as = "1:2" }] }',
        'extends = "b"\nlimits = { nofile = 5, core = "0:infinity" }\nservice = { restart_sec = "1h30m" }',
    ],
)
def test_so_is_what_a_manifest_may_leave_out_vary_or_reset(text):
    assert judge(text) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "$.workload: missing"),
        ('[workload]\nname = "a"', "$.workload.mode: missing"),
        ('extends = "b"\nodd = 1', "$.odd: unknown"),
        ('extends = "b"\nnetwork.prots = []', "$.network.prots: unknown"),
        ('extends = "b"\nworkload.mode = "vm"', "$.workload.mode: none of 2"),
        ('extends = "b"\nworkload.name = "Web"', "$.workload.name: pattern"),
        ('extends = "b"\nresources.cpu_weight = 10001', "$.resources.cpu_weight: range"),
        ('extends = "b"\nresources.memory_limit = "4X"', "$.resources.memory_limit: pattern"),
        ('extends = "b"\nstorage.volumes = [{ host = "a" }]', "$.storage.volumes[0]: none of 2"),
        ('extends = "b"\nsecurity.read_only_rootfs = "yes"', "$.security.read_only_rootfs: type"),
    ],
)
def test_a_mistake_is_seen_in_the_editor(text, where):
    assert judge(text) == [where]


def properties(section):
    made = schema()
    return made["$defs"][made["properties"][section]["$ref"].removeprefix("#/$defs/")]["properties"]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_has_a_description(section):
    fields = properties(section)
    assert list(fields) == list(SECTIONS[section])
    assert all(field["description"].endswith(".") for field in fields.values())


def test_so_have_the_keys_of_a_volume_and_of_the_top():
    made = schema()
    volume = made["$defs"]["VolumeMount"]["properties"]
    assert list(volume) == list(VOLUME)
    assert all(field["description"] for field in volume.values())
    assert set(made["properties"]) == set(TOP)
    assert made["properties"]["limits"]["description"]
