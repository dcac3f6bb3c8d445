"""Failures, shown once: for people, and as JSON for programs."""

import json

import pytest

from volt.cli.failure import BAD_MANIFEST, FAILED, RUN_FAILED, failing, failure, report
from volt.errors import HostUnfit, LaunchError, ManifestError, PolicyError, StateError, VoltError
from volt.model.findings import Finding, Place
from volt.model.run import Outcome

FINDING = Finding("bad-size", "storage.shm_size", "'4X' is not a size", "write 4G", Place("web.toml", 3, 1), "x = 1")
BAD = ManifestError([FINDING])
OUTCOME = Outcome("volt", 125, step="open", number=17, message="m")


def test_people_read_what_went_wrong_and_what_to_do(capsys):
    report(HostUnfit("cgroup v2 is not mounted", hint="mount it"))
    assert capsys.readouterr() == ("", "volt: cgroup v2 is not mounted\nhint: mount it\n")
    report(VoltError("it broke"))
    assert capsys.readouterr() == ("", "volt: it broke\n")


def test_people_read_findings_with_their_place(capsys):
    report(BAD)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("web.toml:3:1: error: '4X' is not a size [bad-size]\n")
    assert err.endswith("hint: write 4G\n")


def test_what_is_wrong_with_the_policy_is_told_as_findings_are(capsys):
    error = PolicyError([FINDING])
    report(error)
    assert capsys.readouterr().err.startswith("web.toml:3:1: error: '4X' is not a size [bad-size]\n")
    assert failure(error) == failure(BAD)
    assert error.message == "the policy of this machine cannot be applied: 1 problem found"


def test_no_terminal_obeys_a_message(capsys):
    report(VoltError("a\x1b[2Jb\nc", hint="\r\x07"))
    _, err = capsys.readouterr()
    assert err == "volt: a\\x1b[2Jb\\nc\nhint: \\r\\x07\n"


@pytest.mark.parametrize("error", [VoltError("m", hint="h"), HostUnfit("m", hint="h"), StateError("m", hint="h")])
def test_programs_read_the_kind(error):
    kind = type(error).__name__
    assert failure(error) == {"version": 1, "error": {"kind": kind, "message": "m", "hint": "h"}}


def test_programs_read_the_step_of_a_launch_that_failed():
    fields = failure(LaunchError("m", outcome=OUTCOME))["error"]
    assert (fields["step"], fields["number"]) == ("open", 17)
    assert "step" not in failure(LaunchError("m"))["error"]


def test_programs_read_every_finding(capsys):
    report(BAD, as_json=True)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["version"], err) == (1, "")
    assert [(one["code"], one["line"]) for one in document["findings"]] == [("bad-size", 3)]


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (FAILED, VoltError("m"), FAILED),
        (FAILED, BAD, BAD_MANIFEST),
        (RUN_FAILED, VoltError("m"), RUN_FAILED),
        (RUN_FAILED, BAD, RUN_FAILED),
    ],
)
def test_each_failure_has_its_status(capsys, status, error, expected):
    @failing(status)
    def verb():
        raise error

    assert verb() == expected
    assert capsys.readouterr().err


def test_a_verb_that_succeeds_keeps_its_status_and_its_name(capsys):
    @failing(FAILED)
    def verb(word, *, json_=False):
        """Its help."""
        return 7

    assert (verb("x", json_=True), verb.__name__, verb.__doc__) == (7, "verb", "Its help.")
    assert capsys.readouterr() == ("", "")


def test_a_verb_that_was_asked_for_json_fails_in_json(capsys):
    @failing(FAILED)
    def verb(*, json_):
        raise VoltError("m")

    assert (verb(json_=True), json.loads(capsys.readouterr().out)["error"]["message"]) == (FAILED, "m")


def test_what_volt_did_not_raise_on_purpose_is_not_hidden():
    @failing(FAILED)
    def verb():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        verb()
