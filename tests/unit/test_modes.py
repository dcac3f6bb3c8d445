"""With only its mode changed a manifest means the same where an image is booted: row by row of docs/modes.toml."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import tomli_w

from tests.plans.test_plans import Stored, facts_of, shipped_policy, text_of
from tests.unit.plan.test_boot import found
from volt.errors import ManifestError
from volt.host.profiles import filter_profile
from volt.manifest import resolve
from volt.model.facts import Call, ImageFact, Modules, PathFact
from volt.model.manifest import Manifest
from volt.model.part import FILES
from volt.model.policy import Policy
from volt.model.steps import MakeFile
from volt.model.text import show
from volt.model.values import replace
from volt.model.workload import Security
from volt.plan.assemble import make_plan
from volt.plan.boot import COMMAND
from volt.plan.seccomp import filter_of

TOP = Path(__file__).parents[2]
TABLE = tomllib.loads((TOP / "docs/modes.toml").read_text())
ROWS = {row["what"]: row for row in TABLE["row"]}
WRITTEN = [name for name, row in ROWS.items() if "write" in row]
BASE = {
    "workload": {"name": "os", "mode": "container", "command": ["true"]},
    "network": {"mode": "none"},
    "storage": {"rootfs": "/srv/debian", "writable_layer": "tmpfs"},
}
CALLS = {"": Call(), "detached": Call(detach=True, keep=True)}
FACTS = facts_of("booted")
PATHS = {
    **facts_of("hello").paths,
    **FACTS.paths,
    "/srv/other": FACTS.paths["/srv/debian"],
    "/srv/data": FACTS.paths["/srv/debian"],
    "/srv/debian/env": PathFact("file"),
}
# What a probe finds of a row's own.
MORE = {
    "workload.image": {"image": ImageFact("workload.image", "0" * 64, "/i", "/o", "/l", "ext4")},
    "kernel.modules": {
        "policy": Policy(kernel_modules=("loop",)),
        "boot": replace(FACTS.boot, modules=Modules("/usr/sbin/modprobe", files={"loop": "/lib/modules/loop.ko"})),
    },
    "network.name": {"bridge": replace(FACTS.bridge, network="lan", label="lan")},
}


# The steps of one mode alone: the container's rules for files and covers of cgroups; the image's unit and its end.
OWN = (
    *(r"^(allow-beneath|make-ruleset) ", r"cgroup-cover|/cgroup\.controllers|/(payload|supervisor)\b"),
    *(r"^note: security\.landlock_profile", rf"^(?!execute).*{re.escape(COMMAND)}", r"^stop-by "),
)


def workload_of(mode, row=None):
    """The manifest of a row, or the one without anything of it, in a mode."""
    document = {section: dict(values) for section, values in BASE.items()}
    for section, values in tomllib.loads(row.get("write", "") if row else "").items():
        document.setdefault(section, {}).update(values)
    document["workload"]["mode"] = mode
    if document["workload"].get("image"):
        del document["storage"]["rootfs"]
    found = resolve("/srv/m.toml", Stored(tomli_w.dumps(document).encode(), replace(FACTS, paths=PATHS)))
    assert found.workload is not None, found.findings
    return found.workload


def planned(mode, row=None):
    """The plan, with no filter's bytes. Raises ManifestError, HostUnfit."""
    workload = workload_of(mode, row)
    more = MORE.get(row["what"], {}) if row else {}
    facts = replace(FACTS, paths=PATHS, kernel=(6, 18), landlock_abi=7, **more)
    if workload.storage.rootfs == "host":
        facts = replace(facts, boot=replace(facts.boot, init=""))
    policy = "permissive" if workload.security.landlock_policy else workload.security.landlock_profile
    facts = replace(facts, landlock=shipped_policy(replace(workload, security=Security(landlock_profile=policy))))
    text = filter_profile(workload.security.seccomp_profile or "default", boots=workload.boots)
    call = CALLS[row.get("call", "") if row else ""]
    return make_plan(workload, facts, call, lambda caps: filter_of(text, caps, facts))


def refused(mode, row):
    """The codes and keys of what is found wrong."""
    try:
        planned(mode, row)
    except ManifestError as error:
        return [(finding.code, finding.key) for finding in error.findings]
    return []


def words(plan, but=()):
    """Of a plan's text, without the numbers of its steps and without the steps that match any of `but`."""
    lines = (re.sub(r"^ *\d+ ", "", line) for line in text_of(plan).splitlines())
    kept = (line for line in lines if not any(re.search(one, line) for one in but))
    return Counter(word for line in kept for word in re.split(r"[\s,\[\]]+", line) if word)


def changed(mode, row, but=()):
    """What a row takes from a plan, and what it adds."""
    without, given = (words(planned(mode, one), but) for one in ({**row, "write": ""}, row))
    return {*(without - given)}, {*(given - without)}


def unit_of(plan):
    (file,) = [step for step in found(plan.guard, MakeFile) if show(step.path) == f"{FILES}/{COMMAND}"]
    return "".join(str(part) for part in file.content).split("\n")


@pytest.mark.parametrize("what", [name for name in WRITTEN if ROWS[name]["is"] == "same"])
def test_what_is_the_same_changes_both_plans_alike(what):
    row = ROWS[what]
    refusals = refused("container", row)
    assert refused("hybrid-native", row) == refusals
    if not refusals:
        assert changed("hybrid-native", row, OWN) == changed("container", row, OWN) != (set(), set())


@pytest.mark.parametrize("what", [name for name in WRITTEN if ROWS[name]["is"] == "command"])
def test_what_is_the_commands_stands_in_its_unit(what):
    row = ROWS[what]
    assert row["unit"] not in unit_of(planned("hybrid-native"))
    assert row["unit"] in unit_of(planned("hybrid-native", row))


@pytest.mark.parametrize("what", [name for name in WRITTEN if ROWS[name]["is"] == "differs"])
def test_what_differs_is_planned_and_says_in_what(what):
    row = ROWS[what]
    assert refused("hybrid-native", row) == []
    assert refused("container", row) or changed("hybrid-native", row) != changed("container", row)
    assert row["how"]


@pytest.mark.parametrize("what", [name for name in WRITTEN if ROWS[name]["is"] == "refused"])
def test_what_is_refused_has_its_finding_and_is_no_mistake_in_a_container(what):
    row = ROWS[what]
    assert row["code"] in [code for code, _ in refused("hybrid-native", row)]
    assert row["code"] not in [code for code, _ in refused("container", row)]
    assert row["how"]


@pytest.mark.parametrize("what", [name for name in WRITTEN if ROWS[name]["is"] == "neither"])
def test_what_no_mode_has_is_refused_in_both_alike(what):
    row = ROWS[what]
    assert refused("hybrid-native", row) == refused("container", row) == [(row["code"], what)]


def keys(model=Manifest, before=""):
    """Every key of the language, dotted."""
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from keys(field.annotation, f"{before}{name}.")
        elif not field.exclude:
            yield f"{before}{name}"


def test_every_key_of_the_language_has_a_row():
    named = {name.partition(" = ")[0] for name in ROWS if not name.startswith("volt ")}
    assert named == {*keys()} - {"workload.mode"}
