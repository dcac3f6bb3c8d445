"""What is installed: a wheel for this platform, with the compiled program, the profiles and the sources."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.unit.native.test_build import LIMIT

TOP = Path(__file__).parents[2]
PLATFORM = sysconfig.get_platform().replace("-", "_")
ELF = b"\x7fELF"
LEFT_OUT = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")

# One pytest worker builds for all tests of this file.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def clone(folder: Path) -> Path:
    """The tree as a fresh clone has it: nothing compiled, nothing generated."""
    shutil.copytree(TOP, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for built in ("volt/native/volt", "volt/native/table.h"):
        (folder / built).unlink(missing_ok=True)
    return folder


def build(tree: Path, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", "out"],
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    tree = clone(tmp_path_factory.mktemp("wheel") / "volt")
    done = build(tree, "wheel")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tree / "volt/native/volt").exists(), "the source tree got a compiled program"
    (path,) = (tree / "out").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A new virtual environment with the wheel in it; its dependencies are those of the running one."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run(installed: Path, *command: str) -> str:
    """Standard output of a command of the environment, run where the source tree is not in the way."""
    done = subprocess.run(
        [installed / "bin" / command[0], *command[1:]], cwd="/", capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_wheel_is_for_this_platform_and_any_python_3(wheel):
    assert wheel.name.endswith(f"-py3-none-{PLATFORM}.whl")


def test_the_wheel_carries_the_program_the_profiles_and_the_sources(wheel):
    with zipfile.ZipFile(wheel) as archive:
        program = archive.getinfo("volt/native/volt")
        assert archive.read(program)[:4] == ELF
        assert program.external_attr >> 16 & stat.S_IXUSR
        names = set(archive.namelist())
    profiles = {f"volt/{path.relative_to(TOP)}" for path in (TOP / "profiles").rglob("*.toml")}
    sources = {str(path.relative_to(TOP)) for path in (TOP / "volt/native").glob("*.c")}
    assert profiles
    assert sources
    assert profiles | sources | {"volt/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("volt/", "volt-"))]


def test_the_wheel_carries_the_manual_pages_to_where_man_looks(wheel):
    with zipfile.ZipFile(wheel) as archive:
        pages = {name.partition(".data/data/")[2] for name in archive.namelist() if name.endswith(".1")}
    assert pages == {f"share/man/man1/{page.name}" for page in (TOP / "docs/man").glob("*.1")}
    assert "share/man/man1/volt-run.1" in pages


def test_volt_on_path_is_the_program_and_volt_python_the_entry_that_it_starts(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (script,) = (one for one in archive.infolist() if ".data/scripts/" in one.filename)
        (entries,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert script.filename.endswith(".data/scripts/volt")
        assert archive.read(script) == archive.read("volt/native/volt")
        assert script.external_attr >> 16 & stat.S_IXUSR
        named = archive.read(entries).decode()
    assert [line.partition(" ")[0] for line in named.splitlines() if "=" in line] == ["volt-python"]


def test_the_program_is_static_and_small(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        program = Path(archive.extract("volt/native/volt", tmp_path))
    assert program.stat().st_size <= LIMIT
    headers = subprocess.run(["readelf", "--program-headers", program], capture_output=True, text=True, check=True)
    assert "INTERP" not in headers.stdout


def test_the_sdist_carries_sources_and_nothing_compiled(tmp_path):
    tree = clone(tmp_path / "volt")
    shutil.copy("/bin/true", tree / "volt/native/volt")
    done = build(tree, "sdist")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tree / "out").iterdir()
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers() if member.isfile()}
        compiled = [name for name, member in members.items() if archive.extractfile(member).read(4) == ELF]
    sources = {str(path.relative_to(TOP)) for path in (TOP / "volt/native").glob("*.[ch]")}
    assert compiled == []
    assert sources - {"volt/native/table.h"} | {"hatch_build.py", "LICENSE", "pyproject.toml"} <= set(members)
    assert [name for name in members if name.startswith("profiles/")]


def test_a_missing_compiler_is_one_clear_message(tmp_path):
    done = build(clone(tmp_path / "volt"), "wheel", PATH="/nowhere")
    assert done.returncode != 0
    assert "apt install gcc musl-tools" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_failing_compiler_is_shown_without_a_traceback(tmp_path):
    tree = clone(tmp_path / "volt")
    (tree / "volt/native/broken.c").write_text("no C at all\n")
    done = build(tree, "wheel")
    assert done.returncode != 0
    assert "broken.c:1:1: error" in done.stdout + done.stderr
    assert "does not compile" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_installed_command_works(installed):
    assert "run" in run(installed, "volt", "--help")


def test_the_installed_command_is_no_script(installed):
    assert (installed / "bin/volt").read_bytes()[:4] == ELF
    assert (installed / "bin/volt-python").read_bytes()[:2] == b"#!"


def through_a_folder(installed, top):
    (top / "commands").symlink_to(installed / "bin")
    return [top / "commands/volt"]


def through_a_link(installed, top):
    (top / "volt").symlink_to(installed / "bin/volt")
    return [top / "volt"]


def through_links_on_path(installed, top):
    (top / "first").symlink_to(installed / "bin/volt")
    (top / "commands").mkdir()
    (top / "commands/volt").symlink_to("../first")
    return ["env", f"PATH={top}/commands:{os.environ['PATH']}", "volt"]


@pytest.mark.parametrize("way", [through_a_folder, through_a_link, through_links_on_path], ids=lambda way: way.__name__)
def test_the_installed_command_works_through_links(installed, tmp_path, way):
    done = subprocess.run(
        [*way(installed, tmp_path), "--version"], cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("volt ")


def test_an_installed_command_without_its_python_part_says_so(installed, tmp_path):
    shutil.copy(installed / "bin/volt", tmp_path)
    done = subprocess.run([tmp_path / "volt", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.endswith("volt-python: No such file or directory\nhint: install volt again\n")


def test_the_installed_package_is_the_one_from_the_wheel_and_finds_its_program(installed):
    code = (
        "import os, volt; from pathlib import Path; folder = Path(volt.__file__).parent; "
        "print(folder); assert os.access(folder / 'native/volt', os.X_OK)"
    )
    assert run(installed, "python", "-c", code).startswith(f"{installed}/")


def test_the_installed_volt_plans_with_its_own_profiles(installed):
    text = run(installed, "volt", "plan", str(TOP / "examples/hello.toml"))
    assert text.startswith("hello: container\n")
