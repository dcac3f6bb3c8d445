"""A world of the benchmark's own: a folder, an environment and a cgroup, and the check that nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bench.measure import BenchFailed, adopt_orphans

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOUNTINFO = Path("/proc/self/mountinfo")
PATIENCE = 5.0  # seconds until a cgroup that the last process has left can be removed
# What the peers make outside of the folders that they are given: removed where the benchmark was the first to cause it.
TRACES = ("/run/crun", "/run/netns", "/run/containers", "/dev/shm/libpod_lock")


@dataclass(frozen=True, slots=True)
class World:
    """`environment` is the whole one of every command."""

    folder: Path
    environment: dict[str, str]

    @property
    def root(self) -> Path:
        """The root file system: its name becomes that of nspawn's machine, so it is nobody else's."""
        return self.folder / f"{self.folder.name}-root"


@contextmanager
def world() -> Iterator[World]:
    """Raises BenchFailed when at the end anything is left."""
    signal.signal(signal.SIGTERM, _terminate)
    adopt_orphans()
    before = Path.cwd(), [trace for trace in TRACES if os.path.lexists(trace)]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o711)
    (folder / "home").mkdir()
    state = str(folder / "state")
    environment = {"PATH": PATH, "HOME": str(folder / "home"), "LANG": "C.UTF-8", "VOLT_ROOT": state}
    os.environ["VOLT_ROOT"] = state
    os.chdir(folder)
    try:
        with own_cgroups(folder.name):
            yield World(folder, environment)
    finally:
        os.chdir(before[0])
        for trace in {*TRACES, f"/run/systemd/nspawn/propagate/{folder.name}-root"}.difference(before[1]):
            _remove(trace)
        remove(folder)


def _terminate(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def _remove(path: str) -> None:
    """A file, or a folder that is empty."""
    with suppress(OSError):
        (Path.rmdir if Path(path).is_dir() else Path.unlink)(Path(path))


def remove(folder: Path) -> None:
    """The folder with all in it, never through a mount. Raises BenchFailed when volt or a peer has left anything."""
    mounts = [line.split()[4] for line in MOUNTINFO.read_text().splitlines() if f" {folder}/" in line]
    if mounts:
        raise BenchFailed(f"mounts are left: {' '.join(mounts)}")
    states = [folder / "crun/state", *folder.glob("state/run/*"), *folder.glob("first-*/run/*")]
    left = [str(path) for state in states if state.is_dir() for path in state.iterdir() if path.name != ".cache"]
    shutil.rmtree(folder)
    if left:
        raise BenchFailed(f"runs were left: {' '.join(left)}")


@contextmanager
def own_cgroups(name: str) -> Iterator[None]:
    """This process in new cgroups, with what systemd-nspawn leaves in them: they go at the end."""
    homes = [cgroup for cgroup in cgroups() if os.access(cgroup, os.W_OK)]
    own = [cgroup / name for cgroup in homes]
    for cgroup in own:
        cgroup.mkdir()
        (cgroup / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        for home in homes:
            (home / "cgroup.procs").write_text("0")
        left = [path for cgroup in own for path in sorted(cgroup.rglob("*/"), reverse=True)]
        for path in [*left, *own]:
            _remove_cgroup(path)
    runs = [str(path) for path in left if path.name.startswith("volt-")]
    if runs:
        raise BenchFailed(f"cgroups were left: {' '.join(runs)}")


def cgroups() -> list[Path]:
    """Where this process is: in cgroup v2, and in the hierarchy that systemd names."""
    own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    found = []
    for line in MOUNTINFO.read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, path = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        controller = "" if kind == "cgroup2" else "name=systemd" if "name=systemd" in options else None
        if kind in {"cgroup", "cgroup2"} and controller is not None and controller in own:
            found.append(Path(path, own[controller].removeprefix(root).lstrip("/")))
    return [path for path in found if path.is_dir()]


def _remove_cgroup(path: Path) -> None:
    """rmdir(2), again while the kernel still counts a process that has ended. Raises BenchFailed."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return path.rmdir()
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchFailed(f"a cgroup is left: {path}: {error.strerror}") from error
            time.sleep(0.01)
