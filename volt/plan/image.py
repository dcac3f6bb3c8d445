"""What it takes to mount an image, and what to say where that is not there."""

from __future__ import annotations

from volt.errors import HostUnfit
from volt.model.facts import IMAGE_KERNEL, Facts

# File systems whose files the kernel takes for no image: ENOTBLK, fs/erofs/super.c.
UNFIT = ("tmpfs", "ramfs", "overlay")


def require_mountable(facts: Facts) -> None:
    """Raises HostUnfit where the workload has an image, and this machine cannot mount one."""
    image = facts.image
    if image is None or not image.there:
        return
    if facts.kernel < IMAGE_KERNEL:
        found, needed = (".".join(map(str, version)) for version in (facts.kernel, IMAGE_KERNEL))
        hint = "unpack the image and name its folder in storage.rootfs: volt image export NAME | tar -C DIR -xp"
        raise HostUnfit(f"an image as root needs Linux {needed}, and this is {found}", hint=hint)
    if image.filesystem in UNFIT:
        message = f"the store lies on {image.filesystem}, from which the kernel mounts no image: {image.file}"
        raise HostUnfit(message, hint="have volt's state on a disk: ext4, xfs, btrfs")
