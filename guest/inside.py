"""Inside the guest: runs pytest as the host asks for it, and answers. `python -m guest.inside`, by tests.service.

One line of JSON comes over the control port, {"arguments": […], "environment": {…}}; what pytest prints goes out as it
comes; one line goes back, {"status": N, "junit": "…", "output": N}: pytest's status, its results, and how many bytes of
output there were, since the two ports do not keep their order.

A test that wants to see what comes after a reboot leaves pytest's arguments for then in REBOOT: when the others are
done the guest reboots, runs these, and answers for both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

# The ports by their names: what the tests print, and what is asked and answered.
OUTPUT, CONTROL = "volt.output", "volt.control"
PORTS = Path("/sys/class/virtio-ports")
RESULTS = Path("/tmp/junit.xml")
PATIENCE = "600"  # seconds for a test, after which every thread's stack is printed
STATE = Path("/var/lib/tests")
REBOOT = STATE / "reboot.json"  # pytest's arguments after a reboot
BEGUN = STATE / "begun.json"  # what was asked, and found, before it
# Of tests.service, which powers off where it ends otherwise.
REBOOTING = Path("/run/systemd/system/tests.service.d/reboot.conf")
SETTINGS = "[Unit]\nSuccessAction=none\nFailureAction=none\n"


def main() -> None:
    with port(CONTROL) as control, port(OUTPUT) as output:
        asked = begin(control)
        status, length = run_tests(asked["arguments"], asked["environment"], output)
        answer = {
            "status": asked["status"] or status,
            "junit": joined(asked["junit"], RESULTS.read_text() if RESULTS.exists() else ""),
            "output": asked["output"] + length,
        }
        if REBOOT.exists():
            reboot({**asked, **answer})
        write_all(control, json.dumps(answer).encode() + b"\n")
        control.read(1)  # the host ends the guest when it has everything: what is still under way must not be lost


def begin(control: BinaryIO) -> dict[str, Any]:
    """What is asked, and what was found before a reboot. A guest that has started anew by itself says so by its end."""
    if BEGUN.exists():
        begun: dict[str, Any] = json.loads(BEGUN.read_text())
        note("")
        return begun
    STATE.mkdir(parents=True, exist_ok=True)
    note("")
    return {**json.loads(control.readline()), "status": 0, "junit": "", "output": 0}


def note(text: str) -> None:
    """On disk when it returns: the kernel may fail at any moment."""
    BEGUN.write_text(text)
    os.sync()


def reboot(begun: dict[str, Any]) -> None:
    """As anybody's machine: every service is stopped first, this one among them."""
    note(json.dumps({**begun, "arguments": json.loads(REBOOT.read_text())}))
    REBOOT.unlink()
    REBOOTING.parent.mkdir(parents=True, exist_ok=True)
    REBOOTING.write_text(SETTINGS)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "--no-block", "reboot"], check=True)
    signal.pause()


def joined(before: str, after: str) -> str:
    """Two results of pytest as one, JUnit's XML."""
    if not (before and after):
        return before or after
    top, more = (ElementTree.fromstring(one) for one in (before, after))  # noqa: S314 (pytest has written them)
    top.extend(more)
    return ElementTree.tostring(top, encoding="unicode")


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
