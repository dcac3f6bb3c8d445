"""volt diff: what a run changed in its root, as its writable layer has it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from volt import api
from volt.errors import StateError
from volt.runs.layer import DEEPEST

SECONDS = 20
CHANGES = """
cd /srv && echo n > new && echo m >> changed && rm gone && rm -r replaced && mkdir replaced && echo z > replaced/z &&
mv before after && mkdir -p fresh/inner && ln -s /etc/passwd link && mkfifo pipe && chmod 700 /etc
"""
EXPECTED = """\
C /etc
C /srv
A /srv/after
D /srv/before
C /srv/changed
A /srv/fresh
A /srv/fresh/inner
D /srv/gone
A /srv/link
A /srv/new
A /srv/pipe
C /srv/replaced
D /srv/replaced/inner
D /srv/replaced/x
A /srv/replaced/z
"""
KINDS = {"added": "A", "changed": "C", "deleted": "D"}


@pytest.fixture
def root(busybox, tmp_path, volt, monkeypatch):
    """A root file system with something to change."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    root = Path(shutil.copytree(busybox, tmp_path / "root", symlinks=True))
    (root / "srv/replaced/inner").mkdir(parents=True)
    (root / "srv/before").mkdir()
    for name in ("gone", "changed", "replaced/x", "before/y"):
        (root / "srv" / name).write_text("old\n")
    return root


def by_name(manifest):
    return next(line.split('"')[1] for line in manifest.read_text().splitlines() if line.startswith("name"))


def of(volt, root, layer, script):
    manifest = volt.manifest(storage={"rootfs": str(root), "writable_layer": layer})
    return manifest, ("run", manifest, "--", "sh", "-c", script)


@contextmanager
def running(volt, root, layer, script):
    """The name of a workload that has run the script, and lives on."""
    manifest, words = of(volt, root, layer, f"{script}\necho done; exec sleep 60")
    process = volt.start(*words, stdout=-1)
    try:
        assert process.stdout.readline() == b"done\n"
        time.sleep(0.1)
        yield by_name(manifest)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def changes(name):
    with api.diff(name) as found:
        return "".join(f"{KINDS[one.kind]} {one.path}\n" for one in found)


def shown(volt, name):
    done = volt("diff", name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == changes(name)
    return done.stdout.decode()


def test_a_kept_layer_tells_after_the_run(volt, root):
    manifest, words = of(volt, root, "overlay", CHANGES)
    assert volt(*words).returncode == 0
    assert shown(volt, by_name(manifest)) == EXPECTED


@pytest.mark.parametrize("layer", ["overlay", "tmpfs"])
@pytest.mark.kernel
def test_a_run_that_lives_tells_too_also_of_a_layer_in_memory(volt, root, layer):
    with running(volt, root, layer, CHANGES) as name:
        found = shown(volt, name)
    own = {"C /root\n", "A /root\n"}  # systemd-nspawn makes it where the image has none
    assert "".join(line for line in found.splitlines(keepends=True) if line not in own) == EXPECTED


def test_json_tells_more(volt, root):
    manifest, words = of(volt, root, "overlay", CHANGES)
    assert volt(*words).returncode == 0
    document = json.loads(volt("diff", by_name(manifest), "--json").stdout)
    assert (document["version"], document["name"], document["problems"]) == (1, by_name(manifest), [])
    found = {one.pop("path"): one for one in document["changes"]}
    nothing = {"opaque": False, "moved_from": None}
    assert found["/srv/after"] == {"kind": "added", "form": "folder", "opaque": False, "moved_from": "/srv/before"}
    assert found["/srv/replaced"] == {"kind": "changed", "form": "folder", "opaque": True, "moved_from": None}
    assert found["/srv/gone"] == {"kind": "deleted", "form": None, **nothing}
    assert found["/srv/pipe"] == {"kind": "added", "form": "pipe", **nothing}
    assert found["/srv/link"] == {"kind": "added", "form": "link", **nothing}


def test_what_is_changed_in_a_folder_that_was_moved_is_compared_with_what_it_held(volt, root):
    (root / "opt/deep").mkdir(parents=True)
    (root / "opt/deep/old").write_text("x")
    manifest, words = of(volt, root, "overlay", "mv /opt/deep /srv/here && echo 2 > /srv/here/old && : > /srv/here/new")
    assert volt(*words).returncode == 0
    found = shown(volt, by_name(manifest))
    assert "C /srv/here/old\n" in found
    assert "A /srv/here/new\n" in found


def test_nothing_changed_is_nothing_shown(volt, root):
    manifest, words = of(volt, root, "overlay", "true")
    assert volt(*words).returncode == 0
    assert shown(volt, by_name(manifest)) == ""


def test_the_hosts_own_root(volt, root):
    manifest, words = of(volt, "host", "overlay", "echo 1 > /srv/new; echo x >> /etc/passwd; rm /etc/group")
    assert volt(*words).returncode == 0
    assert shown(volt, by_name(manifest)) == "C /etc\nD /etc/group\nC /etc/passwd\nC /srv\nA /srv/new\n"


def test_names_are_shown_not_obeyed(volt, root):
    manifest, words = of(volt, root, "overlay", r"""touch "$(printf '/srv/a\033[2J\nb')" "$(printf '/srv/\377')" """)
    assert volt(*words).returncode == 0
    done = volt("diff", by_name(manifest))
    assert done.stdout == b"C /srv\nA /srv/a\\x1b[2J\\nb\nA /srv/\\udcff\n"
    paths = [one["path"] for one in json.loads(volt("diff", by_name(manifest), "--json").stdout)["changes"]]
    assert os.fsencode(paths[-1]) == b"/srv/\xff"


def test_it_goes_only_so_deep_and_says_so(volt, root):
    script = f"i=0; while [ $i -lt {DEEPEST + 10} ]; do mkdir d && cd d || exit 1; i=$((i+1)); done"
    manifest, words = of(volt, root, "overlay", f"cd /srv; {script}")
    assert volt(*words).returncode == 0
    done = volt("diff", by_name(manifest))
    assert done.returncode == 1
    assert done.stderr.endswith(b"d lies too deep: what is in it is not looked at\n")
    assert len(done.stdout.splitlines()) == DEEPEST


def test_a_root_that_has_gone_is_a_problem_and_hides_nothing(volt, root, tmp_path):
    manifest, words = of(volt, root, "overlay", "echo 1 > /srv/new")
    assert volt(*words).returncode == 0
    root.rename(tmp_path / "elsewhere")
    done = volt("diff", by_name(manifest))
    assert (done.returncode, done.stdout) == (1, b"C /srv\nA /srv/new\n")
    assert b"on which the layer was made: No such file" in done.stderr


def test_without_a_layer_it_says_why(volt, root):
    with running(volt, root, "none", "true") as name:
        done = volt("diff", name)
        assert (done.returncode, done.stdout) == (1, b"")
        assert f"{name} has no writable layer".encode() in done.stderr
        with pytest.raises(StateError, match="has no writable layer"):
            api.diff(name)
    with pytest.raises(StateError, match="no workload called 'nobody'"):
        api.diff("nobody")


def test_a_payload_that_swaps_folders_for_links_leads_nowhere(volt, root):
    """It replaces a folder by a link to the host's /etc and back, as fast as it can."""
    script = "cd /srv; mkdir a; : > a/inside; ln -s /etc b; while :; do mv a c; mv b a; mv a b; mv c a; done &"
    with running(volt, root, "overlay", script) as name:
        for _ in range(20):
            assert not any(one.path.startswith(("/srv/a/passwd", "/srv/a/group")) for one in api.diff(name))
