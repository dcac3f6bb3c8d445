"""volt doctor: a table, the commands to be copied, and a status that says whether anything can be launched."""

import io
import json

import pytest

from volt import api
from volt.cli.doctor import PIPE_WIDTH, doctor, document, show

OK = api.Check("root", "ok", "every launch", "uid 0")
DEGRADED = api.Check("Landlock", "degraded", "a field", "none", "boot Linux 5.13")
LONG = "mount -t cgroup2 " + "x" * 2 * PIPE_WIDTH
MISSING = api.Check("cgroup v2", "missing", "every launch [1]", "not mounted", LONG)


def printed(checks):
    stream = io.StringIO()
    show(checks, stream)
    return stream.getvalue()


def test_the_table_has_a_row_for_each_check():
    rows = printed([OK, DEGRADED]).splitlines()
    assert [row.split()[:2] for row in rows[1:3]] == [["ok", "root"], ["degraded", "Landlock"]]
    assert rows[0].split() == ["found", "needed", "for"]


def test_what_mends_stands_below_whole_on_a_line_of_its_own():
    assert f"\ncgroup v2: {LONG}\n" in printed([OK, MISSING])
    assert printed([OK]).count("\n") == 2


def test_text_of_the_machine_is_no_markup_and_there_is_no_colour_off_a_terminal():
    assert "every launch [1]" in printed([MISSING])
    assert "\x1b" not in printed([OK, DEGRADED, MISSING])


@pytest.mark.parametrize(("checks", "status"), [([OK], 0), ([OK, DEGRADED], 0), ([OK, DEGRADED, MISSING], 1)])
def test_only_what_forbids_every_launch_is_a_failure(monkeypatch, capsys, checks, status):
    monkeypatch.setattr(api, "doctor", lambda: tuple(checks))
    assert doctor() == status
    assert doctor(json_=True) == status
    assert capsys.readouterr().out.endswith("}\n")


def test_the_document_holds_every_field():
    assert json.loads(json.dumps(document([DEGRADED]))) == {
        "version": 1,
        "checks": [
            {
                "name": "Landlock",
                "state": "degraded",
                "needed": "a field",
                "found": "none",
                "mend": "boot Linux 5.13",
            }
        ],
    }


def test_this_machine_can_be_examined_by_anybody(capsys):
    assert doctor() in (0, 1)
    assert "systemd-nspawn" in capsys.readouterr().out
