"""The init's steps of Landlock, under the sanitizers: rules that hold for the payload, and what is passed over."""

from __future__ import annotations

import errno

import pytest

from tests.conftest import OLDER
from tests.unit.native.test_init import START, running, shell
from volt.host.syscalls import landlock_abi
from volt.model.protocol import Frame
from volt.model.steps import AllowBeneath, AllowOpened, AllowPorts, MakeRuleset, NoNewPrivileges, Open, RestrictSelf
from volt.model.text import text

pytestmark = pytest.mark.skipif(landlock_abi() < 4, reason=OLDER[4])

MAKE = MakeRuleset(files=("write_file", "make_reg"), to="rules")
ENTER = (NoNewPrivileges(), RestrictSelf(ruleset="rules"))  # without root the first makes the second possible


def beneath(path, access=("write_file", "make_reg"), **values):
    return AllowBeneath(ruleset="rules", path=text(str(path)), access=access, **values)


def walled(units, rules, script, *words):
    """What a script prints behind these rules; it prints to what it has open, which no rule concerns."""
    command = shell(script, *map(str, words))
    with running(units, [MAKE, *rules, *ENTER, START], [command]) as init:
        init.started()
        init.exited()
        return init.output.read()


TRY = 'for at; do echo x 2> /dev/null > "$at" && echo yes || echo no; done'


def test_a_payload_writes_where_a_rule_lets_it(units, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rules = [beneath(tmp_path / "a"), beneath("/dev/null")]
    assert walled(units, rules, TRY, "sh", tmp_path / "a/f", tmp_path / "b/f") == "yes\nno\n"


def test_of_a_file_it_takes_what_files_have(units, tmp_path):
    """A right to make files has no meaning there, and the kernel would refuse the rule."""
    (tmp_path / "f").touch()
    (tmp_path / "g").touch()
    rules = [beneath(tmp_path / "f"), beneath("/dev/null"), beneath(tmp_path / "g", ("make_reg",))]
    assert walled(units, rules, TRY, "sh", tmp_path / "f", tmp_path / "g") == "yes\nno\n"


def test_what_has_no_path_needs_no_rule_and_a_folder_gets_none(units, tmp_path):
    opened = [
        Open(path=text(str(tmp_path)), to="folder"),
        AllowOpened(ruleset="rules", descriptors=("stdin", "stdout", "folder"), access=("write_file",)),
    ]
    assert walled(units, opened, TRY, "sh", tmp_path / "f", "/dev/null") == "no\nyes\n"


def test_ports_are_rules_from_the_first_to_the_last(units):
    ports = MakeRuleset(ports=("bind_tcp",), to="rules")
    allow = AllowPorts(ruleset="rules", first=61001, last=61003, access=("bind_tcp",))
    script = "import socket, sys\nfor port in sys.argv[1:]:\n s = socket.socket()\n try: s.bind(('', int(port)))\n"
    script += " except PermissionError: print('no', end=' ')\n except OSError: pass\n"
    command = shell('exec python3 -c "$@"', "sh", script, "61000", "61001", "61003", "61004")
    with running(units, [ports, allow, *ENTER, START], [command]) as init:
        init.started()
        init.exited()
        assert init.output.read().split() == ["no", "no"]


@pytest.mark.parametrize("last", [65536, 2**32 - 1])
def test_a_port_that_is_none_is_refused(units, last):
    allow = AllowPorts(ruleset="rules", first=65535, last=last, access=("bind_tcp",))
    with running(units, [MakeRuleset(ports=("bind_tcp",), to="rules"), allow, START], [shell("true")]) as init:
        assert init.failed() == (2, errno.EINVAL, f"port {last}")


def skipped(units, *rules):
    """What the init tells of these rules."""
    with running(units, [MAKE, *rules, *ENTER, START], [shell("true")]) as init:
        kind, body, _ = init.frame()
        assert kind == Frame.STARTED
        init.exited()
        return body.decode().splitlines()


def test_a_path_that_is_not_there_is_passed_over_and_told(units, tmp_path):
    (tmp_path / "f").touch()
    absent = [f"{tmp_path}/absent", f"{tmp_path}/f/below"]
    assert skipped(units, *map(beneath, absent)) == absent


def test_more_than_there_is_room_for_is_told_by_dots(units, tmp_path):
    absent = [f"{tmp_path}/{n:0200}" for n in range(20)]
    told = skipped(units, *map(beneath, absent))
    assert told[-1] == "..."
    assert told[:-1] == absent[: len(told) - 1]
    assert len(told) > 3


def test_a_required_path_that_is_not_there_is_a_failure(units, tmp_path):
    with running(units, [MAKE, beneath(tmp_path / "absent", required=True), START], [shell("true")]) as init:
        assert init.failed() == (2, errno.ENOENT, f"{tmp_path}/absent")


def test_a_link_that_anybody_could_have_made_is_not_followed(units, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "link").symlink_to("to")
    (tmp_path / "deeper").symlink_to(f"{tmp_path}/link")
    (tmp_path / "loop").symlink_to("loop")
    paths = [f"{tmp_path}/{name}" for name in ("link", "link/.", "deeper", "loop", "loop/x")]
    assert skipped(units, *map(beneath, paths)) == paths
    with running(units, [MAKE, beneath(paths[0], required=True), START], [shell("true")]) as init:
        number, error, message = init.failed()
    assert (number, error) == (2, 0)
    assert message.startswith(f"{paths[0]}: a link on the way")


def test_a_ruleset_that_is_none_is_not_entered(units):
    with running(units, [NoNewPrivileges(), RestrictSelf(ruleset="stdin"), START], [shell("true")]) as init:
        number, error, _ = init.failed()
    assert (number, error) == (2, errno.EBADFD)
