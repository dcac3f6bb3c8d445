"""Damaged plans and frames: thousands of changes to valid ones, the same each time, and not one crash.

VOLT_EXAMPLES is how many of each kind where more are wanted than the ordinary run has: a million takes minutes.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess

import pytest

from tests.unit.native import programs, table
from volt.model.binary import HEADER, encode
from volt.model.steps import (
    ClaimRun,
    Execute,
    MakeFolder,
    Open,
    ProtectInit,
    SealInside,
    SetIdentity,
    StartGuard,
    StartPayload,
    table_version,
)
from volt.model.text import RUN, UIDS, Slot, SlotKind, text

WANTED = int(os.environ.get("VOLT_EXAMPLES", "0"))
VERSION, LENGTH, REGISTERS, FIRST, SECOND, NUMBER, INNER = range(8, HEADER.size, 4)


def small():
    return programs.plan(
        host=[
            ClaimRun(folder=text("/run/volt")),
            MakeFolder(note="its own", path=text("/run/volt/", RUN), mode=0o700),
            Open(path=text("/srv/", UIDS), to="root"),
            SealInside(to="inside"),
            StartGuard(cgroup="root"),
        ],
        guard=[
            Execute(argv=(text("a"), text("b")), env=(text("A=", Slot(SlotKind.UIDS, 9)),), descriptors=("inside",))
        ],
        init=[ProtectInit(), StartPayload(stdio=("stdin", "", "stdin"))],
        payload=[SetIdentity(uid=1, gid=2, groups=(text("3"),)), Execute(argv=(text("true"),), env=())],
        inherited=("control", "stdin"),
    )


PLANS = {"small": small, "empty": programs.plan, "every operation": table.every_operation}


def fuzz(program, *words, data=None):
    """The counts of what was accepted and of all; any other end than the right one is a failure."""
    descriptor = programs.memory_file(data or b"")
    given = [str(descriptor)] if data else []
    try:
        done = subprocess.run(
            [program, words[0], *given, *words[1:]],
            pass_fds=(descriptor,),
            capture_output=True,
            text=True,
            env=programs.SANITIZED,
            check=False,
        )
    finally:
        os.close(descriptor)
    assert (done.returncode, done.stderr) == (0, "")
    accepted, examples = re.findall(r"\d+", done.stdout)
    return int(accepted), int(examples)


@pytest.mark.parametrize("name", PLANS)
def test_no_damaged_plan_crashes_the_loader(table_program, name):
    """Some changes are within what a plan may say: those are performed, by recorders; the others are refused."""
    count = max(WANTED, 1000 if name == "every operation" else 5000)
    accepted, examples = fuzz(table_program, "plan", str(count), "1", data=encode(PLANS[name]()))
    assert examples == count
    assert 0 < accepted < examples * 0.9


def test_no_damaged_frame_crashes_the_receiver_or_leaves_a_descriptor_open(table_program):
    count = max(WANTED, 10000)
    accepted, examples = fuzz(table_program, "frames", str(count), "1")
    assert examples == count
    assert examples * 0.2 < accepted < examples * 0.9


# ── what the program says of them


@pytest.fixture
def plan(tmp_path):
    """A plan that would leave a trace, with another one inside."""
    return encode(
        programs.plan(
            host=[MakeFolder(path=text(str(tmp_path / "trace")), keep=True)],
            init=[ProtectInit()],
            payload=[Execute(argv=(text("true"),), env=())],
            inherited=("control",),
        )
    )


def changed(data: bytes, field: int, value: int) -> bytes:
    return data[:field] + struct.pack("<I", value % 2**32) + data[field + 4 :]


def refused(units, tmp_path, data: bytes, message: str) -> None:
    done = programs.perform(units, data)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"volt: {message}\n"
    assert not (tmp_path / "trace").exists()


DAMAGED = "the plan is damaged: Bad message"


def test_the_plan_itself_is_performed(units, tmp_path, plan):
    done = programs.perform(units, plan)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("version", [0, table_version() - 1, table_version() + 1, 2**32 - 1])
def test_a_plan_of_another_version_is_refused_as_such(units, tmp_path, plan, version):
    refused(units, tmp_path, changed(plan, VERSION, version), "the plan was made by another version of volt")


@pytest.mark.parametrize("byte", range(8))
def test_another_magic_is_refused(units, tmp_path, plan, byte):
    refused(units, tmp_path, plan[:byte] + b"\0" + plan[byte + 1 :], DAMAGED)


@pytest.mark.parametrize("value", [0, 35, 36, -1, 2**31, 2**32 - 1])
def test_another_length_is_refused(units, tmp_path, plan, value):
    wrong = len(plan) + value if value == -1 else value
    refused(units, tmp_path, changed(plan, LENGTH, wrong), DAMAGED)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (REGISTERS, 4096),
        (REGISTERS, 2**32 - 1),
        (FIRST, 0),
        (FIRST, 2),
        (FIRST, 2**32 - 1),
        (SECOND, 1),
        (SECOND, 2**32 - 1),
        (INNER, 0),
        (INNER, 1),
        (INNER, 2**32 - 1),
    ],
)
def test_a_count_that_does_not_fit_is_refused(units, tmp_path, plan, field, value):
    refused(units, tmp_path, changed(plan, field, value), DAMAGED)


@pytest.mark.parametrize("field", [0, VERSION, LENGTH, FIRST, SECOND, INNER])
def test_a_damaged_inner_plan_is_refused_before_anything_is_done(units, tmp_path, plan, field):
    (inner,) = struct.unpack_from("<I", plan, INNER)
    start = len(plan) - inner
    (value,) = struct.unpack_from("<I", plan, start + field)
    refused(units, tmp_path, changed(plan, start + field, value + 1), DAMAGED)


def test_a_plan_cut_short_or_too_long_is_refused(units, tmp_path, plan):
    for length in (0, 1, 8, 35, 36, len(plan) - 1):
        refused(units, tmp_path, plan[:length], DAMAGED)
    refused(units, tmp_path, plan + b"\0", DAMAGED)


def test_a_step_of_no_operation_is_refused(units, tmp_path, plan):
    for opcode in (0, 200, 65535):
        data = plan[: HEADER.size] + struct.pack("<H", opcode) + plan[HEADER.size + 2 :]
        refused(units, tmp_path, data, DAMAGED)


def test_what_is_no_file_or_too_long_is_refused(units, tmp_path):
    reader, writer = os.pipe()
    done = subprocess.run(
        [units, "perform", str(reader)],
        pass_fds=(reader,),
        capture_output=True,
        text=True,
        env=programs.SANITIZED,
        check=False,
    )
    os.close(reader)
    os.close(writer)
    assert done.returncode == 125
    huge = os.memfd_create("huge")
    os.truncate(huge, (16 << 20) + 1)
    done = subprocess.run(
        [units, "perform", str(huge)],
        pass_fds=(huge,),
        capture_output=True,
        text=True,
        env=programs.SANITIZED,
        check=False,
    )
    os.close(huge)
    assert (done.returncode, done.stderr) == (125, "volt: the plan is no regular file, or too long: Bad message\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["perform"],
        ["perform", "x"],
        ["perform", "-1"],
        ["perform", "1x"],
        ["perform", ""],
        ["perform", "9999999999"],
        ["init", "3"],
        ["other", "3"],
    ],
)
def test_other_words_are_for_the_python_entry_beside_the_program(units, words):
    done = subprocess.run([units, *words], capture_output=True, text=True, env=programs.SANITIZED, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith(f"volt: its Python part cannot be started: {units.parent}/volt-python: No such file")
