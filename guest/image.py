"""The guest's disk: which Debian, which packages, which Python, and what starts the tests."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from guest import GuestFailed
from guest.cache import Cache
from guest.debian import bootstrap, call

TOP = Path(__file__).parents[1]
LOCK = TOP / "scripts/requirements.txt"
RECIPE = (Path(__file__), Path(__file__).with_name("debian.py"), LOCK)  # what shapes the image
TREE = "srv/volt"  # where the work tree is unpacked
INNER = "srv/inner"  # a root that tests boot
DISK, KERNEL = "root.ext4", "vmlinuz"
SIZE = "6G"  # of the disk, a sparse file

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "kmod"),  # PID 1, a system bus, kernel modules
    *("linux-image-cloud-amd64", "tiny-initramfs"),  # a kernel needs an initramfs builder: the smallest, never used
    *("python3", "systemd-container", "libseccomp2", "dnsmasq-base"),  # volt
    *("busybox-static", "strace", "gcc", "libc6-dev", "procps", "git", "perl"),  # its tests
    *("iproute2", "nftables", "e2fsprogs", "xfsprogs"),
)
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "overlay")  # loaded at boot; there is no udev to ask for them

UNIT = f"""[Unit]
Description=The tests of the work tree
After=dbus.socket
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate

[Service]
ExecStartPre=tar --extract --file=/dev/vda --directory=/{TREE}
ExecStartPre=install volt/native/volt .venv/bin/volt
ExecStart=/{TREE}/.venv/bin/python -m guest.inside
WorkingDirectory=/{TREE}
Environment=HOME=/root LANG=C.UTF-8
Delegate=yes
StandardOutput=journal+console
StandardError=journal+console
"""
VOLT_PYTHON = f"""#!/{TREE}/.venv/bin/python -P
import sys
from volt.cli.__main__ import entry
sys.exit(entry())
"""
FILES = {
    "etc/systemd/system/tests.service": UNIT,
    "etc/modules-load.d/guest.conf": "".join(f"{name}\n" for name in MODULES),
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "etc/resolv.conf": "nameserver 192.0.2.53\n",  # RFC 5737: nobody's address, where this machine's own would be
    f"{TREE}/.venv/bin/volt-python": VOLT_PYTHON,
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A release of Debian, and the version of its Python."""

    name: str
    python: str


SUITES = {suite.name: suite for suite in (Suite("trixie", "3.13"), Suite("bookworm", "3.11"))}


@dataclass(frozen=True, slots=True)
class Image:
    disk: Path
    kernel: Path


def image(suite: Suite, cache: Cache) -> Image:
    """The suite's image, built where it is missing. Raises GuestFailed."""
    folder = cache.get(f"{suite.name}-{key(suite)}", lambda new: _build(suite, new))
    return Image(folder / DISK, folder / KERNEL)


def key(suite: Suite, recipe: Iterable[Path] = RECIPE) -> str:
    """A digest of all that shapes the image; what Debian has at that moment is not asked."""
    digest = hashlib.sha256(repr(suite).encode())
    for path in recipe:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _build(suite: Suite, folder: Path) -> None:
    if platform.machine() != "x86_64":
        raise GuestFailed(
            f"guests are built on x86-64, not on {platform.machine()}: run pytest tests/vm on such a Debian"
        )
    if os.geteuid() != 0:
        raise GuestFailed(f"building the {suite.name} guest needs root, once: sudo scripts/ci-vm --suite {suite.name}")
    sys.stderr.write(f"scripts/ci-vm: building the {suite.name} guest, about a minute\n")
    root = folder / "root"
    bootstrap(suite.name, root, PACKAGES, variant="minbase")
    _install_python(suite, root)
    _settle(root)
    shutil.copy(root / "vmlinuz", folder / KERNEL)
    _add_inner(root)
    call(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, folder / DISK, SIZE])
    shutil.rmtree(root)


def _add_inner(root: Path) -> None:
    """The same Debian once more, by links to its files, to be booted inside the guest: without what the guest itself is
    there for."""
    inner = root / INNER
    kept = [path for path in root.iterdir() if path.name not in ("boot", "lost+found", "srv")]
    inner.mkdir(parents=True)
    (inner / "srv").mkdir()
    call(["cp", "--archive", "--link", *kept, inner])
    (inner / "etc/systemd/system/multi-user.target.wants/tests.service").unlink()
    (inner / "etc/modules-load.d/guest.conf").unlink()


def _install_python(suite: Suite, root: Path) -> None:
    """The locked packages in a virtual environment. pip runs here, as this machine has it set up."""
    call(["chroot", root, "python3", "-m", "venv", "--without-pip", f"/{TREE}/.venv"])
    site = f"{TREE}/.venv/lib/python{suite.python}/site-packages"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--no-deps",
    ]
    wheels = ["--require-hashes", "--only-binary=:all:", f"--python-version={suite.python}"]
    call([*pip, *wheels, f"--target={root / site}", f"--requirement={LOCK}"])
    (root / site / "volt.pth").write_text(f"/{TREE}\n")
    call(["chroot", root, "python3", "-m", "compileall", "-q", f"/{site}"])


def _settle(root: Path) -> None:
    """What a first boot would do, is done; what would wake up later, is gone."""
    for name, text in FILES.items():
        (root / name).write_text(text)
    (root / TREE / ".venv/bin/volt-python").chmod(0o755)
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    units = root / "etc/systemd/system"
    (units / "multi-user.target.wants/tests.service").symlink_to("../tests.service")
    shutil.rmtree(units / "timers.target.wants", ignore_errors=True)
    for name in ("etc", "var"):  # newer than /usr: nothing is generated again (systemd.unit(5), ConditionNeedsUpdate)
        (root / name / ".updated").touch()
