"""What is done with workloads at and after their end: started again, removed, cleared away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from volt.api.life import Chosen, look
from volt.errors import HostUnfit, NoSuchRun, SomeFailed, StateError, VoltError
from volt.host.folders import folders
from volt.model.run import Cleared, Removed, RunState
from volt.runs.find import find, of_name

if TYPE_CHECKING:
    from volt.model.folders import Folders


def restart(*names: str, every: bool = False, timeout: float | None = None) -> tuple[RunState, ...]:
    """Stop these runs, or every detached one that lives, as `stop` does, and launch the same again from their
    manifests, which are read anew; a run that has ended is launched again too. The new runs.

    One that a unit of systemd owns is started again by that, and so is all that requires it. A run whose manifest was
    no file, or is none any more that can be launched, is left as it is. Raises StateError,
    ManifestError, HostUnfit, LaunchError for one, SomeFailed where several were named.
    """
    from volt.api.detaching import detach
    from volt.runs.stopping import stop

    where = folders()
    chosen = Chosen(where, names, every=every)
    states = [state for state in chosen.states if state.detached or state.unit or not every]
    owned = [state for state in states if state.unit and state.lives]
    found: dict[str, Any] = _restart_units(where, owned, timeout)
    states = [state for state in states if state not in owned]
    for state in states:
        try:
            _check_again(state)
        except VoltError as error:
            found[state.id] = error
    again = [state for state in states if state.id not in found]
    found |= {
        run: error
        for run, error in stop(where, (state for state in again if state.lives), timeout).items()
        if isinstance(error, VoltError)
    }
    for state in again:
        try:
            if state.id not in found:
                run = detach(state.source["file"], **_options(state))
                found[state.id] = find(look(where), run)
        except VoltError as error:
            found[state.id] = error
    return chosen.told(found)


def _restart_units(where: Folders, states: Sequence[RunState], timeout: float | None) -> dict[str, Any]:
    """The new run of each that a unit owns, or why there is none."""
    from volt.runs.stopping import stop

    found: dict[str, Any] = {}
    for run, ended in stop(where, states, timeout, again=True).items():
        found[run] = ended
        if not isinstance(ended, VoltError):
            try:
                found[run] = find(look(where), ended.name)
            except VoltError as error:
                found[run] = error
    return found


def _check_again(state: RunState) -> None:
    """Whether it can be launched again, asked before it is stopped. Raises VoltError."""
    from volt.api import plan
    from volt.api.detaching import detached_call

    if not state.source:
        hint = "volt run --detach starts one that can be started again from anywhere"
        raise StateError(f"{state.name} runs in the foreground of its caller, whose it is to start it again", hint=hint)
    if not state.source.get("file"):
        raise StateError(
            f"{state.name} was launched from no file, which could be read again", hint="stop it, and launch it anew"
        )
    options = _options(state)
    where = {"variables": options.pop("variables"), "base": options.pop("base")}
    plan(state.source["file"], **where, call=detached_call(**options))


def _options(state: RunState) -> dict[str, Any]:
    """The options of `detach` that a run was launched with, volt/api/planning.py."""
    source = state.source
    limit = source.get("time_limit")
    return {
        "command": source.get("command", ()),
        "env": source.get("env", {}),
        "variables": source.get("set", {}),
        "base": source.get("base") or None,
        "waived": source.get("waived", ()),
        "name": source.get("name") or None,
        "labels": source.get("labels", {}),
        "rm": bool(source.get("discard")),
        "interactive": bool(source.get("interactive")),
        "terminal": bool(source.get("terminal")),
        "timeout": None if limit is None else limit / 1000,
    }


def rm(
    *names: str, every: bool = False, force: bool = False, ignore: bool = False, timeout: float | None = None
) -> tuple[Removed, ...]:
    """Remove what is kept: of a workload by its name all finished runs, their logs and its writable layer; by an id the
    record and log of that run. With `every` that of every workload which does not run and of which a run is kept: a
    layer without one is some foreground workload's, and goes by its name alone.

    One that runs is refused, or with `force` stopped first, as `stop` does. With `ignore` a name that nothing is called
    is no error. Raises StateError for one, SomeFailed where several were named, HostUnfit.
    """
    where = folders()
    if every == bool(names):
        hint = "name one or more, or give --all"
        raise VoltError("both names and --all are given" if every else "no workload is named", hint=hint)
    words: Sequence[str] = names
    if every:
        kept = look(where).runs
        words = tuple(dict.fromkeys(state.name for state in kept if force or not of_name(kept, state.name)[-1].lives))
    done: list[Removed] = []
    failed: list[tuple[str, VoltError]] = []
    for word in words:
        try:
            done.append(_remove(where, word, force=force, timeout=timeout))
        except NoSuchRun as error:
            failed += [] if ignore else [(word, error)]
        except VoltError as error:
            failed.append((word, error))
    if failed and len(words) == 1:
        raise failed[0][1]
    if failed:
        raise SomeFailed(done, failed)
    return tuple(done)


def _remove(where: Folders, word: str, *, force: bool, timeout: float | None) -> Removed:
    from volt.runs.removal import has_layer, remove_layer, remove_run

    runs = look(where)
    named = of_name(runs.runs, word)
    whole = bool(named) or has_layer(where, word)
    if not whole or any(state.id == word for state in runs.runs):
        whole, named = False, [find(runs, word)]
    if living := [state for state in named if state.lives]:
        if not force:
            raise StateError(f"{living[0].name} is running", hint="stop it first, or give --force")
        _end(where, living, timeout)
    for state in named:
        remove_run(where, state.id)
    layer = whole and remove_layer(where, word)
    return Removed(word if whole else named[0].name, tuple(state.id for state in named), layer)


def _end(where: Folders, living: Sequence[RunState], timeout: float | None) -> None:
    """Raises VoltError for one that does not end."""
    from volt.runs.stopping import stop

    for ended in stop(where, living, timeout).values():
        if isinstance(ended, VoltError):
            raise ended


def gc(*, older_than: float | None = None, dry_run: bool = False) -> Cleared:
    """Remove what crashes and reboots have left, and records and logs of runs that ended more than `older_than` seconds
    ago: by default gc.older_than of /etc/volt/config.toml, or seven days. With `dry_run` nothing is removed.

    Kept layers stay, whatever their age. Raises HostUnfit without root, VoltError for settings that are not understood.
    """
    import os

    from volt.host.settings import read_settings
    from volt.runs.rubbish import clear

    if os.geteuid() != 0:
        raise HostUnfit("clearing away needs root", hint="run it with sudo")
    age = read_settings().gc_older_than if older_than is None else int(older_than)
    return clear(folders(), age, dry=dry_run)
