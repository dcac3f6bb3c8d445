"""volt commit: what a workload has as its root, as an image."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.amounts import progress
from volt.cli.arriving import tell_new
from volt.cli.candidates import image_name
from volt.cli.failure import FAILED, failing
from volt.cli.image import Devices
from volt.cli.options import Json, Name

New = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE[:VERSION]",
        help="What to call the image; the version is latest by default.",
        show_default=False,
        autocompletion=image_name,
    ),
]


@failing(FAILED)
def commit(name: Name, image: New, devices: Devices = False, json_: Json = False) -> int:
    """Make an image of what the workload NAME has as its root now, and print its digest.

    Of one that runs, or of the writable layer that is kept of it. Volumes are no part of it. What the image below says
    about itself, as its command and user, is kept. `volt pause` first one that goes on writing: a file that changes
    while it is read is refused.
    """
    with progress("files", wanted=not json_) as say:
        found = api.commit(name, image, devices=devices, progress=say)
    tell_new(found, json_=json_)
    return 0
