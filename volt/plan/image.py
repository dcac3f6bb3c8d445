"""How an image is mounted here: as what it is, or as its tree unpacked; and what to say where neither can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from volt.errors import HostUnfit
from volt.model.facts import DATA_KERNEL, IMAGE_KERNEL, Facts
from volt.model.workload import Workload

# File systems whose files the kernel takes for no image: ENOTBLK, fs/erofs/super.c.
_ALWAYS = ("/tmp", "/run", "/dev/shm")
IN_MEMORY = ("tmpfs", "ramfs")
UNFIT = (*IN_MEMORY, "overlay")

Way = Literal["file", "loop", "unpacked"]


def image_folders(facts: Facts) -> tuple[str, ...]:
    """What its image says is there, which other tools make where it is not."""
    image = facts.image
    return tuple(filter(None, (image.workdir, *image.volumes))) if image else ()


def image_notes(workload: Workload, facts: Facts) -> tuple[str, ...]:
    """Where the image keeps data, and cannot: other tools put a volume without a name there, which nobody keeps."""
    if workload.writable or not facts.image:
        return ()
    storage = workload.storage
    there = (*(one.container for one in storage.volumes), *(one.path for one in storage.tmpfs), *_ALWAYS)
    lost = [path for path in facts.image.volumes if not any(_is_below(path, one) for one in there)]
    end = "the image keeps data there, and the root is read-only; storage.volumes or storage.tmpfs has a place for it"
    return tuple(f"{path}: {end}" for path in lost)


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def way_to_mount(kernel: tuple[int, int], filesystem: str, *, loops: Callable[[], bool]) -> Way:
    """How a kernel has an image as a root that lies on this file system: from its file, through a loop device, or as
    its tree unpacked. In memory that costs least: the owners of a tmpfs can be shown as others, those of an overlay
    cannot."""
    if mounts_images(kernel, filesystem):
        return "file"
    return "loop" if kernel >= DATA_KERNEL and filesystem not in IN_MEMORY and loops() else "unpacked"


def mounts_images(kernel: tuple[int, int], filesystem: str) -> bool:
    """Whether a kernel mounts an image from a file that lies on this file system."""
    return kernel >= IMAGE_KERNEL and filesystem not in UNFIT


def require_mountable(facts: Facts) -> None:
    """Raises HostUnfit where the workload has an image, and this machine can mount neither that nor its tree unpacked:
    a folder's owners have to be shown as others."""
    image = facts.image
    if image is None or not image.there or image.folder or image.loop:
        return
    if mounts_images(facts.kernel, image.filesystem):
        return
    kernel = ".".join(map(str, facts.kernel))
    message = (
        f"the store lies on {image.filesystem}, from which Linux {kernel} mounts no image, and which it cannot idmap"
    )
    raise HostUnfit(f"{message}: {image.file}", hint="have volt's state on a disk: ext4, xfs, btrfs")
