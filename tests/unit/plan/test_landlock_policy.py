"""Landlock policies as text: what is read, and that everything wrong is told at once, each at its own value."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from docs.landlock import profile_text
from volt.host.profiles import shipped_profiles
from volt.manifest import locate_in
from volt.model.facts import ProfileText
from volt.model.landlock import FILES, KERNELS, PORTS, RIGHTS, SCOPES, abi_of, bits
from volt.model.modes import LandlockProfile
from volt.plan.landlock_policy import read_policy

NAMES = ("default", "permissive", "strict")
FOLDER = Path(__file__).parents[3] / "profiles/landlock"


def findings(text):
    return read_policy(ProfileText("p.toml", text))[1]


def complaints(text):
    return [(finding.code, finding.key) for finding in findings(text)]


def policy(text):
    assert findings(text) == ()
    return read_policy(ProfileText("p.toml", text))[0]


# ── rights


def test_the_bits_are_the_kernels():
    assert (bits(("execute",), FILES), bits(("refer",), FILES), bits(("ioctl_dev",), FILES)) == (1, 1 << 13, 1 << 15)
    assert (bits(("bind_tcp",), PORTS), bits(("connect_tcp",), PORTS)) == (1, 2)
    assert (bits(("abstract_unix_socket",), SCOPES), bits(("signal",), SCOPES)) == (1, 2)
    assert len(FILES) == 16


def test_each_abi_brings_what_the_manual_says():
    brought = {abi: {right for right in RIGHTS if abi_of(right) == abi} for abi in KERNELS}
    assert brought[1] == {*FILES} - {"refer", "truncate", "ioctl_dev"}
    assert [brought[abi] for abi in (2, 3, 4, 5)] == [{"refer"}, {"truncate"}, {*PORTS}, {"ioctl_dev"}]
    assert (brought[6], brought[7]) == ({*SCOPES}, set())


# ── the shipped profiles


def test_there_is_a_profile_for_each_word_of_the_manifest():
    assert {*shipped_profiles("landlock"), "custom"} == {*LandlockProfile}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_is_right_and_has_a_reason_on_each_table(name):
    read, wrong = read_policy(profile_text(name))
    assert wrong == ()
    assert read.description
    for one in (*read.handled, *read.beneath, *read.ports):
        assert len(one.marks.reason) > 20, one
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    assert all("enforce" in one for kind in ("ruleset", "path_beneath", "net_port") for one in table.get(kind, []))


@pytest.mark.parametrize("name", ["default", "strict"])
def test_no_profile_lets_device_nodes_be_made(name):
    read, _ = read_policy(profile_text(name))
    assert {"make_char", "make_block"} <= {right for one in read.handled for right in one.rights}
    assert not [one for one in read.beneath if {"make_char", "make_block"} & {*one.access}]


def test_strict_lets_nothing_be_both_written_and_run():
    """But for the root's own folders where a writable layer covers them: that rule alone is on the whole root."""
    read, _ = read_policy(profile_text("strict"))
    for one in read.beneath:
        assert not {"execute", "write_file"} <= {*one.access}, one


# ── the form


WHOLE = """
abi = 3
description = "all of it"
[[variable]]
name = "own"
literal = ["/opt/a", "/opt/b/"]
[[ruleset]]
handled_access_fs = ["abi.all"]
[[ruleset]]
enforce = "use"
network = ["host", "bridge"]
reason = "why"
handled_access_net = ["bind_tcp"]
scoped = ["signal"]
[[path_beneath]]
parent = ["/usr", "${own}/x", "${volumes}/www", "${layer}"]
allowed_access = ["abi.read_execute", "v5.read_write"]
enforce = "use"
[[net_port]]
port = [0, 65535, "${ports}", "${dns}"]
allowed_access = ["bind_tcp"]
"""


def test_all_of_the_form_is_read():
    read = policy(WHOLE)
    assert read.description == "all of it"
    first, second = read.handled
    assert set(first.rights) == {right for right in FILES if abi_of(right) <= 3}
    assert (second.rights, second.marks.required, second.marks.networks) == (
        ("bind_tcp", "signal"),
        False,
        ("host", "bridge"),
    )
    assert second.marks.reason == "why"
    (rule,) = read.beneath
    assert rule.parents == ("/usr", "/opt/a/x", "/opt/b/x", "${volumes}/www", "${layer}")
    assert rule.access == tuple(FILES)
    assert read.ports[0].ports == (0, 65535, "ports", "dns")


def test_what_a_rule_does_not_say_it_requires():
    assert policy('[[ruleset]]\nscoped = ["signal"]').handled[0].marks.required


def test_landlockconfigs_own_example_is_read():
    """examples/micro-var.toml of landlockconfig, but for a path that is relative."""
    read = policy(
        '[[variable]]\nname = "tmp"\nliteral = ["/tmp", "/var/tmp"]\n'
        '[[path_beneath]]\nallowed_access = ["v5.read_execute"]\nparent = ["/bin", "/usr"]\n'
        '[[path_beneath]]\nallowed_access = ["v5.read_write"]\nparent = ["${tmp}"]\n'
    )
    assert [one.parents for one in read.beneath] == [("/bin", "/usr"), ("/tmp", "/var/tmp")]


RULE = '[[path_beneath]]\nallowed_access = ["execute"]\nparent = '
BAD = "bad-landlock-policy"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abi = ", [(BAD, "")]),
        ("abi = 0", [(BAD, "abi")]),
        ("abi = 99", [(BAD, "abi")]),
        ("abi = true", [(BAD, "abi")]),
        ("rules = 1", [(BAD, "rules")]),
        ('"odd key" = 1', [(BAD, "")]),
        ("ruleset = 1", [(BAD, "ruleset")]),
        ("ruleset = [1]", [(BAD, "ruleset")]),
        ("[[ruleset]]", [(BAD, "ruleset[0]")]),
        ("[[ruleset]]\nscoped = []", [(BAD, "ruleset[0].scoped")]),
        ('[[ruleset]]\nscoped = ["signals"]', [("unknown-right", "ruleset[0].scoped[0]")]),
        ('[[ruleset]]\nhandled_access_net = ["execute"]', [("unknown-right", "ruleset[0].handled_access_net[0]")]),
        (
            '[[ruleset]]\nhandled_access_net = ["abi.read_write"]',
            [("unknown-right", "ruleset[0].handled_access_net[0]")],
        ),
        ('[[ruleset]]\nhandled_access_fs = ["v99.all"]', [("unknown-right", "ruleset[0].handled_access_fs[0]")]),
        ('[[ruleset]]\nscoped = ["signal"]\nenforce = "maybe"', [(BAD, "ruleset[0].enforce")]),
        ('[[ruleset]]\nscoped = ["signal"]\nnetwork = ["hots"]', [(BAD, "ruleset[0].network")]),
        ('[[ruleset]]\nscoped = ["signal"]\nreason = 1', [(BAD, "ruleset[0].reason")]),
        (RULE + '["usr"]', [(BAD, "path_beneath[0].parent[0]")]),
        (RULE + '["/usr/../etc"]', [(BAD, "path_beneath[0].parent[0]")]),
        (RULE + '["/a\\nb"]', [(BAD, "path_beneath[0].parent[0]")]),
        (RULE + '["${volumes}/../.."]', [(BAD, "path_beneath[0].parent[0]")]),
        (RULE + '["${nothing}"]', [(BAD, "path_beneath[0].parent[0]")]),
        (RULE + "[7]", [(BAD, "path_beneath[0].parent[0]")]),
        ('[[path_beneath]]\nparent = ["/"]', [(BAD, "path_beneath[0]")]),
        ('[[net_port]]\nallowed_access = ["bind_tcp"]\nport = [65536]', [(BAD, "net_port[0].port[0]")]),
        ('[[net_port]]\nallowed_access = ["bind_tcp"]\nport = ["${volumes}"]', [(BAD, "net_port[0].port[0]")]),
        ('[[variable]]\nname = "volumes"\nliteral = ["/a"]', [(BAD, "variable[0].name")]),
        ("[[variable]]\nname = 1\nliteral = []", [(BAD, "variable[0].name"), (BAD, "variable[0].literal")]),
    ],
)
def test_what_is_wrong_is_found_at_its_value(text, found):
    assert complaints(text) == found


def test_everything_wrong_is_told_at_once_with_its_line():
    text = 'abi = 42\n[[ruleset]]\nscoped = ["signla"]\n[[path_beneath]]\nparent = ["x"]\nallowed_access = ["run"]\n'
    placed = locate_in(findings(text), "p.toml", text.encode(), quotable=True)
    assert [(one.place.line, one.code) for one in placed] == [
        (1, BAD),
        (3, "unknown-right"),
        (6, "unknown-right"),
        (5, BAD),
    ]
    assert placed[1].hint == "did you mean 'signal'?"
    assert placed[1].source == 'scoped = ["signla"]'


def test_what_is_no_toml_has_a_line_too():
    (finding,) = findings("abi = 1\nabi = 2\n")
    assert finding.place.line == 2


def test_of_a_file_that_may_not_be_shown_no_word_is_told():
    text = 'secret = "very"\n'
    (finding,) = locate_in(findings(text), "p.toml", text.encode(), quotable=False)
    assert "secret" not in f"{finding}"
    assert finding.place.line == 1


def test_a_text_that_could_not_be_read_has_one_finding():
    read = read_policy(ProfileText("/p.toml", problem="cannot be read: No such file or directory"))
    assert [finding.code for finding in read[1]] == [BAD]
    assert read[1][0].place is None
