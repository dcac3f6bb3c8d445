"""Which QEMU runs the guest, and its command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from guest import GuestFailed
from guest.cache import Cache
from guest.debian import bootstrap
from guest.image import Image
from guest.inside import CONTROL, OUTPUT

PROGRAM = "qemu-system-x86_64"
OLDEST = 10  # QEMU 7.2's TCG panics the guest when it has two processors
LIBRARIES = "usr/lib/x86_64-linux-gnu"
MEMORY = 4096  # MiB
KERNEL_ARGUMENTS = (
    *("console=ttyS0", "quiet", "panic=-1"),  # after a panic it boots again, and guest.inside ends with that
    *("root=/dev/nvme0n1", "rootfstype=ext4", "rw"),
    *("cryptomgr.notests", "mitigations=off"),  # time that nothing is gained for
    "no_timer_check",  # on a busy machine an emulated timer is late, and the kernel would give up
)
# Both processors in turn in one thread: atomic operations need no real ones then, and nobody waits for a lock whose
# holder this machine does not let run. Page tables of four levels are walked faster.
# What tells the time there without these is a device, and each look at it would leave the guest.
EMULATED_KERNEL = ("tsc=reliable", "clocksource=tsc")
EMULATED = ("-accel", "tcg,thread=single", "-cpu", "max,la57=off")
SHELL = ("systemd.debug_shell=ttyS0",)


@dataclass(frozen=True, slots=True)
class Channels:
    """Descriptors of sockets that QEMU gets."""

    output: int
    control: int
    console: int


def program(cache: Cache) -> list[str]:
    """This machine's QEMU, or Debian 13's, unpacked, where that is older or missing. Raises GuestFailed."""
    own = shutil.which(PROGRAM)
    if own and _version(own) >= OLDEST:
        return [own]
    root = cache.get(f"qemu-{OLDEST}", _unpack)
    loader = [str(root / LIBRARIES / "ld-linux-x86-64.so.2"), "--library-path", str(root / LIBRARIES)]
    data = [word for name in ("qemu", "seabios") for word in ("-L", str(root / "usr/share" / name))]
    return [*loader, str(root / "usr/bin" / PROGRAM), *data]


def _version(path: str) -> int:
    """The major one; 0 where it cannot be told."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)\.", said)
    return int(found[1]) if found else 0


def _unpack(folder: Path) -> None:
    if os.geteuid() != 0:
        raise GuestFailed(f"unpacking QEMU {OLDEST} needs root, once: sudo scripts/ci-vm")
    sys.stderr.write(f"scripts/ci-vm: unpacking QEMU {OLDEST} from Debian 13\n")
    root = folder / "root"
    bootstrap("trixie", root, [PROGRAM.replace("_64", "").replace("_", "-")], variant="extract")
    for path in root.iterdir():
        path.rename(folder / path.name)
    root.rmdir()


def arguments(image: Image, tree: Path, channels: Channels, *, kvm: bool, shell: bool) -> list[str]:
    """Everything behind the program's name. With `shell` the console is this terminal, and root's."""
    kernel = KERNEL_ARGUMENTS + EMULATED_KERNEL * (not kvm) + SHELL * shell
    return [
        *(("-accel", "kvm", "-cpu", "host") if kvm else EMULATED),
        *("-machine", "q35", "-smp", "2", "-m", str(MEMORY), "-nodefaults", "-no-user-config", "-display", "none"),
        *("-kernel", str(image.kernel), "-append", " ".join(kernel)),
        *_disks(image.disk, tree),
        *("-chardev", "stdio,id=console,signal=off" if shell else f"socket,id=console,fd={channels.console}"),
        *("-serial", "chardev:console"),
        *("-device", "virtio-serial-pci"),
        *_port(OUTPUT, channels.output),
        *_port(CONTROL, channels.control),
    ]


def _disks(root: Path, tree: Path) -> list[str]:
    """The root on NVMe, built into the kernel; the tree's archive on virtio, since two of a kind may change names.

    Nothing is written back.
    """
    drive = "if=none,format=raw,snapshot=on,cache=unsafe"
    return [
        *("-drive", f"{drive},id=root,file={root}", "-drive", f"{drive},id=tree,file={tree}"),
        *("-device", "nvme,drive=root,serial=root", "-device", "virtio-blk-pci,drive=tree,serial=tree"),
    ]


def _port(name: str, descriptor: int) -> list[str]:
    return ["-chardev", f"socket,id={name},fd={descriptor}", "-device", f"virtserialport,chardev={name},name={name}"]
