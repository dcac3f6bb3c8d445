"""Which file systems this kernel can show with other owners: idmapped mounts, one row a type."""

from __future__ import annotations

from collections.abc import Mapping

# The kernel that brought it: mount_setattr(2), and FS_ALLOW_IDMAP in the kernel's sources.
SINCE: Mapping[str, tuple[int, int]] = {
    "ext4": (5, 12),
    "xfs": (5, 12),
    "vfat": (5, 12),
    "msdos": (5, 12),
    "btrfs": (5, 15),
    "ntfs3": (5, 15),
    "f2fs": (5, 18),
    "erofs": (5, 19),
    "squashfs": (6, 2),
    "tmpfs": (6, 3),
    "ceph": (6, 7),
    "hugetlbfs": (6, 9),
}

# Types that people meet, and why no kernel's number makes them idmappable.
NEVER: Mapping[str, str] = {
    "overlay": "its layers can be idmapped, the merged mount cannot",
    "ext2": "the driver marks it only when it is mounted as ext4",
    "ext3": "the driver marks it only when it is mounted as ext4",
    "fuse": "its daemon decides, which cannot be seen from outside",
    "fuseblk": "its daemon decides, which cannot be seen from outside",
    "virtiofs": "its daemon decides, which cannot be seen from outside",
    "nfs": "owners are the server's",
    "nfs4": "owners are the server's",
    "cifs": "owners are the server's",
    "9p": "owners are the server's",
    "zfs": "its module decides, whose version the kernel's does not tell",
    "ramfs": "the kernel does not mark it; tmpfs it does",
    "devtmpfs": "the kernel's own files",
    "devpts": "the kernel's own files",
    "mqueue": "the kernel's own files",
    "proc": "the kernel's own files",
    "sysfs": "the kernel's own files",
    "cgroup2": "the kernel's own files",
}

# What can be the upper layer of an overlay: it keeps trusted.* attributes, file types and whiteouts.
UPPER = ("ext4", "xfs", "btrfs", "f2fs", "tmpfs")


def idmappable(filesystem: str, kernel: tuple[int, int]) -> bool:
    """Whether a mount of this type can be idmapped on this kernel; no for a type without a row."""
    return filesystem in SINCE and kernel >= SINCE[filesystem]


def why_not(filesystem: str, kernel: tuple[int, int]) -> str:
    """The reason in words; "" when it can."""
    if idmappable(filesystem, kernel):
        return ""
    if filesystem in SINCE:
        return "it can since Linux {}.{}".format(*SINCE[filesystem])
    return NEVER.get(filesystem, "no kernel is known to idmap it")
