"""The text of a seccomp profile: what it says once read, and every mistake in it named."""

from __future__ import annotations

import pytest

from volt.plan.seccomp import Condition, Profile, ProfileError, Rule, parse_profile

HEAD = 'format = 1\nname = "n"\ndescription = "d"\nunlisted = "ENOSYS"\n'


def test_a_text_becomes_a_profile():
    text = (
        HEAD
        + """
compat = "kill"
[[permit]]
reason = '''several
lines'''
calls = "read\\nwrite"
with = ["CHOWN", "KILL"]
where = [{ argument = 0, equals = [1, 2, 1] }, { argument = 3, mask = 0xF_0000_0000, equals = 0x1_0000_0000 }]
[[refuse]]
reason = "r"
answer = "EPERM"
calls = "mount"
without = ["SYS_ADMIN"]
"""
    )
    where = (Condition(0, 0xFFFF_FFFF, (1, 2)), Condition(3, 0xF_0000_0000, (0x1_0000_0000,)))
    permit = Rule(("read", "write"), "several lines", where=where, having=("CHOWN", "KILL"))
    refusal = Rule(("mount",), "r", answer="EPERM", lacking=("SYS_ADMIN",))
    assert parse_profile(text.encode()) == Profile("n", "d", "ENOSYS", False, (permit,), (refusal,))


def test_what_is_withheld_is_in_no_other_list():
    withheld = '[[withhold]]\nreason = "w"\nanswer = "EPERM"\ncalls = "mount read"\n'
    refuse = '[[refuse]]\nreason = "r"\nanswer = "EACCES"\ncalls = "mount"\n'
    text = f'{HEAD}[[permit]]\nreason = "r"\ncalls = "read write"\n{refuse}{withheld}'
    found = parse_profile(text.encode())
    assert found.permits == (Rule(("write",), "r"),)
    assert found.refusals == (Rule(("mount", "read"), "w", answer="EPERM"),)


def test_32_bit_calls_go_by_the_same_lists_unless_the_text_says_otherwise():
    assert parse_profile(HEAD.encode()).compat


@pytest.mark.parametrize(
    ("capabilities", "counts"),
    [(["CHOWN", "KILL"], True), (["CHOWN"], False), ([], False), (["CHOWN", "KILL", "BPF"], False)],
)
def test_a_rule_counts_with_all_of_some_capabilities_and_none_of_others(capabilities, counts):
    assert Rule((), "r", having=("CHOWN", "KILL"), lacking=("BPF", "SYSLOG")).counts(capabilities) is counts


MISTAKES = {
    'format = 2\nname = "n"\ndescription = "d"\nunlisted = "EPERM"': ["format is 2; this volt reads format 1"],
    'format = 1\nname = "n"\ndescription = "d"\nunlisted = "EWHAT"': [
        "the profile: unlisted 'EWHAT' is neither the name of an errno nor 'kill'"
    ],
    "format = 1": [
        "the profile: name is missing, empty or not text",
        "the profile: description is missing, empty or not text",
        "the profile: unlisted is missing, empty or not text",
    ],
}
READ = 'reason = "r"\ncalls = "read"\n'
PERMIT_READ = f"[[permit]]\n{READ}"
RULE_MISTAKES = {
    '[[permit]]\ncalls = "read"': "[[permit]] number 1: reason is missing, empty or not text",
    '[[permit]]\nreason = "r"\ncalls = "read read"': "[[permit]] number 1: read is named twice",
    PERMIT_READ + 'answer = "EPERM"': "[[permit]] number 1: 'answer' is not a key here",
    PERMIT_READ + 'with = ["FLY"]': "[[permit]] number 1: with names 'FLY', which is no capability",
    PERMIT_READ + "with = []": "[[permit]] number 1: with is not a list of capabilities",
    PERMIT_READ + "where = [{ argument = 6, equals = 1 }]": (
        "[[permit]] number 1: argument 6 is not a number from 0 to 5"
    ),
    PERMIT_READ + "where = [{ argument = 1, mask = 0, equals = 0 }]": (
        "[[permit]] number 1: mask 0 is not a number of up to 64 bits"
    ),
    PERMIT_READ + "where = [{ argument = 1, mask = 0xF, equals = 0x10 }]": (
        "[[permit]] number 1: equals 16 has bits that the mask takes away, or no number"
    ),
    PERMIT_READ + "where = [{ argument = 1 }]": (
        "[[permit]] number 1: equals None has bits that the mask takes away, or no number"
    ),
    PERMIT_READ + "where = []": "[[permit]] number 1: where is not a list of conditions",
    PERMIT_READ + "where = [{ argument = 1, equals = 1 }, { argument = 1, equals = 2 }]": (
        "[[permit]] number 1: argument 1 has two conditions"
    ),
    f"[[refuse]]\n{READ}": "[[refuse]] number 1: answer is missing, empty or not text",
    f'{PERMIT_READ}[[refuse]]\n{READ}answer = "EPERM"': "read is permitted without condition, and refused: r",
    f'[[refuse]]\n{READ}answer = "EPERM"\n' * 2: "read is refused twice; the second time: r",
    "permit = 3": "permit is not a list: write [[permit]]",
    'wall = "high"': "the profile: 'wall' is not a key here",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_profile_that_is_wrong_says_everything_that_is(text):
    with pytest.raises(ProfileError) as caught:
        parse_profile(text.encode())
    assert list(caught.value.problems) == MISTAKES[text]


@pytest.mark.parametrize("rules", RULE_MISTAKES)
def test_a_rule_that_is_wrong_is_named(rules):
    with pytest.raises(ProfileError) as caught:
        parse_profile((HEAD + rules).encode())
    assert caught.value.problems == (RULE_MISTAKES[rules],)


@pytest.mark.parametrize("text", [b"\xff", b"format = ", b"[[permit]\n"])
def test_what_is_not_toml_is_a_profile_error(text):
    with pytest.raises(ProfileError):
        parse_profile(text)
