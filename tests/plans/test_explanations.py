"""Stored explanations: what a case's plan says in plain words, NAME.explain.txt. A changed sentence is reviewed."""

import io
import re
from pathlib import Path

import pytest

from tests.plans.test_plans import facts_of, made
from volt.cli.explain import show
from volt.host.profiles import shipped_profile
from volt.plan.explain import explain, profile_of

HERE = Path(__file__).parent
CASES = (
    "booted-modules",
    "bridge",
    "capabilities",
    "hello",
    "image",
    "internal",
    "landlock-custom",
    "landlock-strict",
    "landlock-waived",
    "limits",
    "names",
    "ports",
    "ready-http",
    "volumes",
)


def explained(name):
    plan, facts = made(name), facts_of(name)
    text = facts.seccomp.text.encode() if facts.seccomp else shipped_profile("seccomp", profile_of(plan))
    return explain(plan, text, facts.architecture)


def text_of(name):
    """As `volt explain` prints it, without what follows from the libseccomp of this machine: the calls by name."""
    stream = io.StringIO()
    show(explained(name), stream)
    shown = re.sub(r"\nSystem calls\n(  .*\n)+", "", stream.getvalue())
    return re.sub(r"  - security\.seccomp_profile: libseccomp does not know .*\n(    .*\n)*", "", shown)


@pytest.mark.parametrize("name", CASES)
def test_the_explanation_is_the_stored_one(name, renew):
    path = HERE / f"{name}.explain.txt"
    shown = text_of(name)
    if renew:
        path.write_text(shown)
    assert path.is_file(), "write it: pytest tests/plans --renew"
    assert shown == path.read_text(), "if this is meant: pytest tests/plans --renew, then review the diff"


def test_every_stored_explanation_belongs_to_a_case():
    assert {path.name.split(".")[0] for path in HERE.glob("*.explain.txt")} == {*CASES}


def test_what_differs_is_said_differently():
    assert len({text_of(name) for name in CASES}) == len(CASES)
