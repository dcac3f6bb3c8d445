"""What `volt image import` and `volt image pull` do once their words are read, and plain words: without typer, which
takes as long as a small image."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from volt import api
from volt.cli.amounts import progress, transfer
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.states import document
from volt.model.values import Value


class Import(Value):
    """What `volt image import` was asked for in plain words."""

    source: str
    name: str | None = None


class Pull(Value):
    """The same of `volt image pull`."""

    image: str
    quiet: bool = False


def plain(words: Sequence[str]) -> int | None:
    """The exit status of `image` with these words; None for what is left to typer, mistakes above all."""
    match read_image(words):
        case Import(source, name):
            return bring_in(source, name, json_=False)
        case Pull(image, quiet):
            return fetch(image, quiet=quiet, json_=False)
    return None


def read_image(words: Sequence[str]) -> Import | Pull | None:
    """`image import SOURCE [NAME]` or `image pull [--quiet] IMAGE`; None for anything else."""
    match words[1:]:
        case ["import", *given] if 1 <= len(given) <= 2 and all(map(_is_plain, given)):
            return Import(*given)
        case ["pull", "--quiet" | "-q", given] if _is_plain(given):
            return Pull(given, quiet=True)
        case ["pull", given] if _is_plain(given):
            return Pull(given)
    return None


def _is_plain(word: str) -> bool:
    return word == "-" or not word.startswith("-")


@failing(FAILED)
def bring_in(
    source: str, name: str | None = None, *, devices: bool = False, image: str = "", platform: str = "", json_: bool
) -> int:
    """Import, and print what came of it."""
    with progress("files", wanted=not json_) as say:
        found = api.import_image(source, name, devices=devices, image=image, platform=platform, progress=say)
    tell_new(found, json_=json_)
    return 0


@failing(FAILED)
def fetch(image: str, *, platform: str = "", devices: bool = False, quiet: bool = False, json_: bool) -> int:
    """Pull, and print what came of it."""
    with transfer(wanted=not (json_ or quiet)) as say:
        found = api.pull_image(image, platform=platform, devices=devices, progress=say)
    if not found.signatures and not quiet:
        print(
            f"volt: {printable(found.reference)} is unsigned: the policy asks for no signature of it", file=sys.stderr
        )
    _tell(found, json_=json_)
    return 0


def tell_new(found: api.Image, *, json_: bool) -> None:
    """An image that was made of files, and what of them is not in it."""
    for attribute, count in () if json_ else found.left_out.items():
        print(f"volt: {printable(attribute)} of {count} files was not taken over", file=sys.stderr)
    _tell(found, json_=json_)


def _tell(found: api.Image, *, json_: bool) -> None:
    print(json.dumps({"version": 1, "image": document(found)}, indent=2) if json_ else found.tree)
