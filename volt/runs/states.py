"""What runs and what has run, read from the records of both: quickly, since `ps` of hundreds is asked often."""

# No path objects: three hundred runs are three hundred times what is done here.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from volt.errors import StateError
from volt.model.run import LOST, RESTARTED, Outcome, Runs, RunState, State, outcome_of, read_outcome
from volt.model.values import replace
from volt.runs.claims import is_held
from volt.runs.record import Record, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from volt.model.folders import Folders

    Take = Callable[[RunState, Mapping[str, Any]], RunState]

LOCK = ".lock"
LOOKS = 4  # until who holds a lock, and is not seen to, is of another pid namespace
USUAL = 1 << 14  # bytes of a record, or of an outcome
MOST = 1 << 20
ID_LENGTH = 12
HEX = frozenset("0123456789abcdef")
READY_VERSION = 1  # of ready.json, volt/native/ready.c
RESTARTS_VERSION = 1  # of restarts.json, volt/native/restart.c
Lock = tuple[str, int | None]  # its path, and who holds it where that is known already


def is_id(name: str) -> bool:
    """Whether a name can be the id of a run."""
    return len(name) == ID_LENGTH and HEX.issuperset(name)


def look(folders: Folders) -> Runs:
    """Every run that lives, and every one that has ended and was kept, oldest first.

    Raises nothing for a record that is torn or of a newer version: that is a problem, and hides no other run. What dead
    runs left is swept first, where there is any.
    """
    found, dead = _look(folders)
    if dead:
        from volt.runs.sweep import sweep

        sweep(folders)
        found, _ = _look(folders)
    return found


def _look(folders: Folders) -> tuple[Runs, bool]:
    """What there is, and whether there is anything to sweep."""
    found: dict[str, RunState] = {}
    problems: list[str] = []
    dead = False
    for folder, run, lock in _folders(folders):
        try:
            state = None if run in found else _state(folder, run, lock)
        except StateError as error:
            problems.append(f"{error.message}; it is left as it is, see {folder}")
        except OSError as error:
            problems.append(f"run {run}: its record cannot be read: {error.strerror}; see {folder}")
        else:
            found |= {run: state} if state else {}
            dead = dead or (folder.startswith(f"{folders.run}/runs/") and not (state and state.lives))
    runs = sorted(found.values(), key=lambda state: (state.started, state.clock, state.id))
    return Runs(tuple(runs), tuple(problems)), dead


def ended_meanwhile(folders: Folders, state: RunState) -> RunState:
    """How a run ended that lived when it was looked for: of one that was not kept nothing is known any more.

    Raises StateError, OSError."""
    folder = f"{folders.run}/ended/{state.id}"
    record = read_record(folder, state.id)
    if record:
        return _ended(folder, record, *(read_end(folder, state.id) or (None, None)))
    return replace(state, state="lost", pid=0, message="it has ended meanwhile, and left no status")


def named_run(folders: Folders, name: str) -> str | None:
    """The id of the living run of that name, by its claim alone; None where nothing is sure: then `look` tells."""
    path = f"{folders.run}/names/{name}"
    if not name or "/" in name or not is_held(path):
        return None
    try:
        run = json.loads(_content(path))["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return run if isinstance(run, str) and is_id(run) else None


def read_record(folder: str, run: str) -> Record | None:
    """The record in a run's folder, None before it was written, or where a power failure left it empty.

    Raises StateError, OSError.
    """
    data = _content(f"{folder}/record.json")
    return parse_record(data, run) if data else None


def read_end(folder: str, run: str) -> tuple[Outcome, int] | None:
    """How a run ended and when, in seconds since the epoch; None where nothing says it. Raises StateError, OSError."""
    path = f"{folder}/outcome.json"
    data = _content(path)
    if not data:
        return None
    try:
        return read_outcome(data), int(os.stat(path).st_mtime)
    except ValueError as error:
        raise StateError(f"run {run}: {error}") from error


def ended(record: Record, outcome: Outcome | None, when: int | None) -> RunState:
    """A run that has ended, by its outcome; without one it is lost. Raises OSError."""
    if outcome is None:
        from volt.runs.ended import lost

        outcome = lost(record)
    unknown = outcome.message in (LOST, RESTARTED)
    state: State = "exited" if outcome.by == "payload" else "lost" if unknown else "failed"
    return _told(record, state, outcome, when)


def living(record: Record, folder: str) -> RunState:
    """A run that lives, as its cgroup and its folder have it. Raises StateError, OSError."""
    state = _with_readiness(_told(record, "running", None, None), folder)
    if is_frozen(record.cgroup):
        state = replace(state, state="paused")
    return with_restarts(state, folder)


def _ended(folder: str, record: Record, outcome: Outcome | None, when: int | None) -> RunState:
    state = _with_readiness(ended(record, outcome, when), folder)
    return with_restarts(state, folder)


def _with_readiness(state: RunState, folder: str) -> RunState:
    """How it stands with the sign that a run is watched for, as its supervisor wrote it. Raises StateError, OSError."""
    return _told_by(state, folder, "ready.json", READY_VERSION, _ready) if state.ready else state


def _ready(state: RunState, found: Mapping[str, Any]) -> RunState:
    began: State = "starting" if found["since"] is None and state.lives else state.state
    seen, waiting, reports = found["since"], found["waiting"], found["reports"]
    return replace(state, state=began, ready_since=seen, waiting=waiting, reports=reports)


def with_restarts(state: RunState, folder: str) -> RunState:
    """How often it has been started anew, and until when it waits for that, as its supervisor wrote it.
    Raises StateError, OSError."""
    return _told_by(state, folder, "restarts.json", RESTARTS_VERSION, _restarted) if state.restart else state


def _restarted(state: RunState, found: Mapping[str, Any]) -> RunState:
    state = replace(state, restarts=found["restarts"])
    if found["next"] is None or not state.lives:
        return state
    ended = outcome_of(found["last"])
    waits = replace(state, state="restarting", ready_since=None, waiting="", reports="")
    return replace(waits, next_start=found["next"], last=ended)


def _told_by(state: RunState, folder: str, name: str, version: int, take: Take) -> RunState:
    """The state with what a document of its supervisor's says, where there is one."""
    data = _content(f"{folder}/{name}")
    if not data:
        return state
    try:
        found = json.loads(data)
        if found["version"] != version:
            raise StateError(f"run {state.id}: its {name} has version {found['version']}, not {version}")
        return take(state, found)
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"run {state.id}: its {name} is torn: {error}") from error


def is_frozen(cgroup: str) -> bool:
    """Whether a cgroup has been told to freeze, Documentation/admin-guide/cgroup-v2.rst."""
    try:
        descriptor = os.open(f"{cgroup}/cgroup.freeze", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, 1) == b"1"
    except OSError:  # it has been removed meanwhile
        return False
    finally:
        os.close(descriptor)


def _state(folder: str, run: str, lock: Lock | None) -> RunState | None:
    record = read_record(folder, run)
    if record is None:
        return None
    if lock and _lives(record, *lock):
        return living(record, folder)
    end = read_end(folder, run)
    if end is None and not record.kept:
        return None
    return _ended(folder, record, *(end or (None, None)))


def _lives(record: Record, path: str, holder: int | None) -> bool:
    """A dead run's lock may be held too, for a moment: by who sweeps it, perhaps since it was looked who holds it."""
    for _ in range(LOOKS):
        if holder is not None:
            return holder == record.pid
        if not is_held(path):
            return False
        with suppress(FileNotFoundError):
            holder = _holders(path.rpartition("/")[0]).get(os.stat(path).st_ino)
    return True


def _told(record: Record, state: State, outcome: Outcome | None, when: int | None) -> RunState:
    return RunState(
        id=record.id,
        name=record.name,
        mode=record.mode,
        state=state,
        pid=0 if outcome else record.pid,
        started=record.started,
        clock=record.clock,
        ended=when,
        status=outcome.status if outcome else None,
        signal=outcome.signal if outcome else None,
        message=outcome.message if outcome else "",
        command=record.command,
        description=record.description,
        labels=record.labels,
        unenforced=record.unenforced,
        detached=record.detached,
        kept=record.kept,
        terminal=record.terminal,
        interactive=record.interactive,
        log=record.log,
        rootfs=record.rootfs,
        cgroup=record.cgroup,
        scope=record.scope,
        unit=record.unit,
        restart=record.restart,
        ready=record.ready,
        address=record.address,
        address6=record.address6,
        ports=record.ports,
        stop_signal=record.stop_signal,
        stop_timeout=record.stop_timeout,
        source=record.source,
        outcome=outcome,
    )


def _folders(folders: Folders) -> Iterator[tuple[str, str, Lock | None]]:
    """Each run's folder, its id, and its lock where there is one. Those that ended come last: one that is read as it
    ends is found there."""
    runs = f"{folders.run}/runs"
    entries, holders = _entries(runs), _holders(runs)
    for name in entries:
        if is_id(name):
            lock = f"{name}{LOCK}"
            yield f"{runs}/{name}", name, (f"{runs}/{lock}", holders.get(entries[lock])) if lock in entries else None
    for name in _entries(f"{folders.run}/ended"):
        if is_id(name):
            yield f"{folders.run}/ended/{name}", name, None


def _entries(folder: str) -> dict[str, int]:
    """What lies in a folder, with its inode; nothing for a caller who may not look."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.inode() for entry in entries}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}


def _holders(folder: str) -> dict[int, int]:
    """Who holds a lock for writing, as a run's supervisor does, by the inode of the file in the folder's file system:
    proc_locks(5). One file tells of all runs; what it leaves out, of another pid namespace, is asked for one by one.
    """
    try:
        device = os.stat(folder).st_dev
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    own = f"{os.major(device):02x}:{os.minor(device):02x}:"
    found = {}
    for line in lines:
        words = line.split()
        if len(words) == 8 and words[1] == "FLOCK" and words[3] == "WRITE" and words[5].startswith(own):
            found[int(words[5].rpartition(":")[2])] = int(words[4])
    return found


def _content(path: str) -> bytes:
    """What a file says; nothing where there is none. A link is not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        data = os.read(descriptor, USUAL)
        while len(data) >= USUAL and len(data) < MOST and (more := os.read(descriptor, MOST - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)
