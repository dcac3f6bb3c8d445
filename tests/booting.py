"""What the tests of booted images share: a manifest of one that serves a page, and what its root tries."""

import json
import time
from contextlib import contextmanager

PATIENCE = 120.0  # seconds: a boot takes half a second, and ten in a guest without an accelerator
PAGE = "served by the image's own init\n"
SERVICE = """[Unit]
Description=A page
[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /srv/page 8000
"""
# Of the programs' Debian two servers want port 80: one of them is left out.
CMDLINE = "systemd.wants=page.service systemd.mask=caddy.service"
UNITS = "/etc/systemd/system"
# What root inside may try, and what has to come of it: a name → a shell's words, which end with 0 where it got through.
TRIED = {
    "sysctl of the host": "echo 1 > /proc/sys/kernel/panic",
    "sysctl, its protection taken off": "umount /proc/sys; umount /proc/sys; echo 1 > /proc/sys/kernel/panic",
    "sysrq": "umount /proc/sysrq-trigger; test ! -c /proc/sysrq-trigger && echo s > /proc/sysrq-trigger",
    "memory of the kernel": "umount /proc/kcore; head -c 4096 /proc/kcore | grep -q .",
    "a device": "mknod /tmp/sda b 8 0 || mknod /tmp/mem c 1 1",
    "a file system of devices": "mkdir -p /mnt/devices && mount -t devtmpfs none /mnt/devices",
    # Behind the filter and the capability the kernel would look at the file.
    "a module": "python3 -c 'import ctypes, errno, sys; call = ctypes.CDLL(None, use_errno=True).syscall; "
    'call(313, 0, b"", 0); sys.exit(ctypes.get_errno() in (errno.EPERM, errno.ENOSYS))\'',
    "counters of the processors": "python3 -c 'import ctypes, errno, sys; call = ctypes.CDLL(None, use_errno=True)."
    "syscall; call(298, 0, 0, -1, -1, 0); sys.exit(ctypes.get_errno() == errno.EPERM)'",
    "key rings": "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(250, 0, -3, 0) == -1)'",
    "a volume that is read-only": "mount -o remount,bind,rw /srv/page && echo x > /srv/page/index.html",
    "devices of a volume": "mount -o remount,bind,dev,suid /srv/page && "
    "! findmnt -no OPTIONS /srv/page | grep -q nodev",
    "limits of its own cgroup": "echo 1 > /sys/fs/cgroup/cgroup.max.descendants",
    "what its sessions are": 'python3 -c \'import os; os.readlink("/proc/2/exe"); open("/proc/2/mem", "r+b")\'',
}


def manifest(volt, root, **sections):
    """An image whose own service answers on port 8000, in a network of its own."""
    folder = volt.folder / "booted"
    folder.mkdir(exist_ok=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "page.service").write_text(SERVICE)
    volumes = [
        {"host": str(folder), "container": "/srv/page", "readonly": True},
        {"host": str(folder / "page.service"), "container": f"{UNITS}/page.service", "readonly": True},
    ]
    given = {
        "workload": {"mode": "hybrid-native"},
        "kernel": {"cmdline": CMDLINE},
        "storage": {"rootfs": str(root), "volumes": volumes},
        "service": {"ready": "http:8000/", "ready_timeout": f"{PATIENCE:.0f}s"},
    }
    for section, values in sections.items():
        given.setdefault(section, {}).update(values)
    return volt.manifest(**given)


@contextmanager
def serving(volt, path, *words):
    """The run of a workload that has answered a request, ended and removed afterwards."""
    started = volt("run", "-d", *words, path, timeout=PATIENCE)
    assert started.returncode == 0, (started.stderr.decode(), said(volt))
    run = started.stdout.decode().strip()
    try:
        yield run
    finally:
        stopped = volt("stop", run, timeout=PATIENCE)
        assert stopped.returncode == 0 or b"has ended" in stopped.stderr, stopped.stderr
        assert volt("rm", run).returncode == 0


def said(volt):
    """The logs of all runs of this volt's."""
    return "\n".join(path.read_text(errors="replace") for path in volt.state.glob("log/*/0.log"))


def inside(volt, run, *command, **options):
    """What a command inside prints, which has to end with 0."""
    done = volt("exec", run, "--", *command, timeout=PATIENCE, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.decode()


def settled(volt, run):
    """What systemd says of itself once it has nothing left to start."""
    return volt("exec", run, "--", "systemctl", "is-system-running", "--wait", timeout=PATIENCE).stdout.decode().strip()


def failed(volt, run):
    return inside(volt, run, "systemctl", "list-units", "--failed", "--no-legend", "--plain")


def got_through(volt, run):
    """Of what is tried, all that has an effect."""
    script = "\n".join(f"if ( {words} ) >/dev/null 2>&1; then echo '{name}'; fi" for name, words in TRIED.items())
    return inside(volt, run, "sh", "-c", script).splitlines()


def state_of(volt, run):
    """How a run stands: its document of volt inspect."""
    (found,) = json.loads(volt("inspect", run, "--json").stdout)["runs"]
    return found


def ends(volt, run, within=PATIENCE):
    """The status that a run has ended with, awaited."""
    deadline = time.monotonic() + within
    while (found := state_of(volt, run))["state"] == "running":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found["status"]
