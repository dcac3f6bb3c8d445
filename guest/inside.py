"""Inside the guest: runs pytest as the host asks for it, and answers. `python -m guest.inside`, by tests.service.

One line of JSON comes over the control port, {"arguments": […], "environment": {…}}; what pytest prints goes out as it
comes; one line goes back, {"status": N, "junit": "…", "output": N}: pytest's status, its results, and how many bytes of
output there were, since the two ports do not keep their order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

# The ports by their names: what the tests print, and what is asked and answered.
OUTPUT, CONTROL = "volt.output", "volt.control"
PORTS = Path("/sys/class/virtio-ports")
RESULTS = Path("/tmp/junit.xml")
PATIENCE = "600"  # seconds for a test, after which every thread's stack is printed


def main() -> None:
    with port(CONTROL) as control, port(OUTPUT) as output:
        asked = json.loads(control.readline())
        status, length = run_tests(asked["arguments"], asked["environment"], output)
        junit = RESULTS.read_text() if RESULTS.exists() else ""
        write_all(control, json.dumps({"status": status, "junit": junit, "output": length}).encode() + b"\n")
        control.read(1)  # the host ends the guest when it has everything: what is still under way must not be lost


def port(name: str) -> BinaryIO:
    """The port that QEMU calls so: /dev has it by number only. Unbuffered, both ways."""
    found = next(path.parent.name for path in PORTS.glob("*/name") if path.read_text().strip() == name)
    return Path("/dev", found).open("r+b", buffering=0)


def run_tests(arguments: list[str], environment: dict[str, str], output: BinaryIO) -> tuple[int, int]:
    """pytest's exit status, and how many bytes it has printed."""
    pytest = [sys.executable, "-m", "pytest", "-o", f"faulthandler_timeout={PATIENCE}", "-p", "no:cacheprovider"]
    argv = [*pytest, f"--junitxml={RESULTS}", *arguments]
    length = 0
    with subprocess.Popen(
        argv,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        while text := os.read(process.stdout.fileno(), 65536):
            write_all(output, text)
            length += len(text)
    return process.returncode, length


def write_all(output: BinaryIO, text: bytes) -> None:
    """A port takes 32 KiB at once at most, and says so."""
    left = memoryview(text)
    while left:
        left = left[output.write(left) :]


if __name__ == "__main__":
    main()
