"""What the host tests share: a volt with a state of its own, a small root file system, and a check that
nothing is left when a test ends."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomli_w

from volt import api
from volt.host.mounts import mounts
from volt.host.paths import path_fact
from volt.plan.image import UNFIT

CGROUPS = [
    Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line
]

# Before a command: it does not see that systemd is PID 1, sd_booted(3).
UNSEEN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/systemd && exec "$@"', "sh")


class Volt:
    """The command line, with a state folder of this test's own."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "volt"
        self.environment = {**os.environ, "VOLT_ROOT": str(self.state)}
        self.manifests = 0

    def manifest(self, **sections):
        """A manifest file: rootfs = "host", no network, unless `sections` say otherwise."""
        self.manifests += 1
        document = {
            "workload": {"name": f"t{os.getpid()}-{self.manifests}", "mode": "container"},
            "network": {"mode": "none"},
            "storage": {"rootfs": "host", "writable_layer": "tmpfs"},
        }
        for section, values in sections.items():
            document.setdefault(section, {}).update(values)
        path = self.folder / f"m{self.manifests}.toml"
        path.write_bytes(tomli_w.dumps(document).encode())
        return path

    def command(self, arguments):
        """What is executed."""
        return [sys.executable, "-m", "volt", *map(str, arguments)]

    def __call__(self, *arguments, **options):
        """Any verb; options as for subprocess.run."""
        options = {"capture_output": True, "timeout": 60, "env": self.environment, **options}
        return subprocess.run(self.command(arguments), check=False, **options)

    def start(self, *arguments, **options):
        """Any verb, not waited for."""
        return subprocess.Popen(self.command(arguments), **{"env": self.environment, **options})

    def run(self, *command, options=(), manifest=None, call=None, **sections):
        """`volt run` of a fresh manifest with `command`."""
        path = manifest or self.manifest(**sections)
        return self("run", path, *options, "--", *command, **(call or {}))

    def shell(self, script, **kinds):
        """`volt run … -- sh -c SCRIPT`, which must end with 0; its output as text."""
        done = self.run("sh", "-c", script, **kinds)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def left(self):
        """What a finished run must not leave: mounts, run folders, claims, cgroups, processes."""
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.state) in line]
        state = [str(path) for path in self.state.glob("run/*/*")] if self.state.exists() else []
        aside = [str(path) for path in self.state.glob("state/layers/.*")] if self.state.exists() else []
        return mounts + state + aside


def cgroups():
    """Every cgroup of a run, wherever below; others may go meanwhile."""
    walks = [os.walk(root) for root in CGROUPS]
    return [f"{here}/{name}" for walk in walks for here, below, _ in walk for name in below if name.startswith("volt-")]


def without_scopes(found):
    """Of the cgroups that are found those that stay. A scope is removed by systemd, which takes its time."""
    deadline = time.monotonic() + 10
    while (left := found()) and all(path.endswith(".scope") for path in left):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def left_empty(before):
    """The new cgroups that no process is in, and that nobody removes. What others on this machine have is no concern
    of a test: they make some and remove them all the time."""
    deadline = time.monotonic() + 10
    while left := {path for path in set(cgroups()) - before if is_empty(path)}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def is_empty(cgroup):
    """By cgroup.events, Documentation/admin-guide/cgroup-v2.rst; False for one that is gone."""
    try:
        return "populated 0" in Path(cgroup, "cgroup.events").read_text().splitlines()
    except OSError:
        return False


def processes():
    """Every process of a run: the static program, in any of its roles, and nspawn."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[0].endswith(b"systemd-nspawn") or argv[:2] in (
            [b"volt", b"perform"],
            [b"/proc/self/fd/3", b"init"],
        ):
            found.append((folder.name, argv[:3]))
    return found


@contextmanager
def leaving_nothing(volt):
    """Whatever is done with this volt, nothing may be left of it."""
    before = set(cgroups())
    yield volt
    assert volt.left() == []
    assert left_empty(before) == set()


@pytest.fixture
def volt(tmp_path):
    """A volt of this test's own."""
    with leaving_nothing(Volt(tmp_path)) as one:
        yield one


@pytest.fixture
def own_runs(volt, monkeypatch):
    """This process sees the state of the test's own volt too, in which nothing runs or is kept at the end."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    yield
    api.rm(every=True, force=True, timeout=0)
    api.gc(older_than=0)


def in_memory(folder):
    """Whether a folder lies where the kernel mounts no image from."""
    return path_fact(str(folder), mounts(), (6, 12)).filesystem in UNFIT


@pytest.fixture
def disk(tmp_path):
    """A folder of this test's own that lies on a disk, wherever pytest's lies."""
    if not in_memory(tmp_path):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="volt-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory):
    """A small root file system: busybox-static, its links, and accounts."""
    root = tmp_path_factory.mktemp("busybox")
    for folder in ("bin", "etc", "usr", "srv"):
        (root / folder).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    subprocess.run(["/bin/busybox", "--install", "-s", "."], cwd=root / "bin", check=True)
    for link in (root / "bin").iterdir():
        if link.is_symlink():
            link.unlink()
            link.symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/srv:/bin/sh\nsvc:x:999:998::/srv:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\nsvc:x:998:\nextra:x:55:user\n")
    root.chmod(0o755)
    return root
