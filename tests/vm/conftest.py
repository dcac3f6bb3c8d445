"""Tests of what a whole machine does: systemd is PID 1, and cgroup v2 alone is at /sys/fs/cgroup.

They run natively on such a machine, and in a guest that is one, by scripts/ci-vm. Elsewhere they are skipped, with the
reason; on CI, as every skip, that is a failure.
"""

from pathlib import Path

import pytest

from tests.host.conftest import busybox, volt  # noqa: F401, fixtures

CGROUP = Path("/sys/fs/cgroup")
CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}


def unfit():
    """What this machine lacks, as one says it; empty where the tests can run."""
    if Path("/proc/1/comm").read_text().strip() != "systemd":
        return "systemd as PID 1"
    listed = CGROUP / "cgroup.controllers"
    if not listed.exists():
        return f"cgroup v2 alone at {CGROUP}"
    missing = CONTROLLERS - set(listed.read_text().split())
    return f"the controllers {', '.join(sorted(missing))}" if missing else ""


def pytest_collection_modifyitems(items):
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    lacking = unfit()
    for item in here:
        item.add_marker("kernel")
        if lacking:
            item.add_marker(pytest.mark.skip(reason=f"this machine lacks {lacking}: scripts/ci-vm has it"))
