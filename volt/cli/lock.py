"""volt lock: a manifest that means one image for good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.options import File, Variables
from volt.cli.words import pairs
from volt.errors import VoltError

Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="LOCKED", help="Where it goes; standard output else.")
]


@failing(FAILED)
def lock(file: File, set_: Variables = None, output: Output = None) -> int:
    """Print the workload that FILE comes to, with its image by the digest of what is in it.

    What is printed is a manifest that stands by itself, and means the same when the image's name means another one.
    """
    text = api.lock(file, variables=pairs(set_, "--set")).text()
    if output is None:
        print(text, end="")
        return 0
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise VoltError(f"{output} cannot be written: {error.strerror}") from error
    return 0
