"""The C tests, each by its name: under the sanitizers here, and as built for arm64 in user-mode emulation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.unit.native import programs
from volt.model.binary import encode
from volt.model.steps import ChangeFolder, Execute, MakeFolder
from volt.model.text import text

# The emulator leaves those descriptors open that the program has no room for, and has no openat2; the kernel differs.
KERNELS_OWN = {
    "descriptors_that_have_no_room_are_not_left_open",
    "a_file_is_looked_for_in_its_own_root_alone",
    "a_file_that_is_written_anew_is_another",
}
QEMU = shutil.which("qemu-aarch64-static")


def alone() -> list[str]:
    """The words that give a command a mount namespace of its own: root's for the asking, else with a user namespace."""
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no mount namespace is given here: {tried.stderr.strip()}")
    return words


def run(command, name, folder):
    done = subprocess.run(
        [*(alone() if "mount" in name else []), *command, "test", name],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**programs.SANITIZED, "PATH": os.environ["PATH"]},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", programs.names())
def test_under_the_sanitizers(units, tmp_path, name):
    run([units], name, tmp_path)


@pytest.mark.parametrize("name", [name for name in programs.names() if name not in KERNELS_OWN])
def test_on_arm64(arm_units, tmp_path, name):
    assert QEMU, "qemu-user-static is not installed: scripts/setup"
    run([QEMU, arm_units], name, tmp_path)


def test_a_failing_check_is_noticed(units):
    done = subprocess.run([units, "test", "no such test"], capture_output=True, env=programs.SANITIZED, check=False)
    assert done.returncode == 2


def test_no_two_tests_have_one_name():
    names = programs.names()
    assert set(names) >= KERNELS_OWN
    assert len(names) == len(set(names)) > 80


# ── what Python judges of single functions


def harmless(units, data: bytes) -> bytes:
    done = subprocess.run([units, "harmless"], input=data, capture_output=True, env=programs.SANITIZED, check=True)
    return done.stdout


def spelled_out(data: bytes) -> str:
    """The same in Python: no control character, no byte that is no UTF-8."""
    text = data.decode("utf-8", "surrogateescape")
    return "".join(
        "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
        if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xDC80 <= ord(char) <= 0xDCFF
        else char
        for char in text
    )


def test_harmless_says_what_python_says_of_every_pair_of_bytes(units):
    pairs = [bytes((first, second)) for first in range(256) for second in range(0, 256, 3)]
    data = b"|".join(pairs)[:65536]
    assert harmless(units, data).decode() == spelled_out(data)


def test_harmless_says_what_python_says_of_every_character(units):
    for start in range(0, 0x11000, 0x4000):
        chars = [chr(code) for code in range(start, start + 0x4000) if not 0xD800 <= code < 0xE000]
        data = "".join(chars).encode()[:65530]
        assert harmless(units, data).decode() == spelled_out(data)


HOST = [MakeFolder(note='the "state"', path=text("/x"), mode=0o700)]
PAYLOAD = [ChangeFolder(note="workload.workdir", path=text("/nowhere")), Execute(argv=(text("true"),), env=())]


def outcome(units, *, failed=0, number=0, error=0, status=0, text=b"", left=None):
    descriptor = programs.memory_file(encode(programs.plan(host=HOST, payload=PAYLOAD)))
    words = [str(word) for word in (descriptor, failed, number, error, status)]
    try:
        done = subprocess.run(
            [units, "outcome", *words, *([] if left is None else [left])],
            input=text,
            pass_fds=(descriptor,),
            capture_output=True,
            env=programs.SANITIZED,
            check=True,
        )
    finally:
        os.close(descriptor)
    assert done.stdout.endswith(b"}\n")
    return json.loads(done.stdout)


GOOD = {
    "version": 1,
    "by": "payload",
    "status": 0,
    "signal": None,
    "step": None,
    "number": None,
    "error": None,
    "message": "",
    "hint": "",
    "undone": True,
    "ended": None,
    "events": None,
    "skipped": [],
}


def test_the_outcome_of_a_payload(units):
    assert outcome(units) == GOOD
    assert outcome(units, status=3 << 8) == {**GOOD, "status": 3}
    assert outcome(units, status=9) == {**GOOD, "status": 137, "signal": 9}


def test_the_outcome_of_a_failed_step_names_it(units):
    found = outcome(units, failed=1, number=1, error=13, text=b"/x")
    assert found == {
        **GOOD,
        "by": "volt",
        "status": 125,
        "step": "make-folder",
        "number": 1,
        "error": "EACCES",
        "message": 'step 1, make-folder (the "state"): /x: Permission denied',
    }


def test_the_outcome_of_a_step_inside_has_its_hint(units):
    found = outcome(units, failed=1, number=2, error=2, text=b"/nowhere")
    assert (found["step"], found["hint"]) == ("change-folder", "workload.workdir has to exist inside")


@pytest.mark.parametrize(("error", "status"), [(2, 127), (13, 126), (8, 126)])
def test_a_command_that_cannot_run_is_a_shells_status(units, error, status):
    found = outcome(units, failed=1, number=3, error=error, text=b"nowhere")
    assert (found["status"], found["step"]) == (status, "execute")
    assert found["message"].startswith("cannot run 'nowhere': ")


def test_an_unknown_error_and_an_unknown_step_are_null(units):
    found = outcome(units, failed=1, number=99, error=99999, text=b"odd")
    assert (found["step"], found["number"], found["error"], found["status"]) == (None, None, None, 125)


def test_what_is_left_is_told_behind_the_cause(units):
    found = outcome(units, failed=1, number=1, error=0, text=b"cause", left="step 1, make-folder: Busy")
    assert found["undone"] is False
    assert found["message"].endswith(": cause; not undone: step 1, make-folder: Busy")
    assert outcome(units, left="x")["message"] == "not undone: x"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (b'say "no" \\', 'say "no" \\'),
        ("grüße €😀".encode(), "grüße €😀"),
        (b"\x1b[2J\n", "\\x1b[2J\\x0a"),
        (b"\xff\xc3", "\\xff\\xc3"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
    ],
)
def test_any_text_is_json(units, given, shown):
    found = outcome(units, failed=1, number=99, text=given)
    assert found["message"] == shown


@pytest.mark.parametrize("piece", [b"x", b'"', b"\x01", b"\xff", "ü".encode(), "😀".encode()])
def test_a_text_as_long_as_can_be_is_still_json(units, piece):
    text = (piece * 4096)[:4095]
    found = outcome(units, failed=1, number=1, error=28, text=text, left="\x7f" * 4095)
    assert found["message"].startswith('step 1, make-folder (the "state"): ')


def test_invalid_utf_8_of_what_is_left_becomes_the_replacement_character(units):
    assert outcome(units, left=os.fsdecode(b"a\xffb"))["message"] == "not undone: a\ufffdb"
