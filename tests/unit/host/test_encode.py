"""Facts as JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.errors import StateError
from volt.host.encode import facts_from_json, facts_to_json
from volt.host.facts import folders, probe_machine
from volt.model.facts import Boot, Facts, Folders, Modules, PathFact, ProfileText
from volt.model.policy import Policy
from volt.model.sizes import Size
from volt.model.values import kinds

NUMBERS = st.integers(0, 2**64 - 1)
TEXTS = st.text(max_size=20)
PAIRS = st.tuples(NUMBERS, NUMBERS)
PLAIN = {"str": TEXTS, "int": NUMBERS, "bool": st.booleans(), "str | None": st.none() | TEXTS}
MODULES = st.builds(Modules, TEXTS, st.lists(TEXTS, max_size=2).map(tuple), st.dictionaries(TEXTS, TEXTS, max_size=2))
FACTS = st.builds(
    Facts,
    **{name: PLAIN[kind] for name, kind in kinds(Facts).items() if kind in PLAIN},
    kernel=st.tuples(st.integers(0, 9), st.integers(0, 30)),
    folders=st.builds(Folders, TEXTS, TEXTS, TEXTS, TEXTS),
    host_etc=st.lists(TEXTS, max_size=3).map(tuple),
    subordinate=st.lists(PAIRS, max_size=3).map(tuple),
    busy_uids=st.lists(NUMBERS, max_size=3).map(tuple),
    limits=st.dictionaries(TEXTS, PAIRS, max_size=3),
    policy=st.none()
    | st.builds(Policy, rootfs=st.lists(TEXTS, max_size=2).map(tuple), memory_limit=st.builds(Size, NUMBERS)),
    paths=st.dictionaries(TEXTS, st.builds(PathFact, st.just("folder"), NUMBERS, NUMBERS), max_size=3),
    boot=st.builds(Boot, TEXTS, there=st.lists(TEXTS, max_size=2).map(tuple), modules=st.none() | MODULES),
    seccomp=st.none() | st.builds(ProfileText, TEXTS, TEXTS, TEXTS, st.booleans()),
)


@given(FACTS)
def test_nothing_is_lost(facts):
    assert facts_from_json(facts_to_json(facts)) == facts


def test_this_machine_comes_back():
    facts = probe_machine(folders({}))
    assert facts_from_json(facts_to_json(facts)) == facts
    assert facts_to_json(facts) == facts_to_json(facts_from_json(facts_to_json(facts)))


def machine():
    return json.loads(facts_to_json(probe_machine(folders({}))))


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        "null",
        "7",
        '{"version": 1}',
        '{"version": 1, "kernel": 6}',
        '{"version": 1, "kernel": [6, 1, 2]}',
    ],
)
def test_what_is_no_facts_is_refused(document):
    with pytest.raises(StateError, match="these are no facts"):
        facts_from_json(document)


def test_another_version_is_refused():
    with pytest.raises(StateError, match="another version"):
        facts_from_json(json.dumps({**machine(), "version": 2}))


def test_a_field_that_no_facts_have_is_refused():
    with pytest.raises(StateError, match="more"):
        facts_from_json(json.dumps({**machine(), "more": 1}))


def test_facts_that_were_written_without_the_memory_are_read():
    older = machine()
    del older["memory"]
    assert facts_from_json(json.dumps(older)).memory == 0
