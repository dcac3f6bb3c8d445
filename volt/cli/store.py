"""volt store: what holds the images, looked after."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from volt import api
from volt.cli.amounts import progress, size, transfer
from volt.cli.columns import columns
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import File, Json
from volt.cli.states import document

SHORT = 12  # digits of a digest in a table

Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Fetch damaged and lost content again where it is from a registry; take damage out, so that importing the "
        "same brings the rest back; make images again.",
    ),
]
Url = Annotated[str, typer.Argument(metavar="cas://sha256:DIGEST", help="As it was printed.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Remove nothing, and say what would be.")]


@failing(FAILED)
def verify(repair: Repair = False, json_: Json = False) -> int:
    """Look at every byte of the store, and name what is not what its digest says.

    Ends with 1 where something is damaged or missing, mended or not.
    """
    with progress("objects", wanted=not json_) as say, transfer(wanted=not json_) as tell:
        found = api.verify_store(repair=repair, progress=say, transfer=tell)
    if json_:
        damage = [document(one) for one in found.damage]
        known = {"objects": found.objects, "bytes": found.bytes, "damage": damage}
        print(json.dumps({"version": 1, **known}, indent=2))
    else:
        for one in found.damage:
            mended = f"; fetched again from {one.origin}" if one.origin else "; mended" if one.mended else ""
            lacking = f"; not fetched again: {printable(one.unfetched)}" if one.unfetched else ""
            print(f"{one.kind:6}  sha256:{one.digest}: {printable(one.problem)}{mended}{lacking}")
        print(f"{found.objects} objects, {size(found.bytes)}: {len(found.damage) or 'nothing'} damaged")
    return FAILED if found.damage else 0


@failing(FAILED)
def gc(dry_run: DryRun = False, json_: Json = False) -> int:
    """Remove what no image, no kept layer and no workload that runs needs."""
    found = api.collect_store(dry_run=dry_run)
    if json_:
        print(json.dumps({"version": 1, "dry_run": dry_run, **document(found)}, indent=2))
    else:
        verb = "would be freed" if dry_run else "freed"
        print(f"{len(found.trees)} trees, {found.objects} objects, {size(found.bytes)} {verb}")
    return 0


@failing(FAILED)
def df(json_: Json = False) -> int:
    """Show what the store takes on disk, and what its images share."""
    found, names = api.store_usage(), api.images()
    if json_:
        print(json.dumps({"version": 1, **document(found), "trees": [document(one) for one in found.trees]}, indent=2))
        return 0
    called: dict[str, list[str]] = {}
    for one in names:
        called.setdefault(one.digest, []).append(one.reference if one.name else "-")
    rows = [
        (each.tree[:SHORT], size(each.bytes), size(each.own), ", ".join(called.get(each.tree, ["-"])))
        for each in found.trees
    ]
    print(columns([("DIGEST", "SIZE", "OWN", "IMAGE"), *rows], (0, 3)), end="")
    mounted = size(found.images) + (f", {size(found.unpacked)} unpacked," if found.unpacked else "")
    taken = f"{found.objects} objects: {size(found.bytes)}, and {mounted} to mount them by"
    print(f"{taken}; unused: {size(found.unused)}; free on the disk: {size(found.free)}")
    return 0


@failing(FAILED)
def add(file: File, json_: Json = False) -> int:
    """Put a manifest or a profile into the store, and print what others write to extend it, `extends =
    "cas://sha256:DIGEST"`, or to be held by it, `landlock_policy = "cas://sha256:DIGEST"`.

    A manifest may be a part of one; what it extends itself is in the store, or has an absolute path. It stays until
    `volt store rm`.
    """
    url = api.add_manifest(file)
    print(json.dumps({"version": 1, "url": url}, indent=2) if json_ else url)
    return 0


@failing(FAILED)
def ls(json_: Json = False) -> int:
    """List the manifests and profiles in the store, and where each was read from."""
    found = api.added_manifests()
    if json_:
        print(json.dumps({"version": 1, "manifests": [document(one) for one in found]}, indent=2))
    else:
        print(columns([("MANIFEST", "FROM"), *((one.url, one.source) for one in found)], (0, 1)), end="")
    return 0


@failing(FAILED)
def rm(url: Url, json_: Json = False) -> int:
    """Let a manifest or a profile go that was added: `volt store gc` frees it."""
    digest = api.remove_manifest(url)
    print(json.dumps({"version": 1, "removed": f"sha256:{digest}"}, indent=2) if json_ else f"sha256:{digest}")
    return 0
