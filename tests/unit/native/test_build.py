"""What is built: one static program of at most 184 KiB, for two architectures, from sources that name their calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.native import programs
from volt.model.binary import encode
from volt.model.steps import MakeFolder
from volt.model.text import text
from volt.native import build

# Of arm64: what connects to a bridge is 11 KiB of it, published ports 10, readiness and its watcher 8, starting
# anew 5.
LIMIT = 208 * 1024
MISSING = "volt: its Python part cannot be started: "  # where it stands alone
C_FILES = sorted(path for suffix in ("*.c", "*.h") for path in build.SOURCES.glob(suffix) if path.name != "table.h")


def readelf(option: str, program: Path) -> str:
    return subprocess.run(["readelf", option, "--wide", program], capture_output=True, text=True, check=True).stdout


@pytest.fixture(params=["volt", "arm_volt"])
def program(request) -> Path:
    return request.getfixturevalue(request.param)


def test_the_program_is_static(program):
    headers = readelf("--program-headers", program)
    assert "INTERP" not in headers
    assert "DYNAMIC" not in headers


def test_the_program_is_small(program):
    assert program.stat().st_size <= LIMIT


def test_no_part_of_the_program_can_be_written_and_executed(program):
    flags = re.findall(
        r"^  (?:LOAD|GNU_STACK)\s.*\s([R ][W ][E ])\s+0x\w+$", readelf("--program-headers", program), re.MULTILINE
    )
    assert len(flags) >= 3
    assert not [flag for flag in flags if "W" in flag and "E" in flag]


def test_the_program_carries_no_names_of_ours(program):
    """Stripped, and no path of the machine that built it."""
    assert ".symtab" not in readelf("--sections", program)
    assert str(build.SOURCES).encode() not in program.read_bytes()


def test_the_program_starts(volt):
    done = subprocess.run([volt], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith(MISSING)) == (125, True)


def test_the_program_for_arm64_is_one_and_starts(arm_volt):
    assert "AArch64" in readelf("--file-header", arm_volt)
    qemu = shutil.which("qemu-aarch64-static")
    assert qemu, "qemu-user-static is not installed: scripts/setup"
    done = subprocess.run([qemu, arm_volt], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith(MISSING)) == (125, True)


def test_a_plan_is_made_for_no_architecture(arm_volt, tmp_path):
    """The bytes that this machine performs are performed on arm64 too."""
    plan = programs.plan(host=[MakeFolder(path=text(str(tmp_path / "made")), mode=0o750, keep=True)])
    descriptor = programs.memory_file(encode(plan))
    command = ["qemu-aarch64-static", arm_volt, "perform", str(descriptor)]
    done = subprocess.run(command, pass_fds=(descriptor,), capture_output=True, text=True, check=False)
    os.close(descriptor)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "made").stat().st_mode & 0o7777 == 0o750


def raw_numbers(source: str) -> list[str]:
    """What stands first in syscall(…) and is no SYS_ name."""
    return [what for what in re.findall(r"\bsyscall\(\s*([^,)]*)", source) if not re.fullmatch(r"SYS_[a-z0-9_]+", what)]


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_system_calls_are_called_by_name(path):
    source = path.read_text()
    # A session tries what it is told to, behind the payload's filter.
    assert raw_numbers(source) == (["number"] if path.name == "session.c" else [])
    assert not re.search(r"\b__NR_|#\s*define\s+SYS_|\basm\b|__asm__", source)


@pytest.mark.parametrize("line", ["syscall(435, &args)", "syscall(NUMBER, 1)", "syscall( 0x1b3 )"])
def test_a_raw_number_is_noticed(line):
    assert raw_numbers(line)


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_every_source_opens_with_what_lives_there(path):
    assert re.match(r"// \w.{20,}", path.read_text())


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_every_source_is_read_in_one_sitting(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    starts = [n for n, line in enumerate(lines) if re.match(r"\S.*\{$", line)]
    ends = [n for n, line in enumerate(lines) if line.startswith("}")]
    lengths = {lines[start]: min(end for end in ends if end > start) - start for start in starts}
    assert {start: length for start, length in lengths.items() if length > 45} == {}


@pytest.mark.parametrize(
    "name", ["gets", "strcpy", "strcat", "sprintf", "vsprintf", "system", "popen", "alloca", "atoi"]
)
def test_what_has_no_bounds_is_not_called(name):
    assert [path.name for path in C_FILES if re.search(rf"\b{name}\(", path.read_text())] == []


@pytest.mark.parametrize(
    "line",
    [
        "int unused(void) { int x; return 0; }",  # an unused variable
        "int missing() { return 0; }",  # no prototype
        "int narrow(long x) { int y = x; return y; }",  # a conversion that loses something
        "int shadow(int x) { { int x = 1; return x; } }",
        'int format(const char *f) { return __builtin_printf("%d", f); }',
    ],
    ids=lambda line: line.split("(")[0].split()[1],
)
def test_a_warning_is_an_error(tmp_path, line, capfd):
    (tmp_path / "x.c").write_text(f"{line}\nint main(void) {{ return 0; }}\n")
    with pytest.raises(subprocess.CalledProcessError):
        build.compile_program(tmp_path / "x", [tmp_path / "x.c"])
    assert "error" in capfd.readouterr().err


def test_a_missing_compiler_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.CompilerMissing, match=r"musl-gcc.*apt install gcc musl-tools"):
        build.build(tmp_path / "volt", arch="x86_64", cc="musl-gcc")
    with pytest.raises(build.CompilerMissing, match=r"aarch64-linux-gnu-gcc.*gcc-aarch64-linux-gnu"):
        build.build(tmp_path / "volt", cc="aarch64-linux-gnu-gcc", arch="aarch64")
