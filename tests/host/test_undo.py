"""Whichever step fails, what came before it is undone, and the next start works."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.host import trace
from tests.host.conftest import cgroups
from volt import api
from volt.api import planning
from volt.launch import handover
from volt.model.steps import ChangeFolder, Open
from volt.model.text import text

pytestmark = pytest.mark.alone  # every mount of the machine is compared

SECTIONS = ("host", "guard", "init", "payload")
BROKEN = {
    "host": Open(path=text("/no/such/path"), to="broken"),
    "guard": Open(path=text("/no/such/path"), to="broken"),
}
BROKEN |= {
    "init": ChangeFolder(path=text("/no/such/path")),
    "payload": ChangeFolder(path=text("/no/such/path")),
}


def tree(folder):
    """Every path below with its kind, mode, owner and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_uid, content)
    return found


def everything(volt):
    uids = sorted(os.listdir("/run/volt/uids")) if Path("/run/volt/uids").exists() else []
    return tree(volt.state), uids, sorted(cgroups()), Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def planned(volt, busybox, tmp_path, monkeypatch):
    """A plan with a kept layer that is discarded, a volume and an env_file, after one good run."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    share = tmp_path / "share"
    share.mkdir()
    os.chown(share, 1000, 1000)
    (tmp_path / "values").write_text("A=1\n")
    manifest = volt.manifest(
        workload={"name": "undone", "env_file": str(tmp_path / "values"), "command": ["true"]},
        storage={
            "rootfs": str(busybox),
            "writable_layer": "overlay",
            "tmpfs": ["/cache"],
            "volumes": [{"host": str(share), "container": "/data"}],
        },
    )
    assert volt("run", manifest, "--", "sh", "-c", "echo kept > /mark").returncode == 0
    plan, facts = planning.planned(manifest, None, None, api.Call(fresh=True))
    return manifest, plan, facts


def perform(plan, facts):
    process = handover.spawn(facts.program, plan, (api.DEVNULL, api.PIPE, api.PIPE), ())
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


@pytest.mark.parametrize("section", SECTIONS)
def test_a_failing_step_undoes_all_steps_before_it(volt, planned, section):
    manifest, plan, facts = planned
    before = everything(volt)
    steps = getattr(plan, section)
    for position in range(len(steps)):
        broken = replace(plan, **{section: (*steps[:position], BROKEN[section], *steps[position:])})
        status, message = perform(broken, facts)
        assert (status, "No such file or directory" in message) == (125, True), (position, message)
        assert everything(volt) == before, (position, steps[position])
    done = volt("run", manifest, "--", "cat", "/mark")
    assert done.stdout == b"kept\n", done.stderr


def injections(calls):
    """(call, which one of its process) of the first and the last of each kind that changes something."""
    chosen = set()
    for role in ("supervisor", "guard", "init", "payload"):
        counts = Counter()
        seen = {}
        for call in calls[role]:
            counts[call.name] += 1
            if call.changes() and call.name not in ("execve", "kill", "write", "ioctl"):
                seen.setdefault(call.name, []).append(counts[call.name])
        for name, numbers in seen.items():
            chosen |= {(name, numbers[0]), (name, numbers[-1])}
    return sorted(chosen)


def test_a_failing_system_call_is_a_clean_error_with_the_undo_done(volt, planned, tmp_path):
    manifest, _, _ = planned
    done = trace.strace(volt, tmp_path / "trace", "run", "--fresh", manifest, "--", "true")
    assert done.returncode == 0, done.stderr
    points = injections(trace.roles(trace.read(tmp_path / "trace")))
    assert len(points) > 8
    before = everything(volt)
    for name, number in points:
        _, plan, facts = planned
        outcome = inject(volt, tmp_path, plan, facts, name, number)
        if outcome is None:  # the payload had run: what could not be released is the next command's
            assert api.sweep() == ()
            assert volt.left() == [], (name, number)
            before = everything(volt)
            continue
        assert outcome["status"] == 125, (name, number, outcome)
        assert outcome["error"] == "ENOSPC" or outcome["message"], (name, number, outcome)
        assert everything(volt) == before, (name, number)


def inject(volt, tmp_path, plan, facts, name, number):
    """Perform `plan` with the numbered call of each process failing with ENOSPC; None if it went well."""
    import subprocess

    from volt.model.binary import encode
    from volt.model.steps import Report

    report = tmp_path / "outcome.json"
    with_report = replace(plan, host=(Report(path=text(str(report))), *plan.host))
    memory = tmp_path / "plan.bin"
    memory.write_bytes(encode(with_report))
    options = ["-f", "-qq", "-o", "/dev/null", f"--inject={name}:error=ENOSPC:when={number}"]
    with memory.open("rb") as file:
        argv = ["strace", *options, facts.program, "perform", str(file.fileno())]
        process = subprocess.run(argv, pass_fds=(file.fileno(),), capture_output=True, timeout=60, check=False)
    if not report.exists():
        return {"status": process.returncode, "error": None, "message": process.stderr.decode()}
    document = json.loads(report.read_text())
    report.unlink()
    return document if document["by"] == "volt" else None
