"""volt push and pull: manifests and profiles in registries."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.options import File, Json
from volt.cli.states import document

There = Annotated[
    str,
    typer.Argument(
        metavar="[REGISTRY/]NAME[:VERSION]",
        help="What to call it there; the version is latest by default.",
        show_default=False,
    ),
]
Remote = Annotated[
    str,
    typer.Argument(
        metavar="[REGISTRY/]NAME[:VERSION][@sha256:DIGEST]",
        help="What it is called there; the digest is what push has printed.",
        show_default=False,
    ),
]


@failing(FAILED)
def push(file: File, target: There, json_: Json = False) -> int:
    """Send a manifest or a profile to a registry, and print the digest by which it is known there.

    A profile is a Landlock policy or a seccomp profile. It goes as an artifact, as it is written: what a manifest
    extends, and the files that it names, do not go with it. For images there is `volt image push`.
    """
    found = api.push_manifest(file, target)
    print(json.dumps({"version": 1, "pushed": document(found)}, indent=2) if json_ else found.manifest)
    return 0


@failing(FAILED)
def pull(source: Remote, json_: Json = False) -> int:
    """Have a manifest or a profile from a registry in the store, and print what others write to extend it, `extends =
    "cas://sha256:DIGEST"`, or to be held by it, `seccomp_profile = "cas://sha256:DIGEST"`.

    Every byte is checked. It stays until `volt store rm`. For images there is `volt image pull`.
    """
    url = api.pull_manifest(source)
    print(json.dumps({"version": 1, "url": url}, indent=2) if json_ else url)
    return 0
