"""The hand-over: a sealed plan, and a process that inherits nothing but what it was given."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from tests.unit.plan.test_assemble import plan
from volt.launch.handover import SEALS, become, seal, spawn
from volt.model.binary import encode


@pytest.fixture
def sealed():
    descriptor = seal(encode(plan()))
    yield descriptor
    os.close(descriptor)


def test_it_holds_the_plan_from_its_first_byte(sealed):
    assert os.pread(sealed, 1 << 24, 0) == encode(plan())


def test_nobody_can_change_it_any_more(sealed):
    assert fcntl.fcntl(sealed, fcntl.F_GET_SEALS) == SEALS
    for change in (
        lambda: os.pwrite(sealed, b"x", 0),
        lambda: os.pwrite(sealed, b"x", os.fstat(sealed).st_size),
        lambda: os.ftruncate(sealed, 0),
        lambda: fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    ):
        with pytest.raises(OSError) as caught:  # noqa: PT011 (the number says which)
            change()
        assert caught.value.errno == errno.EPERM


def test_it_is_not_inherited(sealed):
    assert not os.get_inheritable(sealed)


# In the place of the static program: it prints its arguments, environment, folder, the plan's start, and what it
# has open besides the standard descriptors and its own text.
PROGRAM = """#!{python} -I
import os, sys
print(sys.argv[1:], sorted(os.environ), os.getcwd(), os.pread(int(sys.argv[2]), 8, 0))
def text(name):
    return os.path.realpath(f'/proc/self/fd/{{name}}') == os.path.realpath(sys.argv[0])
found = [name for name in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{{name}}')]
print(sorted(int(name) for name in found if int(name) > 2 and not text(name)))
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text(PROGRAM.format(python=os.path.realpath(sys.executable)))
    path.chmod(0o755)
    return str(path)


def test_a_new_process_has_the_plan_and_nothing_of_this_one(program, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    read, write = os.pipe()
    process = spawn(program, plan(), (subprocess.DEVNULL, subprocess.PIPE, None), (write,))
    out, _ = process.communicate(timeout=30)
    os.close(read)
    os.close(write)
    first, second = out.decode().splitlines()
    number = first.split("'")[3]
    assert first == f"['perform', '{number}'] ['LC_CTYPE'] / b'VOLTPLAN'"  # what Python sets for itself
    assert second == str(sorted((int(number), write)))


def test_a_program_that_cannot_be_started_is_an_error_and_leaves_no_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        spawn(f"{tmp_path}/missing", plan(), (None, None, None), ())
    with pytest.raises(FileNotFoundError):
        become(f"{tmp_path}/missing", encode(plan()))
    assert len(os.listdir("/proc/self/fd")) == before


def test_becoming_the_program_keeps_the_process_and_empties_its_environment(program):
    code = (
        "import sys; from volt.launch.handover import become; from volt.model.binary import encode;"
        " from tests.unit.plan.test_assemble import plan; become(sys.argv[1], encode(plan()))"
    )
    done = subprocess.run([sys.executable, "-c", code, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "['perform', '" in done.stdout
    assert "['LC_CTYPE']" in done.stdout
    assert "b'VOLTPLAN'" in done.stdout
