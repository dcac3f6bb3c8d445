"""What is volt's own and the machine's counts as much as the manifest: its code, programs, profiles and mounts."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.host import front
from tests.host.test_cache_stale import Place, report

RUN = ("run", "m.toml")
# Three launches in a mount namespace of their own, with a change before the last.
ALONE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")


# ── changes of an installation


def edited_code(installed):
    path = installed.tree / "volt/plan/environment.py"
    path.write_text(path.read_text().replace('"PATH": PATH,', '"PATH": PATH, "ADDED": "new",'))


def edited_profile(installed):
    """One call less; `sethostname` is no part of it, and of no interest either."""
    path = installed.tree / "profiles/seccomp/default.toml"
    path.write_text(path.read_text().replace("getcwd chdir", "chdir").replace(" getcwd\n", "\n"))


def edited_landlock_profile(installed):
    """One rule less, which a rule above it gives as well."""
    path = installed.tree / "profiles/landlock/default.toml"
    path.write_text(path.read_text().replace('"/tmp", "/run"', '"/run"'))


def rebuilt_program(installed):
    path = installed.tree / "volt/native/volt"
    shutil.copy2(path, path.with_name("new"))
    path.with_name("new").rename(path)


def touched_program(installed):
    (installed.tree / "volt/native/volt").touch()


def removed_module(installed):
    """Python goes on with what is left, or fails: the old plan is not performed."""
    (installed.tree / "volt/model/sizes.py").unlink()


CHANGES = {
    "code": (edited_code, {"added": "new"}),
    "profile": (edited_profile, {}),
    "landlock-profile": (edited_landlock_profile, {}),
    "program-rebuilt": (rebuilt_program, {}),
    "program-touched": (touched_program, {}),
}
OTHERS = ("removed-module", "two-of-them", "mounts", "systemd-nspawn", "libseccomp")


@pytest.fixture(scope="module")
def places(tmp_path_factory, busybox):
    """A place for each change, with an installation of its own, old enough to be depended on."""
    made = {}
    for name in (*CHANGES, *OTHERS):
        folder = tmp_path_factory.mktemp(name)
        made[name] = Place(folder / "place", busybox, front.Installation(folder))
        text = made[name].base.read_text().replace('"overlay"', '"tmpfs"')
        made[name].base.write_text(text)
    for name, path in (("systemd-nspawn", nspawn()), ("libseccomp", libseccomp())):
        shutil.copy2(path, made[name].folder / "copy")
    other = made["two-of-them"].folder / "other"
    other.mkdir()
    edited_code(front.Installation(other))
    front.let_age()
    for place in made.values():
        place.first = report(place.front.planned(*RUN))
    return made


def nspawn():
    return shutil.which("systemd-nspawn")


def libseccomp():
    from volt.host.tools import find_library, libraries

    return find_library("libseccomp.so.2", libraries("x86_64") + libraries("aarch64"))


@pytest.mark.parametrize("name", CHANGES)
def test_volts_own_parts_count(places, name):
    place, (change, seen) = places[name], CHANGES[name]
    assert report(place.front.cached(*RUN)) == place.first
    change(place.installed)
    assert not place.front.hits(*RUN)
    assert report(place.front.planned(*RUN)) == {**place.first, **seen}


def test_a_changed_profile_has_its_effect(places):
    """Python is what makes the filter: the call that the edited profile left out is refused."""
    place = places["profile"]
    done = place.front("run", "m.toml", "--", "sh", "-c", "/bin/pwd")
    assert done.returncode != 0


def test_a_module_that_is_gone_is_no_hit(places):
    place = places["removed-module"]
    place.front.cached(*RUN)
    removed_module(place.installed)
    assert not place.front.hits(*RUN)


def test_another_installation_answers_with_its_own_plans(places):
    """Two of them share the state; the words are the same, the code that plans is not."""
    place = places["two-of-them"]
    assert report(place.front.cached(*RUN)) == place.first
    other = front.Front(place.folder, opened(place.folder / "other"))
    assert report(other(*RUN))["added"] == "new"
    assert report(other.cached(*RUN))["added"] == "new"
    place.front(*RUN)
    assert report(place.front.cached(*RUN)) == place.first


def opened(folder):
    """An installation that is there already."""
    one = object.__new__(front.Installation)
    one.tree, one.commands, one.log = folder / "tree", folder / "bin", folder / "started"
    one.program = one.commands / "volt"
    return one


def alone(place, before, change):
    """What three launches in one mount namespace say: `before` is done first, `change` before the last."""
    script = f'{before}; "$@"; echo; "$@"; echo; {change}; "$@"'
    starts = place.installed.starts()
    done = place.front(*RUN, prefix=(*ALONE, script, "sh"))
    assert done.returncode == 0, done.stderr
    parts = done.stdout.decode().split("\n\n")
    return [dict(line.split("=", 1) for line in part.split()) for part in parts], place.installed.starts() - starts


@pytest.mark.alone
def test_the_mounts_count(places):
    place = places["mounts"]
    bare = place.folder / "bare"
    bare.mkdir()
    (first, second, third), starts = alone(place, "true", f"mount --bind {bare} {place.share}")
    assert first == second == place.first
    assert third == {**first, "data": ""}
    assert starts == 2


@pytest.mark.alone
def test_the_mounts_count_only_when_they_change(places):
    place = places["mounts"]
    reports, starts = alone(place, "true", "true")
    assert reports == [place.first] * 3
    assert starts == 1


@pytest.mark.parametrize(("name", "path"), [("systemd-nspawn", nspawn()), ("libseccomp", libseccomp())])
@pytest.mark.alone
def test_a_tool_of_the_machine_counts(places, name, path):
    """A copy is mounted over it, so that nothing but its time changes."""
    place = places[name]
    copy = place.folder / "copy"
    reports, starts = alone(place, f"mount --bind {copy} $(realpath {path})", f"touch {copy}")
    assert reports == [place.first] * 3
    assert starts == 2


def test_the_words_for_a_namespace_of_its_own_are_understood():
    assert subprocess.run([*ALONE, "true"], check=False).returncode == 0
