"""Variables in strings: where a value comes from, and what is left alone."""

import pytest

from tests.unit.manifest.world import COMPLETE, found, resolved, workload


def described(text, **world):
    return workload(COMPLETE + f"description = '{text}'", **world).description


def test_the_order_is_set_then_built_in_then_environment():
    environment = {"HOSTNAME": "of the environment", "NAME": "of the environment"}
    assert described("${HOSTNAME}, ${NAME}", variables=environment) == "machine, of the environment"
    given = {"HOSTNAME": "given", "NAME": "given"}
    assert described("${HOSTNAME}, ${NAME}", variables=environment, given=given) == "given, given"


@pytest.mark.parametrize(
    ("name", "value"),
    [("VOLT_BASE", "/var/lib/volt"), ("VOLT_CAS_DIR", "/var/lib/volt/store"), ("VOLT_RUN_DIR", "/run/volt")],
)
def test_built_in_names_cannot_be_replaced_by_the_environment(name, value):
    assert described(f"${{{name}}}", variables={name: "/evil"}) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${X:-default}", "default"),
        ("a${X:-}b", "ab"),
        ("${X:-a:-b}", "a:-b"),
        ("${X:-a b/c}", "a b/c"),
        ("${X:-$$5}", "$5"),
        ("${E:-default}!", "!"),
        ("$$", "$"),
        ("$${X}", "${X}"),
        ("$$$$", "$$"),
        ("$X, $5, 5$", "$X, $5, 5$"),
    ],
)
def test_defaults_and_dollar_signs(written, value):
    assert described(written, variables={"E": ""}) == value


@pytest.mark.parametrize("written", ["${", "${}", "${1}", "${a b}", "a ${X", "${X:=1}", "${X:-a${Y}}", "${-}"])
def test_what_begins_like_a_reference_and_is_none_is_a_finding(written):
    codes = [code for code, _ in found(resolved(COMPLETE + f"description = '{written}'", variables={"Y": "y"}))]
    assert codes == ["bad-variable"]


def test_an_undefined_name_is_a_finding_at_the_string_that_uses_it():
    text = COMPLETE + 'command = ["a",\n  "b ${NOBODY}"]'
    (finding,) = resolved(text).findings
    assert (finding.code, finding.key, str(finding.place)) == (
        "undefined-variable",
        "workload.command[1]",
        "a.toml:5:3",
    )
    assert finding.hint == "pass --set NOBODY=VALUE, or write ${NOBODY:-default}"


def test_every_undefined_name_of_a_string_is_reported_once():
    assert len(resolved(COMPLETE + "description = '${A} ${B} ${A}'").findings) == 2


def test_nothing_is_replaced_inside_what_was_replaced():
    assert described("${A}", variables={"A": "${B} $$", "B": "b"}) == "${B} $$"


def test_a_string_of_the_base_is_replaced_once():
    base = COMPLETE + 'command = ["$$$$", "${A}"]'
    assert workload('workload.command = ["..."]', base, variables={"A": "$$"}).command == ("$$", "$$")


def test_keys_are_never_replaced():
    text = COMPLETE + "labels = { '${A}' = '${A}' }"
    assert dict(workload(text, variables={"A": "a"}).labels) == {"${A}": "a"}


@pytest.mark.parametrize("variables", [{"A": "b.toml"}, {}])
def test_extends_is_never_replaced(variables):
    result = resolved("extends = '${A}'", variables=variables)
    assert found(result) == [("unreadable", "a.toml:1:11")]
    assert "${A}" in result.findings[0].message


def test_a_number_or_boolean_cannot_come_from_a_variable():
    codes = found(resolved(COMPLETE + '[resources]\npids_max = "${A}"', variables={"A": "5"}))
    assert codes == [("wrong-type", "a.toml:5:12")]


def test_a_value_is_judged_after_it_was_replaced():
    assert workload('[workload]\nname = "${A}"\nmode = "${B:-container}"', given={"A": "web"}).name == "web"
    (finding,) = resolved(COMPLETE + '[resources]\nmemory_limit = "${A}"', given={"A": "4X"}).findings
    assert (finding.code, finding.source) == ("bad-size", 'memory_limit = "${A}"')


def test_a_value_that_is_no_utf_8_is_a_finding():
    (finding,) = resolved(COMPLETE + 'description = "${A}"', variables={"A": "a\udcff"}).findings
    assert finding.code == "bad-text"
    assert finding.message == r"'a\udcff' is not UTF-8"


def test_the_key_of_a_finding_is_the_one_of_the_merged_manifest():
    (finding,) = resolved('workload.command = ["...", "${A}"]', COMPLETE + 'command = ["a", "b"]').findings
    assert finding.key == "workload.command[2]"
    assert str(finding.place) == "a.toml:2:28"
