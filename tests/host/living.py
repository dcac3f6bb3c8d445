"""Workloads that run while a test does something with them."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from volt.api.looking import running
from volt.errors import StateError
from volt.host.facts import folders
from volt.runs.processes import tree_of

SECONDS = 20


class Living:
    """One that was started with `volt run`: its name, its record, and the process that waits for it."""

    def __init__(self, name, record, process):
        self.name = name
        self.record = record
        self.process = process

    @property
    def tree(self):
        return tree_of(self.record)

    def end(self):
        self.process.terminate()
        return self.process.communicate(timeout=SECONDS)


def until(holds, what="it"):
    """Wait for something that comes to hold."""
    deadline = time.monotonic() + SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not come to hold within {SECONDS} seconds"
        time.sleep(0.02)
    return found


@contextmanager
def living(volt, *command, **sections):
    """A workload that runs `command`, `sleep` unless given; VOLT_ROOT has to be the test's."""
    manifest = volt.manifest(**sections)
    name = next(line.split('"')[1] for line in manifest.read_text().splitlines() if line.startswith("name"))
    command = command or ("sleep", "300")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = volt.start("run", manifest, "--", *command, **pipes)
    try:
        yield Living(name, until(lambda: _started(process, name, command[0]), name), process)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def _started(process, name, command):
    """The record, once the command itself runs."""
    assert process.poll() is None, process.communicate()[1].decode()
    try:
        record = running(folders(), name)
        payload = tree_of(record).inside[0]
        words = Path(f"/proc/{payload}/cmdline").read_bytes().split(b"\0")
    except (StateError, OSError):
        return None
    return record if Path(words[0].decode()).name in (Path(command).name, "busybox") else None
