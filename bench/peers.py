"""What is measured: the same /bin/true of the same small root file system, started by each launcher."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measure import BenchFailed, Case
from bench.world import World
from volt import api
from volt.api import planning
from volt.host.watch import FRESH
from volt.launch import handover
from volt.model.binary import encode

OURS = ("volt", "python", "first", "later", "performer")
PEERS = ("nspawn", "crun", "podman", "bwrap", "open")
FLOORS = ("python-alone", "python-bare")  # nothing that begins in Python can be faster
PROFILE = "/usr/share/containers/seccomp.json"
PACKAGES = "systemd-container crun podman conmon bubblewrap libseccomp2 golang-github-containers-common".split()
PAYLOAD = "/bin/true"
COMMAND = str(Path(sys.prefix, "bin/volt"))
REMEMBERED = 1.5 * FRESH / 1e9  # seconds until the plan cache may depend on what has just been made

MANIFEST = """\
[workload]
name = "bench"
mode = "container"
command = ["{payload}"]

[network]
mode = "none"

[storage]
rootfs = "{root}"
writable_layer = "tmpfs"
"""
# The same launch without Landlock and with a filter that permits everything: what these two walls cost.
OPEN = """
[security]
landlock_profile = "custom"
landlock_policy = "open.landlock.toml"
seccomp_profile = "./open.seccomp.toml"
"""
OPEN_FILES = {
    "open.landlock.toml": 'description = "Withholds nothing"\nabi = 1\n',
    "open.seccomp.toml": """\
format = 1
name = "open"
description = "Permits everything"
unlisted = "permit"
compat = "filter"
[[permit]]
reason = "The form asks for one"
calls = "read"
""",
}
# Debian's name of an architecture, which the profile's rules are for → the kernel's, which its table begins with.
ARCHITECTURES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}


def cases(world: World) -> list[Case]:
    """Every case, with what it needs in place. Raises BenchFailed when a program is missing."""
    file = manifest(world)
    return [*ours(world, file), *peers(world, world.root), *floors(world)]


def manifest(world: World) -> Path:
    """The manifest's file, with the root file system that it names."""
    root_file_system(world.root)
    path = world.folder / "bench.toml"
    text = MANIFEST.format(payload=PAYLOAD, root=world.root)
    path.write_text(text)
    files = {"open.toml": text + OPEN, **OPEN_FILES}
    for name, content in files.items():
        (world.folder / name).write_text(content)
    time.sleep(REMEMBERED)
    return path


def ours(world: World, manifest: Path) -> Iterator[Case]:
    command, python = COMMAND, sys.executable
    environment = world.environment
    run = ("run", str(manifest))
    yield Case("volt", "volt run", command, ("volt", *run), environment=environment)
    yield Case("python", "python -m volt run", python, (python, "-m", "volt", *run), environment=environment)
    yield Case("first", "volt run, new VOLT_ROOT", command, ("volt", *run), first=True, environment=environment)
    yield Case("later", "volt run, new words", command, ("volt", *run), later=True, environment=environment)
    plan, facts = planning.planned(manifest, None, None, api.Call())
    sealed = handover.seal(encode(plan))
    argv = ("volt", "perform", str(sealed))
    yield Case("performer", "volt's program, plan given", facts.program, argv, plan=sealed)


def floors(world: World) -> Iterator[Case]:
    for name, options in zip(FLOORS, ((), ("-I", "-S")), strict=True):
        title = " ".join(("python", *options, "-c pass"))
        argv = (sys.executable, *options, "-c", "pass")
        yield Case(name, title, sys.executable, argv, environment=world.environment)


def peers(world: World, root: Path) -> Iterator[Case]:
    bundle = world.folder / "crun"
    crun_bundle(bundle, root, world.environment)
    commands = {
        "nspawn": ("systemd-nspawn", "--register=no", "--keep-unit", "-D", str(root), PAYLOAD),
        "crun": ("crun", "--root", f"{bundle}/state", *CRUN, "--bundle", str(bundle), "bench"),
        "podman": ("podman", *podman_folders(world.folder / "podman"), *PODMAN, "--rootfs", str(root), PAYLOAD),
        "bwrap": ("bwrap", *BWRAP, "--bind", str(root), "/", *BWRAP_FOLDERS, PAYLOAD),
    }
    for name, argv in commands.items():
        program = find_program(argv[0], world.environment)
        covered = name in {"crun", "podman"}
        yield Case(name, TITLES[name], program, argv, covered=covered, environment=world.environment)
    argv = ("volt", "run", str(world.folder / "open.toml"))
    yield Case("open", TITLES["open"], COMMAND, argv, environment=world.environment)


TITLES = {
    "nspawn": "systemd-nspawn -D",
    "crun": "crun, podman's seccomp profile",
    "podman": "podman run --network none",
    "bwrap": "bwrap --unshare-all",
    "open": "volt run, walls open",
}
CRUN = ("--cgroup-manager=disabled", "run")
# Without limits podman sets its own, which may exceed what this machine allows.
PODMAN = (
    "run",
    "--rm",
    "--network=none",
    "--cgroups=disabled",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
)
BWRAP = ("--unshare-all",)
BWRAP_FOLDERS = ("--proc", "/proc", "--dev", "/dev")


def podman_folders(folder: Path) -> list[str]:
    """State of its own: nothing of the machine's podman is used or changed."""
    places = {"root": "root", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "net"}
    return [f"--{option}={folder / name}" for option, name in places.items()]


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """Raises BenchFailed."""
    found = shutil.which(name, path=environment["PATH"])
    if not found:
        raise BenchFailed(f"{name} is not installed; scripts/bench installs it")
    return found


def root_file_system(root: Path) -> None:
    """busybox-static, one link to it, and the folders that a launcher mounts on or looks at."""
    for folder in "bin dev etc proc run sys tmp usr var".split():
        (root / folder).mkdir(parents=True)
    root.chmod(0o755)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / PAYLOAD[1:]).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/true\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/os-release").write_text("ID=bench\n")


def crun_bundle(bundle: Path, root: Path, environment: Mapping[str, str]) -> None:
    """crun's own example configuration, without cgroups and a terminal, with podman's filter. Raises BenchFailed."""
    bundle.mkdir()
    crun = find_program("crun", environment)
    subprocess.run([crun, "spec"], cwd=bundle, env=environment, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"].update(terminal=False, args=[PAYLOAD])
    config["root"]["path"] = str(root)
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "cgroup"]
    inner = config["linux"]
    inner.pop("resources", None)
    inner["namespaces"] = [space for space in inner["namespaces"] if space["type"] != "cgroup"]
    inner["seccomp"] = seccomp(json.loads(Path(PROFILE).read_text()), platform.machine(), podmans_capabilities(config))
    path.write_text(json.dumps(config))


def podmans_capabilities(config: Mapping[str, Any]) -> set[str]:
    return set(config["process"]["capabilities"]["bounding"])


def seccomp(profile: Mapping[str, Any], machine: str, capabilities: set[str]) -> dict[str, Any]:
    """podman's profile as a configuration's linux.seccomp, as podman itself converts it for these capabilities."""
    debian, native = ARCHITECTURES[machine]
    others = {entry["architecture"]: entry["subArchitectures"] for entry in profile["archMap"]}
    rules = [rule for rule in profile["syscalls"] if _applies(rule, debian, capabilities)]
    converted: dict[str, Any] = {
        "defaultAction": profile["defaultAction"],
        "architectures": [native, *others.get(native, [])],
        "syscalls": [_rule(rule) for rule in rules],
    }
    if "defaultErrnoRet" in profile:
        converted["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return converted


def _applies(rule: Mapping[str, Any], architecture: str, capabilities: set[str]) -> bool:
    """Whether all that a rule includes is there, and nothing that it excludes."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    wanted = set(includes.get("caps", [])) <= capabilities and architecture in includes.get("arches", [architecture])
    unwanted = set(excludes.get("caps", [])) & capabilities or architecture in excludes.get("arches", [])
    return wanted and not unwanted


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"names": rule["names"], "action": rule["action"], "args": rule.get("args") or []}
    return kept | ({"errnoRet": rule["errnoRet"]} if "errnoRet" in rule else {})


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The Debian packages that take part, with their versions."""
    show = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *packages]
    listed = subprocess.run(show, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    found = dict(line.split(" ", 1) for line in listed.stdout.splitlines() if not line.endswith(" "))
    return {"volt": f"{version_of_volt()} on Python {platform.python_version()}", **found}


def version_of_volt() -> str:
    import volt

    return volt.__version__
