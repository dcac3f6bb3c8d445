"""What systemd-machined knows, asked as anybody asks it: machinectl(1)."""

import re
import subprocess
from pathlib import Path


def machinectl(*words, check=True):
    done = subprocess.run(["machinectl", "--no-pager", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done.stdout


def parent(process):
    """Of a container's payload that is the init, process 1 inside."""
    return re.findall(r"^PPid:\t(\d+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)[0]


def machine(name):
    """The leader and the unit of a machine; nothing where there is none of that name."""
    shown = machinectl("show", "--property=Leader", "--property=Unit", name, check=False)
    return dict(line.split("=", 1) for line in shown.splitlines())
