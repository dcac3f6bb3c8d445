"""The payload's environment: its own, the manifest's, the call's, and nothing of the caller's."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import GOOD
from volt.model.facts import Call
from volt.model.text import show
from volt.plan.environment import PATH, defaults, given
from volt.plan.users import Identity

WEB = Identity(1000, 1000, (), "web", "/srv/web")


def shown(lines):
    return [show(line) for line in lines]


def test_every_payload_starts_with_four():
    assert shown(defaults(GOOD, WEB, Call())) == [f"PATH={PATH}", "HOME=/srv/web", "USER=web", "HOSTNAME=web"]


@pytest.mark.parametrize(
    ("terminal", "term", "expected"), [(1, "vt220", "vt220"), (2, "", "xterm"), (0, "vt220", None)]
)
def test_term_is_there_on_a_terminal_alone(terminal, term, expected):
    lines = shown(defaults(GOOD, WEB, Call(terminal=terminal, term=term)))
    assert [line for line in lines if line.startswith("TERM=")] == ([f"TERM={expected}"] if expected else [])


def test_the_hosts_name_inside_is_the_given_one():
    assert "HOSTNAME=www" in shown(defaults(replace(GOOD, hostname="www"), WEB, Call()))


def test_the_call_comes_last():
    workload = replace(GOOD, env={"A": "1", "B": "2"})
    assert shown(given(workload, Call(env=(("B", "3"), ("C", ""))))) == ["A=1", "B=3", "C="]


def test_a_value_is_taken_as_it_is():
    assert given(replace(GOOD, env={"A": "{pid} = $HOME"}), Call()) == (("A={pid} = $HOME",),)
