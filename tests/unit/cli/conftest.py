"""The command line as a function: arguments in; exit status, standard output and standard error out."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from volt.cli import main


class Said(NamedTuple):
    """What one call of volt gave."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which is one JSON document and nothing else."""
        assert self.err == ""
        return json.loads(self.out)


Volt = Callable[..., Said]


@pytest.fixture
def volt(tmp_path, monkeypatch, capsys) -> Volt:
    """volt(arguments…, stdin=b"…") in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUDO_UID", raising=False)

    def call(*arguments: str, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main(list(arguments))
        return Said(status, *capsys.readouterr())

    return call
