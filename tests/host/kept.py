"""A run that was started detached and has ended, as its supervisor leaves it: a record, an outcome and a log."""

from __future__ import annotations

import json

RUN = "0123456789ab"
RECORD = {
    "version": 1,
    "mode": "container",
    "pid": 1,
    "clock": 1,
    "boot_id": "another",
    "cgroup": "/sys/fs/cgroup/volt-",
    "uids": 1879048192,
    "started": 1700000000,
    "detached": True,
    "kept": True,
}
OUTCOME = {"version": 1, "by": "payload", "status": 0, "signal": None, "message": "", "hint": "", "undone": True}


def line(text, stream="stdout", tag="F", at=0):
    """One line of a log, `at` seconds after a certain minute."""
    return f"2026-11-24T20:46:{at:02}.123456789Z {stream} {tag} ".encode() + text + b"\n"


def keep(state, name="web", run=RUN, log=None, ended=True, **fields):
    """Makes the run below the VOLT_ROOT `state`; `log` are the bytes of its file. The folder of its record."""
    folder = state / "run" / ("ended" if ended else "runs") / run
    folder.mkdir(parents=True)
    record = {**RECORD, "id": run, "name": name, **fields}
    (folder / "record.json").write_text(json.dumps(record))
    if ended:
        (folder / "outcome.json").write_text(json.dumps(OUTCOME))
    if log is not None:
        (state / "log" / run).mkdir(parents=True)
        (state / "log" / run / "0.log").write_bytes(log)
    return folder
