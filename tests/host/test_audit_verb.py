"""volt audit: which workload is meant, and what it needs of a launch that started no Python. The same on any kernel."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.host import front
from tests.host.test_audit import SECONDS, sleeping, started
from volt import api
from volt.runs.processes import tree_of

__all__ = ["sleeping"]  # a fixture


def test_any_process_inside_stands_for_its_workload(volt, sleeping):
    tree = tree_of(sleeping)
    for pid in (tree.supervisor, tree.init, *tree.inside):
        assert volt("audit", str(pid)).returncode == 0, pid
    assert len(tree.inside) == 2


@pytest.mark.parametrize(
    ("which", "message"),
    [
        pytest.param(str(os.getpid()), "belongs to no workload of volt", id="ours"),
        ("1", "belongs to no workload of volt"),
        ("4194305", "no process has the number 4194305"),
        ("nobody", "no workload called 'nobody' is running"),
    ],
)
def test_what_is_no_workload_is_refused(volt, sleeping, which, message):
    done = volt("audit", which)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    failure = json.loads(volt("audit", which, "--json").stdout)
    assert message in failure["error"]["message"]


@pytest.mark.alone
def test_a_cached_launch_has_its_plan_too(tmp_path, busybox, monkeypatch):
    ready = front.Front(tmp_path, front.Installation(tmp_path))
    monkeypatch.setenv("VOLT_ROOT", str(ready.state))
    root = front.small_root(tmp_path / "root", busybox)
    manifest = ready.manifest(workload={"command": ["true"]}, storage={"rootfs": str(root), "writable_layer": "tmpfs"})
    name = api.plan(manifest).name
    front.let_age()
    words = ("run", manifest.name, "--", "sleep", "5")
    ready.cached(*words)
    before = ready.installed.starts()
    process = ready.start(*words, stderr=subprocess.PIPE)
    record = started(process, name)
    assert ready.installed.starts() == before
    targets = [os.readlink(path) for path in Path(f"/proc/{record.pid}/fd").iterdir()]
    assert any("/state/plans/" in target for target in targets)
    assert all(point.holds for point in api.audit(name).points)
    process.terminate()
    process.communicate(timeout=SECONDS)


def test_a_detached_launch_holds_what_was_planned(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    manifest = volt.manifest(workload={"command": ["sleep", "60"]})
    name = volt("run", "-d", manifest).stdout.decode().strip()
    try:
        done = volt("audit", name)
        assert done.returncode == 0, done.stdout.decode()
    finally:
        volt("stop", name)
        volt("rm", name)
