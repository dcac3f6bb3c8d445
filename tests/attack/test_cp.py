"""Copies out of and into a workload whose payload is hostile: the asker is root on the host, and nothing inside makes
it read or write anything else, or wait for ever."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.attack import walls
from tests.attack.plans import lowered
from volt import api
from volt.api.looking import running
from volt.host.facts import folders
from volt.runs import command, items, session, unpacking
from volt.runs.processes import tree_of

SECONDS = 30
LIVES = "echo up; exec cat > /dev/null"
# Swaps /srv/swap between a folder and a link to what lies on the host, as fast as it can: RENAME_EXCHANGE.
SWAPPER = """
import ctypes, os, sys
os.makedirs("/srv/swap"); open("/srv/swap/mark", "w").write("inside"); os.symlink(sys.argv[1], "/srv/link")
print("up", flush=True)
if os.fork() == 0:
    libc = ctypes.CDLL(None)
    while True: libc.renameat2(-100, b"/srv/swap", -100, b"/srv/link", 2)
sys.stdin.read()
os._exit(0)
"""
PYTHON = ("python3", "-c")


@pytest.fixture
def inside(attack):
    """A workload whose payload does this, without these walls."""

    @contextmanager
    def start(*command, without=(), **sections):
        plan = lowered(attack.plan(*command, **sections), without)
        with attack.running(plan) as first:
            assert first == "up\n"
            yield plan.name

    return start


@contextmanager
def ended(name):
    """Its supervisor is killed at the end: what runs in it would not end by itself."""
    try:
        yield
    finally:
        os.kill(running(folders(), name).pid, signal.SIGKILL)
        time.sleep(0.3)
        api.sweep()


def naive(name, path):
    """As somebody would reach a file who does not know better: by a path below the workload's root."""
    return Path(f"/proc/{tree_of(running(folders(), name)).init}/root{path}")


class TestLinksThatChange:
    def test_nothing_of_the_hosts_is_read(self, inside, outside, tmp_path):
        with inside(*PYTHON, SWAPPER, str(outside)) as name, ended(name):
            assert _seen(lambda: "the host's\n" in naive(name, "/srv/swap/mark").read_text())
            for number in range(40):
                with suppress(api.VoltError):
                    api.copy_out(name, "/srv/swap/mark", tmp_path / f"file{number}")
                with suppress(api.VoltError):
                    api.copy_out(name, "/srv", tmp_path / f"tree{number}", follow_link=True)
        found = {path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != "m1.toml"}
        assert found == {"inside"}

    @pytest.mark.kernel
    def test_nothing_of_the_hosts_is_written(self, inside, outside, tmp_path):
        (tmp_path / "tree/sub").mkdir(parents=True)
        (tmp_path / "tree/new").write_text("copied")
        with inside(*PYTHON, SWAPPER, str(outside)) as name, ended(name):
            for _ in range(40):
                with suppress(api.VoltError):
                    api.copy_in(tmp_path / "tree/new", name, "/srv/swap/new")
                with suppress(api.VoltError):
                    api.copy_in(f"{tmp_path}/tree/.", name, "/srv/swap")
            assert sorted(path.name for path in outside.iterdir()) == ["mark"]
            assert (outside / "mark").read_text() == "the host's\n"
            assert _seen(lambda: naive(name, "/srv/swap/new").write_text("naive") and (outside / "new").exists())

    def test_links_that_stay_lead_nowhere_but_inside(self, inside, outside, tmp_path):
        (tmp_path / "new").write_text("copied")
        script = (
            f"ln -s {outside} /srv/out; ln -s {outside}/mark /srv/mark; ln -s /proc/1/root{outside} /srv/root; {LIVES}"
        )
        with inside("sh", "-c", script) as name:
            for path in ("/srv/out/mark", "/srv/mark", "/srv/root/mark", f"/proc/self/root{outside}/mark"):
                with pytest.raises(api.StateError):
                    api.copy_out(name, path, tmp_path / "stolen", follow_link=True)
            for number in range(12):
                for path in (f"/proc/self/fd/{number}/..{outside}/mark", f"/proc/self/fd/{number}{outside}/mark"):
                    with pytest.raises(api.StateError):
                        api.copy_out(name, path, tmp_path / "stolen")
            for path in ("/srv/out/new", "/srv/root/new", f"/../../..{outside}/new"):
                with pytest.raises(api.StateError):
                    api.copy_in(tmp_path / "new", name, path)
            assert naive(name, "/srv/mark").read_text() == "the host's\n"
        assert sorted(path.name for path in outside.iterdir()) == ["mark"]
        assert not (tmp_path / "stolen").exists()


def _seen(attempt):
    """Whether something happens at least once of many times."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with suppress(OSError, api.StateError):  # its processes come and go
            if attempt():
                return True
    return False


class TestWhatComesOut:
    """Each shown to come out where what holds it back is taken away."""

    def test_no_set_id_program(self, inside, tmp_path, monkeypatch):
        script = f"cd /srv; mkdir d; cp /bin/sh d/sh; chmod 6755 d/sh d; {LIVES}"
        with inside("sh", "-c", script) as name:
            api.copy_out(name, "/srv/d", tmp_path / "held", archive=True)
            monkeypatch.setattr(unpacking, "SET_ID", 0)
            api.copy_out(name, "/srv/d", tmp_path / "open", archive=True)
        modes = {
            one: [oct((tmp_path / one / path).stat().st_mode & 0o7777) for path in ("", "sh")]
            for one in ("held", "open")
        }
        assert modes == {"held": ["0o755"] * 2, "open": ["0o6755"] * 2}

    def test_no_link_that_leads_out(self, inside, tmp_path, monkeypatch):
        links = {"up": "..", "name-up": "d/../..", "to-itself": "here/..", "abs": "/etc", "deep/up": "../.."}
        kept = {"here": ".", "deep/top": "..", "deep/file": "../file", "into": "deep"}
        made = "; ".join(f"ln -s {to} {path}" for path, to in {**links, **kept}.items())
        with inside("sh", "-c", f"mkdir -p /srv/t/deep; cd /srv/t; echo x > file; {made}; {LIVES}") as name:
            done = api.copy_out(name, "/srv/t", tmp_path / "held")
            monkeypatch.setattr(unpacking, "leads_out", lambda *_: False)
            api.copy_out(name, "/srv/t", tmp_path / "open")
        assert _links(tmp_path / "held") == kept
        assert _links(tmp_path / "open") == {**links, **kept}
        assert len(done.left_out) == len(links)

    def test_no_device(self, inside, tmp_path):
        with inside("sh", "-c", LIVES) as name:
            done = api.copy_out(name, "/dev", tmp_path / "dev")
        assert [path for path in (tmp_path / "dev").rglob("*") if not (path.is_dir() or path.is_symlink())] == []
        assert f"/dev/null: {items.WHYS[items.Why.SPECIAL]}" in [f"{one.path}: {one.why}" for one in done.left_out]

    def test_no_name_that_a_terminal_obeys(self, inside, attack, tmp_path):
        with inside(
            *PYTHON, "import os; os.mkfifo('/srv/\\x1b]0;owned\\x07\\n'); print('up', flush=True); input()"
        ) as name:
            done = attack.volt("cp", f"{name}:/srv", tmp_path / "srv")
        assert done.stderr.startswith(b"volt: /srv/\\x1b]0;owned\\x07\\n: neither")


def _links(top):
    return {str(path.relative_to(top)): os.readlink(path) for path in top.rglob("*") if path.is_symlink()}


class TestWithoutEnd:
    def test_a_file_that_grows_is_as_long_as_it_was_announced(self, inside, tmp_path):
        script = "head -c 9000000 /dev/zero > /srv/big; echo up; cat /dev/zero >> /srv/big & exec cat > /dev/null"
        with inside("sh", "-c", script, storage={"layer_size": "300M"}) as name, ended(name):
            done = api.copy_out(name, "/srv/big", tmp_path / "big")
        assert (tmp_path / "big").stat().st_size == done.bytes >= 9000000
        assert [one.why for one in done.left_out] in ([], [items.WHYS[items.Why.GREW]])

    def test_a_file_that_shrinks_too(self, inside, tmp_path):
        script = "while :; do head -c 3000000 /dev/zero > /srv/big; : > /srv/big; done & echo up; exec cat > /dev/null"
        with inside("sh", "-c", script) as name, ended(name):
            for _ in range(10):
                with suppress(api.StateError):
                    done = api.copy_out(name, "/srv/big", tmp_path / "big")
                    assert (tmp_path / "big").stat().st_size == done.bytes

    def test_a_folder_that_grows(self, inside, tmp_path):
        script = "mkdir /srv/d; cd /srv/d; echo up; n=0; while :; do n=$((n+1)); : > $n; done"
        with inside("sh", "-c", script) as name, ended(name):
            begun = time.monotonic()
            with suppress(api.StateError):
                api.copy_out(name, "/srv/d", tmp_path / "d")
            assert time.monotonic() - begun < SECONDS

    def test_a_folder_within_a_folder_without_end(self, inside, tmp_path):
        script = "cd /srv; n=0; while [ $n -lt 150 ]; do mkdir d && cd d; n=$((n+1)); done; " + LIVES
        with inside("sh", "-c", script) as name:
            done = api.copy_out(name, "/srv", tmp_path / "d")
            assert [one.why for one in done.left_out] == [items.WHYS[items.Why.DEEP]]
            assert done.folders == items.DEEPEST + 1

    def test_a_payload_that_stops_every_session(self, inside, tmp_path, monkeypatch):
        for module, name in ((items, "SILENCE"), (command, "SECONDS"), (session, "SECONDS")):
            monkeypatch.setattr(module, name, 2.0)
        script = "trap '' TERM; echo up; while :; do for n in 3 4 5 6 7 8 9; do kill -STOP $n 2> /dev/null; done; done"
        with inside("sh", "-c", script) as name, ended(name):
            begun, said = time.monotonic(), []
            for _ in range(3):
                try:
                    api.copy_out(name, "/usr/lib/python3", tmp_path / "lib")
                except api.StateError as error:
                    said.append(error.message)
            assert time.monotonic() - begun < SECONDS
            assert any("nothing has come" in one or "does not answer" in one for one in said), said


class TestWall:
    @pytest.mark.kernel
    def test_a_copy_stands_behind_landlock(self, inside, tmp_path):
        """A file in /dev, which the workload's root may make by its ids."""
        (tmp_path / "new").write_text("copied")
        storage = {"writable_layer": "none"}
        with inside("sh", "-c", LIVES, storage=storage) as name:
            (left,) = api.copy_in(tmp_path / "new", name, "/dev/attacked").left_out
            assert left.why == "Permission denied"
        with inside("sh", "-c", LIVES, storage=storage, without=[walls.no_landlock]) as name:
            assert api.copy_in(tmp_path / "new", name, "/dev/attacked").left_out == ()

    def test_and_behind_the_capabilities(self, inside, tmp_path):
        """Another user's folder, which root may enter by CAP_DAC_OVERRIDE alone."""
        script = "mkdir -m 700 /srv/d; echo x > /srv/d/f; chown -R 1 /srv/d; " + LIVES
        held = {"security": {"capabilities": ["CHOWN"]}}
        with inside("sh", "-c", script, **held) as name, pytest.raises(api.StateError, match="Permission denied"):
            api.copy_out(name, "/srv/d/f", tmp_path / "f")
        with inside("sh", "-c", script) as name:
            assert api.copy_out(name, "/srv/d/f", tmp_path / "f").left_out == ()
