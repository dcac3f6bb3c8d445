"""Stored plans: NAME.toml and NAME.facts.json give NAME.plan.txt, and a changed plan is a diff to be reviewed."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from volt.host.encode import facts_from_json, facts_to_json
from volt.host.profiles import filter_profile, shipped_profile
from volt.manifest import resolve
from volt.model.binary import HEADER, MAGIC, encode
from volt.model.decode import decode
from volt.model.facts import Call, ProfileText
from volt.model.text import show
from volt.model.values import replace
from volt.plan.assemble import make_plan
from volt.plan.seccomp import filter_of

HERE = Path(__file__).parent
CASES = sorted(path.stem for path in HERE.glob("*.toml"))

# What the caller adds to the manifest of a case.
CALLS = {
    "call": Call(
        command=("printenv", "GREETING"),
        env=(("GREETING", "hi"),),
        report="/srv/outcome.json",
        lifeline=9,
        time_limit=90_000,
    ),
    "detached": Call(detach=True, keep=True, labels=(("tier", "front"),), origin='{"file": "/srv/web.toml"}'),
    "detached-terminal": Call(detach=True, discard=True, interactive=True, terminal=0b111, term="xterm"),
    "fresh": Call(fresh=True),
    "landlock-waived": Call(waived=("landlock",)),
    "limits-waived": Call(waived=("resources",)),
    "ready-file": Call(detach=True, keep=True),
    "ready-http": Call(notified=True),
    "ready-log": Call(detach=True, keep=True),
    "ready-notify": Call(detach=True, keep=True),
    "terminal": Call(terminal=0b111, term="xterm-256color"),
}


class Stored:
    """A world without a machine: the manifest lies at a fixed path, and what the facts name exists."""

    def __init__(self, manifest, facts):
        self._manifest = manifest
        self._facts = facts

    def read(self, _path):
        return self._manifest

    def quotable(self, _path):
        return True

    def exists(self, path):
        return path in self._facts.paths

    def variable(self, _name):
        return None

    def builtins(self):
        return {}

    def folder(self):
        return "/srv"


def facts_of(name):
    return facts_from_json((HERE / f"{name}.facts.json").read_text())


def shipped_policy(workload):
    """The profile that a workload goes by: part of no stored facts, for it changes with volt alone."""
    name = workload.security.landlock_profile or "default"
    return ProfileText(f"landlock/{name}", shipped_profile("landlock", name).decode())


def make(name):
    """The plan of a case, made now."""
    facts = facts_of(name)
    sources = Stored((HERE / f"{name}.toml").read_bytes(), facts)
    resolved = resolve(f"/srv/{name}.toml", sources)
    assert resolved.workload is not None, resolved.findings
    named = resolved.workload.security.seccomp_profile or "default"
    text = facts.seccomp.text.encode() if facts.seccomp else filter_profile(named, boots=resolved.workload.boots)
    facts = facts if facts.landlock else replace(facts, landlock=shipped_policy(resolved.workload))
    call = CALLS.get(name, Call())
    return make_plan(resolved.workload, facts, call, lambda caps: filter_of(text, caps, facts))


made = cache(make)


def text_of(plan):
    """The plan as it is stored: without the filters' length and digest, and without the calls that libseccomp does
    not know. These follow from its version on this machine, and what the filter permits has tests of its own. No line
    ends with a space."""
    shown = re.sub(r"(filter-(?:calls|init)\s+filter=)<\d+ bytes, sha256 [0-9a-f]+>", r"\1<the filter>", str(plan))
    shown = re.sub(r"^note: security\.seccomp_profile: libseccomp does not know .*\n", "", shown, flags=re.MULTILINE)
    return "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is_the_stored_one(name, renew):
    path = HERE / f"{name}.plan.txt"
    shown = text_of(made(name))
    if renew:
        path.write_text(shown)
    assert path.is_file(), "write it: pytest tests/plans --renew"
    assert shown == path.read_text(), "if this is meant: pytest tests/plans --renew, then review the diff"


@pytest.mark.parametrize("name", CASES)
def test_the_facts_are_stored_as_they_are_written(name, renew):
    path = HERE / f"{name}.facts.json"
    written = facts_to_json(facts_of(name))
    if renew:
        path.write_text(written)
    assert written == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_a_plan_follows_from_manifest_and_facts_alone(name):
    assert make(name) == made(name)


@pytest.mark.parametrize("name", CASES)
def test_every_plan_has_a_binary_form(name):
    magic, _, length, *_ = HEADER.unpack_from(encode(made(name)))
    assert (magic, length) == (MAGIC, len(encode(made(name))))


@pytest.mark.parametrize("name", CASES)
def test_every_path_of_a_plan_is_fixed(name):
    """Nothing of the machine that made it stands in a stored plan."""
    assert str(HERE.parents[1]) not in str(made(name))


@pytest.mark.parametrize("name", CASES)
def test_the_document_numbers_the_steps_as_the_text_does(name):
    document = json.loads(json.dumps(made(name).document()))
    assert (document["version"], document["name"], document["mode"]) == (1, made(name).name, made(name).mode)
    steps = [step for section in document["sections"] for step in section["steps"]]
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    printed = re.findall(r"^ *(\d+) ([a-z-]+)", str(made(name)), re.MULTILINE)
    assert printed == [(str(step["number"]), step["operation"]) for step in steps]


def test_every_stored_file_belongs_to_a_case():
    stored = {path.name.split(".")[0] for path in HERE.glob("*.plan.txt")}
    assert stored == set(CASES)
    assert {path.name.split(".")[0] for path in HERE.glob("*.facts.json")} == set(CASES)
    assert set(CALLS) <= set(CASES)


def test_a_changed_plan_is_noticed(tmp_path, monkeypatch):
    """The stored text of one case is not that of another, and another libseccomp changes none."""
    assert len({text_of(made(name)) for name in CASES}) == len(CASES)
    shown = "".join(text_of(made(name)) for name in CASES)
    assert not [line for line in shown.splitlines() if "filter-calls" in line and "sha256" in line]


@pytest.mark.parametrize("name", CASES)
def test_a_plan_read_back_is_the_same_plan(name):
    """Descriptors are called after their numbers then; all else is as it was."""
    made = make(name)
    read = decode(encode(made), made.name, made.mode)
    assert encode(read) == encode(made)
    assert [step.note for step in read.steps()] == [step.note for step in made.steps()]
    paths = [(type(step), show(getattr(step, "path", ()))) for step in made.steps()]
    assert [(type(step), show(getattr(step, "path", ()))) for step in read.steps()] == paths
