"""Runs of one workload for `volt learn`: each with a policy and a filter of its own, over a fresh layer and fresh
copies of the volumes, its output read and compared, and not kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from volt.errors import VoltError
from volt.model.facts import Call, Facts, ProfileText
from volt.model.modes import WritableLayerMode
from volt.model.run import Outcome
from volt.model.values import Value, replace

if TYPE_CHECKING:
    from volt.launch.running import Run
    from volt.model.filter import Filter
    from volt.model.plan import LaunchPlan
    from volt.model.workload import Workload
    from volt.plan.traced import Traced

LARGEST = 256 << 20  # bytes of writable volumes, which are copied for every run
TRACE = ("-f", "-y", "-qq", "-s", "0", "-e", "signal=none", "-o")
PIECE = 1 << 16
COPIES = "learn-"  # of a folder of copies, before the number of the process that made it
SHOWN = 1000  # bytes of what a failing command wrote last


class Policies(Value):
    """What a run is held by: the texts of a Landlock policy and of a seccomp profile."""

    landlock: str
    seccomp: str


class Result(Value):
    """How one run ended, a digest of what it wrote to each stream, the end of its standard error, and the seconds that
    it took."""

    outcome: Outcome
    stdout: str
    stderr: str
    said: bytes
    seconds: float


class Trials:
    """A workload that can be run again and again. A context manager: its copies of volumes go with it."""

    def __init__(self, workload: Workload, machine: Facts, call: Call) -> None:
        from volt.host.facts import probe

        Path(machine.folders.state).mkdir(mode=0o711, parents=True, exist_ok=True)
        _sweep(machine.folders.state)
        self._scratch = tempfile.mkdtemp(prefix=f"{COPIES}{os.getpid()}-", dir=machine.folders.state)
        self._copies: list[tuple[str, str]] = []
        self.runs = 0
        self._call = call
        self._filters: dict[str, Filter] = {}
        try:
            self.workload = self._apart(workload)
            self._facts = probe(self.workload, machine)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._scratch)

    def run(self, held_by: Policies, seconds: float) -> Result:
        """Once, ended after `seconds`. Raises ManifestError, HostUnfit, LaunchError."""
        return self._run(held_by, seconds, ())[0]

    def trace(self, held_by: Policies, seconds: float, tracer: str) -> tuple[Result, Traced]:
        """Once, with `tracer`, strace, looking on from outside."""
        result, traced = self._run(held_by, seconds, (tracer, *TRACE))
        if traced is None:
            raise ValueError("a traced run has a trace")
        return result, traced

    def _apart(self, workload: Workload) -> Workload:
        """The workload with a name of its own, a layer that no other run sees, and volumes that are copies."""
        storage = workload.storage
        volumes = []
        for number, volume in enumerate(storage.volumes):
            copied = not volume.readonly and (Path(volume.host).is_dir() or Path(volume.host).is_file())
            copy = f"{self._scratch}/{number}"
            self._copies += [(volume.host, copy)] if copied else []
            volumes.append(replace(volume, host=copy) if copied else volume)
        if sum(_size(path) for path, _ in self._copies) > LARGEST:
            message = f"the writable volumes hold more than {LARGEST >> 20} MiB, which every run would have to copy"
            raise VoltError(message, hint="learn from a manifest with smaller ones, or with readonly = true")
        self._renew()
        layer = WritableLayerMode.TMPFS if workload.writable else WritableLayerMode.NONE
        return replace(
            workload,
            name=f"learn-{os.getpid()}",
            hostname=workload.host_name,
            storage=replace(storage, volumes=tuple(volumes), writable_layer=layer),
        )

    def _renew(self) -> None:
        """The volumes as they were before any run, each in the same folder or file: a launch looks whether it is."""
        for path, copy in self._copies:
            if Path(path).is_dir():
                Path(copy).mkdir(exist_ok=True)
                subprocess.run(["find", copy, "-mindepth", "1", "-delete"], check=True)
                subprocess.run(["cp", "-a", "--reflink=auto", "--", f"{path}/.", copy], check=True)
            else:
                subprocess.run(["cp", "-a", "--reflink=auto", "--", path, copy], check=True)

    def _plan(self, held_by: Policies, call: Call) -> LaunchPlan:
        from volt.plan.assemble import make_plan

        facts = replace(self._facts, landlock=ProfileText("learned", held_by.landlock))
        return make_plan(self.workload, facts, call, lambda caps: self._filter(held_by.seccomp, caps))

    def _filter(self, text: str, capabilities: Sequence[str]) -> Filter:
        from volt.plan.seccomp import filter_of

        if text not in self._filters:  # most runs have that of the run before
            self._filters = {text: filter_of(text.encode(), capabilities, self._facts)}
        return self._filters[text]

    def _run(self, held_by: Policies, seconds: float, tracer: Sequence[str]) -> tuple[Result, Traced | None]:
        self._renew()
        self.runs += 1
        started = time.monotonic()
        out, err, found = _Drained(), _Drained(), list["Traced"]()
        run, lines = self._spawn(held_by, seconds, tracer)
        with run:
            readers = [_started(lambda: out.read(run.stdout)), _started(lambda: err.read(run.stderr))]
            if lines is not None:
                readers.append(_started(lambda: found.append(self._traced(lines))))
            for reader in readers:
                reader.join()
            outcome = run.wait()
        result = Result(outcome, out.digest, err.digest, err.last, time.monotonic() - started)
        return result, found[0] if found else None

    def _traced(self, lines: IO[bytes]) -> Traced:
        from volt.plan.traced import Reader

        with lines:
            return Reader(self.workload.workdir or "/").read(line.decode("latin-1") for line in lines)

    def _spawn(self, held_by: Policies, seconds: float, tracer: Sequence[str]) -> tuple[Run, IO[bytes] | None]:
        from volt.launch import handover
        from volt.launch.running import Run

        ends = [*os.pipe(), *os.pipe(), *(os.pipe() if tracer else ())]
        report, report_write, lifeline_read, lifeline, *trace = ends
        try:
            limit = max(1, int(seconds * 1000))
            call = replace(self._call, time_limit=limit, report=report_write, lifeline=lifeline_read)
            plan = self._plan(held_by, call)
            streams = (subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE)
            theirs = [report_write, lifeline_read, *trace[1:]]
            words = (*tracer, f"/proc/self/fd/{trace[1]}") if trace else ()
            process = handover.spawn(self._facts.program, plan, streams, theirs, tracer=words)
        except BaseException:
            _close(ends)
            raise
        _close(theirs)
        return Run(plan.name, process, report, lifeline), os.fdopen(trace[0], "rb") if trace else None


class _Drained:
    """A stream read to its end: a digest of it, and its last bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.last = b""

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def read(self, stream: IO[bytes] | None) -> None:
        while stream and (piece := os.read(stream.fileno(), PIECE)):
            self._hash.update(piece)
            self.last = (self.last + piece)[-SHOWN:]


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _sweep(state: str) -> None:
    """Remove the copies that a learner left which was killed."""
    for folder in Path(state).glob(f"{COPIES}*-*"):
        if not Path(f"/proc/{folder.name.removeprefix(COPIES).partition('-')[0]}").exists():
            subprocess.run(["rm", "-rf", "--", str(folder)], check=True)


def _size(path: str) -> int:
    """Bytes of all regular files below a path."""
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())
