"""What holds for every test: a state folder of its own where it launches, and no silent skip on CI."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

TESTS = Path(__file__).parent
LAUNCHING = ("host", "attack", "programs", "vm")  # the folders whose tests launch containers

# Reasons, word for word, for which CI may skip a test: what no installation can mend.
OLDER = {abi: f"this kernel has no Landlock ABI {abi}" for abi in range(1, 8)}  # Debian 12's has 2
BELOW = "this systemd-nspawn leaves nothing below the root"  # from 253 on: what covers it has nothing to do
ALLOWED_SKIPS: tuple[str, ...] = (*(reason for abi, reason in OLDER.items() if abi > 2), BELOW)


def launches(path: Path) -> bool:
    """Whether the tests of this file launch containers on this machine."""
    return any(path.is_relative_to(TESTS / folder) for folder in LAUNCHING)


def pytest_configure() -> None:
    # Behind `&` of a shell script SIGINT and SIGQUIT are ignored, and behind nohup(1) SIGHUP: so they would be by all
    # that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    from hypothesis import settings

    # A shared machine makes any example slow; in somebody else's tree hypothesis keeps its examples in memory.
    folder = {} if os.access(TESTS.parent, os.W_OK) else {"database": None}
    settings.register_profile("volt", deadline=None, **folder)
    settings.load_profile("volt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if launches(item.path):
            item.add_marker(pytest.mark.skip(reason="launching containers needs root"))


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """On CI a skip is a failure, unless its reason is allowed. An expected failure is no skip."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if reason.removeprefix("Skipped: ") not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"skipped on CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.fixture
def volt_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """VOLT_ROOT: state, runs and logs of this test alone, and no mount below it survives the test.

    Not pytest's tmp_path: that lies deep, and a socket's path has 108 bytes (unix(7)).
    """
    root = Path(tempfile.mkdtemp(prefix="volt-"))
    root.chmod(0o711)
    monkeypatch.setenv("VOLT_ROOT", str(root))
    yield root
    left = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{root}/" in line]
    if not left:  # never delete through a mount
        shutil.rmtree(root)
    assert not left


@pytest.fixture(autouse=True)
def _beside_others(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test marked `alone` waits until the other workers' tests have ended, and they wait for it. Whoever comes next
    holds the turnstile, so that no stream of others keeps it waiting."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    kind = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    with (folder / "turnstile").open("w") as turnstile, (folder / "machine").open("w") as machine:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(machine, kind)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


@pytest.fixture(autouse=True)
def _own_state(request: pytest.FixtureRequest) -> None:
    if launches(request.path):
        request.getfixturevalue("volt_root")
