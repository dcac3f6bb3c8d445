"""A `volt` whose Python entry counts its starts: what is answered from the plan cache starts none."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.host.conftest import Volt
from volt.host.watch import FRESH
from volt.launch.cache import FILTER

TOP = Path(__file__).parents[2]
OLD = FRESH / 1e9 + 0.1  # s, until what was prepared may be remembered
BLIND = 77
# A crash of somebody else's on this machine is swept by Python: a cached launch may have to be asked for again.
TRIES = 5

# In the place of the console script: the same, counted; with BLIND it only says that it was asked.
ENTRY = """#!{python} -P
import os, sys
with open({log!r}, "a") as log:
    log.write("started\\n")
if os.environ.get("BLIND"):
    os._exit({blind})
sys.path.insert(0, {tree!r})
from volt.cli.__main__ import entry
sys.exit(entry())
"""


class Installation:
    """A volt of a test's own: a copy of the package and its profiles, and the two commands."""

    def __init__(self, folder):
        self.tree, self.commands = folder / "tree", folder / "bin"
        self.log = folder / "started"
        for name in ("volt", "profiles"):
            shutil.copytree(TOP / name, self.tree / name)
        shutil.copy2(TOP / "pyproject.toml", self.tree)
        self.commands.mkdir()
        self.program = self.commands / "volt"
        shutil.copy2(self.tree / "volt/native/volt", self.program)
        python = self.commands / "volt-python"
        python.write_text(ENTRY.format(log=str(self.log), blind=BLIND, python=sys.executable, tree=str(self.tree)))
        python.chmod(0o755)
        self.log.touch()

    def starts(self):
        """How often Python has been started so far."""
        return self.log.read_text().count("\n")


class Front(Volt):
    """The command of an installation, with a state folder of its own."""

    def __init__(self, folder, installed):
        super().__init__(folder)
        self.installed = installed
        self.argv = [str(installed.program)]
        self.environment["TERM"] = "vt220"

    def command(self, words, prefix=()):
        return [*map(str, prefix), *self.argv, *map(str, words)]

    def __call__(self, *words, prefix=(), env=None, **options):
        given = {"cwd": self.folder, "capture_output": True, "timeout": 60, **options}
        return subprocess.run(
            self.command(words, prefix), env={**self.environment, **(env or {})}, check=False, **given
        )

    def start(self, *words, **options):
        return subprocess.Popen(self.command(words), **{"env": self.environment, "cwd": self.folder, **options})

    def planned(self, *words, **options):
        """A run that must start Python, once."""
        before = self.installed.starts()
        done = self(*words, **options)
        assert self.installed.starts() == before + 1, "it was answered from the cache"
        return done

    def cached(self, *words, **options):
        """A run that must not start Python."""
        for _ in range(TRIES):
            before = self.installed.starts()
            done = self(*words, **options)
            if self.installed.starts() == before:
                return done
        raise AssertionError("it was not answered from the cache", done)

    def hits(self, *words, **options):
        """Whether a run is answered from the cache; where it is not, nothing is run."""
        options = {**options, "env": {**options.get("env", {}), "BLIND": "1"}}
        before = self.installed.starts()
        status = self(*words, **options).returncode
        assert (status == BLIND) == (self.installed.starts() > before)
        return status != BLIND

    @property
    def plans(self):
        return self.state / "state/plans"

    def entries(self):
        """The plans that are kept, the oldest first; not the key, nor the filters."""
        found = [path for path in self.plans.glob("*") if path.name != "key" and not path.name.startswith(FILTER)]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def let_age():
    """Wait until nothing that was prepared is too fresh to be depended on."""
    time.sleep(OLD)


def small_root(folder, busybox):
    """A root of a test's own: busybox's links and accounts."""
    subprocess.run(["cp", "-a", busybox, folder], check=True)
    return folder
