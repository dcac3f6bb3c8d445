"""Limits where no controller can be had: refused by name, or waived and on record. tests/vm has what holds."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.conftest import CGROUPS

# A cgroup namespace whose top holds this very process: there is nothing to hand down, whatever the machine has.
# Its systemd is not seen either.
WITHOUT = """
set -e
echo $$ > {group}/cgroup.procs
exec unshare --mount --cgroup sh -ec '
    mount -t tmpfs none /run
    umount --recursive --lazy /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    exec "$@"' sh "$@"
"""
LIMITS = {"memory_limit": "64M", "pids_max": 50}


@pytest.fixture
def bare(volt):
    """`volt` in a cgroup that has no controllers to give."""
    group = CGROUPS[0] / f"bare-{os.getpid()}"
    group.mkdir()
    script = WITHOUT.format(group=group)

    def call(*words, **options):
        argv = ["sh", "-c", script, "sh", sys.executable, "-m", "volt", *map(str, words)]
        return subprocess.run(
            argv, env=volt.environment, capture_output=True, text=True, timeout=60, check=False, **options
        )

    yield call
    group.rmdir()


def test_a_limit_that_cannot_be_held_is_refused_by_name_and_line(bare, volt):
    path = volt.manifest(resources=LIMITS)
    done = bare("run", path, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    for key in LIMITS:
        line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if text.startswith(key))
        assert f"{path}:{line}:" in done.stderr
    assert done.stderr.count("[no-controller]") == len(LIMITS)
    assert "--allow-unenforced resources" in done.stderr


def test_what_is_waived_is_launched_noted_and_on_record(bare, volt):
    path = volt.manifest(resources=LIMITS)
    assert bare("run", "--allow-unenforced", "resources", path, "--", "echo", "ran").stdout == "ran\n"
    shown = bare("plan", "--allow-unenforced", "resources", path, "--", "true").stdout
    for key in LIMITS:
        assert f"note: resources.{key}: not enforced, as allowed: " in shown


def test_the_record_keeps_what_was_waived(volt):
    """On this machine as it is: what it can hold is held, and only the rest is in the record."""
    path = volt.manifest(resources=LIMITS)
    words = ("run", "--allow-unenforced", "resources", path, "--", "sh", "-c", "echo up; exec sleep 60")
    run = volt.start(*words, stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout.readline() == "up\n"
        (record,) = (json.loads(one.read_text()) for one in volt.state.glob("run/runs/*/record.json"))
        held = {key for key, file in (("memory_limit", "memory.max"), ("pids_max", "pids.max"))
                if Path(record["cgroup"], file).exists()}  # fmt: skip
        assert set(record["unenforced"]) == {f"resources.{key}" for key in LIMITS if key not in held}
    finally:
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=30)


def test_a_waiver_of_nothing_known_is_a_mistake(volt):
    done = volt("run", "--allow-unenforced", "walls", volt.manifest(), "--", "true")
    assert done.returncode == 125
    assert b"write --allow-unenforced resources" in done.stderr


def test_a_layer_in_memory_holds_as_much_as_it_may(volt):
    fill = "dd if=/dev/zero of=/var/full bs=1M count=64 2>&1; ls -s /var/full"
    bounded = volt.shell(fill, storage={"layer_size": "8M"})
    assert "No space left on device" in bounded
    assert "No space left on device" not in volt.shell(fill)


def test_a_kept_layer_cannot_be_bounded_yet(volt):
    done = volt.run("true", storage={"layer_size": "8M", "writable_layer": "overlay"})
    assert done.returncode == 125
    assert b"[no-quota]" in done.stderr
