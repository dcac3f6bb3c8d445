"""A workload with limits under each driver: systemd's scope, and a folder of volt's own where no systemd is seen."""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.host.conftest import UNSEEN

DRIVERS = {"systemd": (), "cgroupfs": UNSEEN}
CALLERS = {**DRIVERS, "systemd from a scope": ("systemd-run", "--quiet", "--scope", "--collect")}
PATIENCE = 60  # seconds, for an emulated machine


class Limited:
    """volt under one driver, with a state of this test's own."""

    def __init__(self, volt, driver):
        self.volt, self.driver = volt, driver
        self.outcome = volt.folder / "outcome.json"

    def argv(self, *words):
        return [*CALLERS[self.driver], sys.executable, "-m", "volt", *map(str, words)]

    def __call__(self, *words):
        """Any verb, to its end."""
        options = {"env": self.volt.environment, "timeout": PATIENCE, "capture_output": True, "text": True}
        return subprocess.run(self.argv(*words), check=False, **options)

    def run(self, resources, *command, options=()):
        """A run to its end, with its outcome beside the rest."""
        manifest = self.volt.manifest(resources=resources)
        done = self("run", manifest, "--outcome", self.outcome, *options, "--", *command)
        done.outcome = json.loads(self.outcome.read_text())
        return done

    def start(self, resources, script, **sections):
        """A run that goes on: `script` is Python, and has to print a line before it is taken for started."""
        return Running(self, self.volt.manifest(resources=resources, **sections), script)


class Running:
    """A run that has printed its first line. A context manager that ends it."""

    def __init__(self, limited, manifest, script):
        self.name = next(line.split('"')[1] for line in manifest.read_text().splitlines() if line.startswith("name"))
        words = limited.argv("run", manifest, "--outcome", limited.outcome, "--", "python3", "-uc", script)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            words, env=limited.volt.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self.first = self.process.stdout.readline().strip()
        records = (json.loads(path.read_text()) for path in limited.volt.state.glob("run/runs/*/record.json"))
        self.record = next((record for record in records if record["name"] == self.name), None)
        assert self.record, self.process.communicate(timeout=PATIENCE)[1]
        self.cgroup = Path(self.record["cgroup"])

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=PATIENCE)

    def control(self, name):
        """What a file of the run's cgroup says; of weights, the cgroup that is compared with its siblings."""
        weighed = name in {"cpu.weight", "io.weight", "io.bfq.weight"} and self.record["scope"]
        return ((self.cgroup.parent if weighed else self.cgroup) / name).read_text().strip()

    def ask(self, line):
        """A line to the payload, and its answer."""
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def used(self):
        """Microseconds of processor time so far."""
        return int(dict(line.split() for line in self.control("cpu.stat").splitlines())["usage_usec"])


def eventually(what, seconds=PATIENCE):
    """Whether it holds before long."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
