"""What a word of the command line can be, for completion: each function takes the word's beginning and gives
(word, what it is) for everything that it may become. A shell waits for them: no pydantic, no rich."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from volt.errors import VoltError

Candidates = list[tuple[str, str]]

STATES = ("running", "paused", "restarting", "exited", "failed", "lost")
MODES = ("container", "hybrid-native", "hybrid-kvm", "hybrid-emulated")
# Keys of --filter, each with the values that it is known to have.
FILTERS: dict[str, tuple[str, ...]] = {"label": (), "mode": MODES, "name": (), "state": STATES}


def every_name(incomplete: str) -> Candidates:
    """Names of workloads, running or finished; the ids of their runs once one is begun."""
    return _names(incomplete, living=(True, False))


def living_name(incomplete: str) -> Candidates:
    """Names of workloads that run."""
    return _names(incomplete, living=(True,))


def finished_name(incomplete: str) -> Candidates:
    """Names of workloads that have run, and are kept."""
    return _names(incomplete, living=(False,))


def manifest(incomplete: str) -> Candidates:
    """Manifests, and folders that may hold some."""
    return [(path, "") for path in _paths(incomplete) if path.endswith(("/", ".toml"))]


def any_file(incomplete: str) -> Candidates:
    """Files and folders."""
    return [(path, "") for path in _paths(incomplete)]


def signal_name(incomplete: str) -> Candidates:
    """Signals, with or without SIG before the name, in the writing that was begun."""
    import signal

    prefix = "SIG" if incomplete.upper().startswith("SIG") else ""
    named = ((one.name.removeprefix("SIG"), one) for one in signal.Signals)
    words = ((f"{prefix}{name}", _described(one)) for name, one in named)
    return _begun(words, incomplete.upper())


def _described(one: int) -> str:
    import signal

    return f"{int(one)}: {signal.strsignal(one) or ''}".rstrip(": ")


def filter_word(incomplete: str) -> Candidates:
    """KEY=VALUE of --filter."""
    key, equals, value = incomplete.partition("=")
    if not equals:
        return _begun(((f"{one}=", "") for one in FILTERS), incomplete)
    if key == "name":
        return [(f"name={word}", about) for word, about in every_name(value)]
    return _begun(((f"{key}={word}", "") for word in FILTERS.get(key, ())), incomplete)


def name_or_path(incomplete: str) -> Candidates:
    """One end of a copy: a file here, or NAME: and a path inside, which nobody completes from outside."""
    found = _begun(((f"{name}:", about) for name, about in living_name("")), incomplete)
    return found + any_file(incomplete)


def _names(incomplete: str, living: Iterable[bool]) -> Candidates:
    from volt.api.naming import known_runs

    try:
        known = sorted(known_runs(), key=lambda run: (run.name, run.id))
    except VoltError:
        return []
    runs = [run for run in known if run.lives in living and run.name.isprintable()]
    about: dict[str, str] = {}
    for run in runs:
        if about.get(run.name) != "running":
            about[run.name] = "running" if run.lives else "finished"
    found = _begun(about.items(), incomplete)
    return found or _begun(((run.id, run.name) for run in runs), incomplete) if incomplete else found


def _begun(words: Iterable[tuple[str, str]], incomplete: str) -> Candidates:
    return [(word, about) for word, about in words if word.startswith(incomplete)]


def _paths(incomplete: str) -> Iterator[str]:
    """What lies in the folder of a path that was begun, folders with a slash behind; hidden ones once a dot is
    written, and nothing that a terminal would obey."""
    above, name = incomplete.rpartition("/")[0::2]
    shown = above + "/" if "/" in incomplete else ""
    try:
        with os.scandir(Path(shown or ".").expanduser()) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except (OSError, RuntimeError):
        return
    for entry, folder in found:
        if entry.startswith(name) and entry.isprintable() and (name or not entry.startswith(".")):
            yield f"{shown}{entry}{'/' * folder}"


def image_name(incomplete: str) -> Candidates:
    """Images by name and version; their digests once one is begun."""
    from volt.api.imaging import images

    try:
        known = images()
    except VoltError:
        return []
    found = _begun(((one.reference, one.digest[:12]) for one in known if one.name), incomplete)
    return found or _begun(((one.tree, one.reference) for one in known), incomplete)


def network_name(incomplete: str) -> Candidates:
    """Networks of this machine, the default one too."""
    return [*_begun((("bridge", "the default one"),), incomplete), *own_network(incomplete)]


def own_network(incomplete: str) -> Candidates:
    """Networks that are defined here."""
    from volt.api.networking import network_names

    return _begun(((name, "") for name in network_names()), incomplete)
