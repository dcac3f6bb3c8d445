"""volt image: file trees that workloads have as their root, by name and version."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Literal

import typer

from volt import api
from volt.cli.amounts import size, transfer
from volt.cli.arriving import bring_in, fetch
from volt.cli.candidates import any_file, image_name
from volt.cli.columns import columns
from volt.cli.diff import LETTERS
from volt.cli.diff import document as change_document
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.naming import each, tell
from volt.cli.options import Json
from volt.cli.states import age, document
from volt.errors import VoltError

SHORT = 12  # digits of a digest in a table

Source = Annotated[
    str,
    typer.Argument(
        metavar="DIR|TAR",
        help="A folder, or a tar archive, plain or compressed with gzip, bzip2, xz or zstd; - for standard input.",
        show_default=False,
        autocompletion=any_file,
    ),
]
NewName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME[:VERSION]]",
        help="What to call it; the version is latest by default.",
        autocompletion=image_name,
    ),
]
Which = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="NAME, NAME:VERSION, sha256:DIGEST, or the beginning of a digest.",
        show_default=False,
        autocompletion=image_name,
    ),
]
Before = Annotated[
    str, typer.Argument(metavar="BEFORE", help="The image to go by.", show_default=False, autocompletion=image_name)
]
After = Annotated[
    str, typer.Argument(metavar="AFTER", help="The image to look at.", show_default=False, autocompletion=image_name)
]
Remote = Annotated[
    str,
    typer.Argument(
        metavar="[REGISTRY/]NAME[:VERSION][@sha256:DIGEST]",
        help="The version is latest by default; the digest is that of the manifest.",
        show_default=False,
        autocompletion=image_name,
    ),
]
There = Annotated[
    str,
    typer.Argument(
        metavar="[[REGISTRY/]NAME[:VERSION]]",
        help="What to call it there; its own name by default.",
        show_default=False,
        autocompletion=image_name,
    ),
]
Several = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="NAME, NAME:VERSION, sha256:DIGEST, or the beginning of a digest.",
        show_default=False,
        autocompletion=image_name,
    ),
]
Alias = Annotated[
    str,
    typer.Argument(metavar="NAME[:VERSION]", help="The further name.", show_default=False, autocompletion=image_name),
]
Target = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Where the archive goes; - for standard output.", autocompletion=any_file),
]
Form = Annotated[Literal["tar", "oci"], typer.Option("--format", metavar="tar|oci", help="What the archive holds.")]
Devices = Annotated[bool, typer.Option("--allow-devices", help="Take over devices and sockets, which are refused.")]
Inner = Annotated[str, typer.Option("--image", metavar="NAME", help="Which of the images in a layout.")]
Platform = Annotated[
    str,
    typer.Option(
        "--platform", metavar="linux/ARCH[/VARIANT]", help="For which of several processors; this machine's else."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the digests alone.")]


def import_(
    source: Source,
    name: NewName = None,
    devices: Devices = False,
    image: Inner = "",
    platform: Platform = "",
    json_: Json = False,
) -> int:
    """Bring in the file tree of a folder or of a tar archive, and print its digest.

    An OCI layout and an archive of `docker save` or `podman save` hold layers: the tree is what they come to, and what
    the image says about itself is kept with it.

    A workload has it as its root by `workload.image = "NAME:VERSION"`, or by `storage.rootfs = "cas://sha256:DIGEST"`.
    What is in the store already takes no further space. What could do harm is refused by name: devices, paths that
    lead out, attributes that speak to the kernel.
    """
    return bring_in(source, name, devices=devices, image=image, platform=platform, json_=json_)


def pull(
    image: Remote, platform: Platform = "", devices: Devices = False, quiet: Quiet = False, json_: Json = False
) -> int:
    """Fetch an image from its registry, and print its digest here.

    Every byte is compared with the digest that the image's manifest says. What an interrupted pull has fetched is not
    fetched again. Without a registry in its name the one of /etc/volt/config.toml is asked, and none else.
    """
    return fetch(image, platform=platform, devices=devices, quiet=quiet, json_=json_)


@failing(FAILED)
def push(image: Which, target: There = "", quiet: Quiet = False, json_: Json = False) -> int:
    """Send an image to a registry, and print the digest of its manifest there.

    It goes by its own name, or as the second one says; without a registry in that to the one of
    /etc/volt/config.toml. It is one layer there, whatever number it came in, and keeps what it says about itself. What
    the registry has already is not sent again.
    """
    with transfer(wanted=not (json_ or quiet)) as say:
        found = api.push_image(image, target, progress=say)
    if json_:
        print(json.dumps({"version": 1, "pushed": document(found)}, indent=2))
    else:
        print(found.manifest)
    return 0


@failing(FAILED)
def ls(quiet: Quiet = False, json_: Json = False) -> int:
    """List the images of this machine."""
    found = api.images()
    if json_:
        print(json.dumps({"version": 1, "images": [document(one) for one in found]}, indent=2))
    elif quiet:
        print("".join(f"{one.tree}\n" for one in found), end="")
    else:
        print(
            columns([("NAME", "VERSION", "DIGEST", "CREATED", "FILES", "SIZE"), *map(_row, found)], (0, 1, 2)), end=""
        )
    return 0


def _row(one: api.Image) -> tuple[str, ...]:
    when = f"{age(time.time() - one.created)} ago"
    version = one.version[: len("sha256:") + SHORT] if one.version.startswith("sha256:") else one.version
    return one.name or "-", version or "-", one.digest[:SHORT], when, str(one.files), size(one.bytes)


@failing(FAILED)
def inspect(images: Several, json_: Json = False) -> int:
    """Print all that is known of images, and who uses them."""

    def lines(one: api.Image) -> str:
        known = {**document(one), "used_by": api.image_users(one)}
        del known["signatures"]
        known["signed_by"] = api.image_signers(one) or "unsigned: no signature that the policy asks for"
        said = known.pop("config") or {}
        known |= {f"config.{key}": value for key, value in said.items() if key != "history"}
        shown = {key: value for key, value in known.items() if value not in ("", (), [], {})}
        return "".join(f"{key} = {printable(json.dumps(value, ensure_ascii=False))}\n" for key, value in shown.items())

    return tell(lambda: each(images, api.image), json_=json_, line=lines, key="images")


@failing(FAILED)
def rm(images: Several, json_: Json = False) -> int:
    """Take the names of images away.

    `volt store gc` frees what nothing needs any more then. A workload that runs keeps what it uses until it ends.
    """
    return tell(lambda: each(images, api.remove_image), json_=json_, line=_reference, key="removed")


@failing(FAILED)
def tag(image: Which, name: Alias, json_: Json = False) -> int:
    """Give an image a further name."""
    return tell(lambda: [api.tag_image(image, name)], json_=json_, line=_reference, key="images")


@failing(FAILED)
def export(image: Which, file: Target = "-", form: Form = "tar") -> int:
    """Write an image as a tar archive, which imports as the same digest.

    By the format tar it holds the files themselves, by oci an OCI layout with one layer and what the image says about
    itself, as other tools read it.
    """
    if file == "-" and sys.stdout.isatty():
        raise VoltError("an archive is nothing for a terminal", hint="give a FILE, or redirect standard output")
    api.export_image(image, file, form=form)
    return 0


@failing(FAILED)
def history(image: Which, json_: Json = False) -> int:
    """Print how an image was made: what each step did, the last one first, as the image itself says."""
    found = api.image(image)
    steps = found.config.history[::-1] if found.config else ()
    if json_:
        print(json.dumps({"version": 1, "history": [document(one) for one in steps]}, indent=2))
    elif steps:
        rows = [(one.created or "-", "no" if one.empty else "yes", printable(one.created_by) or "-") for one in steps]
        print(columns([("CREATED", "FILES", "BY"), *rows], (0, 1, 2)), end="")
    else:
        print(f"volt: {printable(found.reference)} says nothing of how it was made", file=sys.stderr)
    return 0


@failing(FAILED)
def diff(before: Before, after: After, json_: Json = False) -> int:
    """Print what has changed from one image to another: A added, C changed, D deleted. Times do not count."""
    found = api.image_changes(before, after)
    if json_:
        print(json.dumps({"version": 1, "changes": [change_document(one) for one in found]}, indent=2))
    else:
        print("".join(f"{LETTERS[one.kind]} {printable(one.path)}\n" for one in found), end="")
    return 0


def _reference(one: api.Image) -> str:
    return printable(one.reference)
