"""The table of findings: every code that the language and the plan can give, each shown to be given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.findings import Example, examples

TOP = Path(__file__).parents[2]
EXAMPLES = examples()
# Function → which of its arguments is a code. A code that is no literal there was one where it came from.
CODES = {
    "Finding": 0,
    "wrong": 0,  # of a Reader, and of one string's references
    "note": 0,
    "_broken": 1,
    "complain": 2,
    "_complain": 2,
    "parsed": 0,
    "listed": 0,
    "one_of": 0,
    "mapping": 0,
    "profile": 0,
}
PLANNING = (
    *(
        "plan/boot.py",
        "plan/bounds.py",
        "plan/check.py",
        "plan/kernel.py",
        "plan/landlock_policy.py",
        "plan/limits.py",
        "plan/network.py",
        "plan/published.py",
        "plan/seccomp_check.py",
        "plan/unit.py",
    ),
    "host/policy.py",
)


def codes(source: str) -> Iterator[str]:
    """Every code that a module can give."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name)) if name in CODES:
                argument = node.args[CODES[name]] if len(node.args) > CODES[name] else None
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def used() -> set[str]:
    modules = [*(TOP / "volt/manifest").glob("*.py"), *(TOP / "volt" / name for name in PLANNING)]
    return {code for module in modules for code in codes(module.read_text())}


def test_the_table_has_every_code_and_no_other():
    listed = [example.code for example in EXAMPLES]
    assert sorted(listed) == sorted(used())


def test_a_code_is_noticed_wherever_it_is_written():
    source = 'reader.wrong("a", key, node)\nFinding("b", "")\n_complain(chain, node, "c", "")\nparsed("d", x, "e")'
    assert list(codes(source)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.code)
def test_the_example_gives_its_finding(example: Example):
    found = [finding.code for finding in example.findings()]
    assert example.code in found
    if example.by == "validate":
        assert found == [example.code]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.code)
def test_a_finding_says_what_is_wrong_and_what_to_write(example: Example):
    finding = example.finding()
    assert finding.message
    assert finding.hint or finding.severity == "note"
    assert example.rule.endswith(".")
