"""A manifest as the one that it comes to: whole, by itself, and with its image by digest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from volt.api.planning import Source, resolved
from volt.errors import HostUnfit, ManifestError, NoSuchImage, StoreError
from volt.images.defaults import filled
from volt.images.records import HINT
from volt.images.reference import URL
from volt.manifest import Shown
from volt.manifest import show as as_manifest
from volt.model.findings import Place
from volt.model.values import replace
from volt.store.place import PREFIX

_IMAGE = "image "  # where a value is from that an image gives

if TYPE_CHECKING:
    from volt.manifest import Resolved


def show(manifest: Source, *, variables: Mapping[str, str] | None = None, base: str | Path | None = None) -> Shown:
    """The workload as a manifest that stands by itself, with the place of each value: its image by the digest of the
    tree, and with what that says of how it is run, where it is there. Raises ManifestError, StoreError; HostUnfit
    without root, where it names an image."""
    return as_manifest(_pinned(_whole(manifest, variables, base)))


def lock(manifest: Source, *, variables: Mapping[str, str] | None = None, base: str | Path | None = None) -> Shown:
    """The same, for keeping: it means one tree for good. Raises ManifestError, NoSuchImage where its image is not
    there, StoreError, HostUnfit without root."""
    pinned = _pinned(_whole(manifest, variables, base))
    if (
        pinned.workload
        and pinned.workload.env_file
        and any(key.startswith("workload.env.") for key in _of_image(pinned))
    ):
        what = "what the image sets comes before the env_file, which no manifest can say"
        raise StoreError(what, hint="write into [workload.env] what has to hold, and lock that")
    if pinned.workload and pinned.workload.image:
        raise NoSuchImage(f"there is no image {pinned.workload.image}", hint=HINT)
    return as_manifest(pinned)


def _of_image(read: Resolved) -> list[str]:
    return [key for key, place in read.origins.items() if place.file.startswith(_IMAGE)]


def _whole(manifest: Source, variables: Mapping[str, str] | None, base: str | Path | None) -> Resolved:
    read = resolved(manifest, variables, base, None)
    if read.workload is None:
        raise ManifestError(read.findings)
    return read


def _pinned(read: Resolved) -> Resolved:
    """The manifest as `pin` makes its workload, with the image's variables too; each value that the image gives has
    it for its place. Where the image is not there, it stays as it is. Raises StoreError, HostUnfit without root."""
    from volt.api.pinning import by_name
    from volt.host.folders import folders

    workload = read.workload
    if workload is None or not workload.image or workload.storage.rootfs:
        return read
    if os.geteuid() != 0:
        raise HostUnfit("images are root's alone", hint="run it with sudo")
    found, config = by_name(workload.image, folders().state, None)
    if not found.there:
        return read
    made, keys = filled(workload, config) if config else (workload, ())
    env = dict(one.split("=", 1) for one in (config.env if config else ()) if one.find("=") > 0)
    keys += tuple(f"workload.env.{name}" for name in env if name not in workload.env)
    root = f"{URL}{PREFIX}{found.digest}"
    made = replace(made, image=None, storage=replace(made.storage, rootfs=root), env={**env, **workload.env})
    place = Place(f"{_IMAGE}{workload.image}")
    origins = {**read.origins, **dict.fromkeys(("storage.rootfs", *keys), place)}
    return replace(read, workload=made, origins=origins)
