"""The store: what it costs to take images in, what they take on disk and in memory, how soon they are a root; against
cp, ostree, skopeo with umoci, and podman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import mounting, peers, samples
from bench.disk import Disk, cached, said
from bench.life import timed
from bench.measure import BenchFailed, Case, once
from bench.namespaces import Namespace
from bench.network import interleaved
from bench.registry import HOST, registry, trusted
from bench.samples import FEW, FIRST, LARGE, LAYERED, MANY, SECOND, SIMILAR, Samples
from bench.world import World

PACKAGES = "ostree umoci skopeo podman docker-registry".split()
WARMING = 1  # rounds that are not counted: from then on what is read is in the page cache
LAUNCHES = 10  # rounds of launches for each round of the rest
MIB = 1 << 20
READ_ALL = ["/bin/sh", "-c", "find / -xdev -type f -exec cat {} + >/dev/null"]
MANIFEST = """\
[workload]
name = "{name}"
mode = "container"
command = {command}
{image}

[network]
mode = "none"

[storage]
{root}
writable_layer = "{layer}"
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found. `values` has those of both sides of each pair in `store_report`, by its name: milliseconds of
    commands, MiB on disk and in the page cache. `mounts` has the milliseconds of a root by how many files it has,
    `memory` the MiB of a pull at its peak, by what was pulled; `compressed` are the bytes of the large image."""

    values: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    mounts: Mapping[int, float]
    memory: Mapping[str, float]
    compressed: int


Tell = Callable[[int], None]


def measure(world: World, rounds: int, tell: Tell) -> Found:
    """Raises BenchFailed."""
    found = samples.samples()
    with ExitStack() as stack:
        disk = stack.enter_context(Disk(world.folder))
        stack.enter_context(trusted(world.folder / "etc"))
        network = stack.enter_context(Namespace())
        store = Store(world, disk, network, found)
        with registry(network, world.folder / "registry", found.layout, LAYERED):
            taken = store.take_in(rounds, tell)
            memory = {name: store.peak(name) for name in LAYERED}
        disk_values, cache_values = store.similar(), store.read()
        walls = store.launch(rounds * LAUNCHES, tell)
    peers_ = {"import": ("cp", "ostree"), "pull": ("umoci", "umoci-synced", "podman")}
    values = {f"{ours}-{one}": (taken[ours], taken[one]) for ours, theirs in peers_.items() for one in theirs}
    values |= {"disk": disk_values, "cache": cache_values, "launch": (walls["image"], walls["folder"])}
    mounts = {count: mounting.each(walls, str(count)) for count in (FEW, MANY)}
    return Found(values, mounts, memory, found.compressed(LARGE))


class Store:
    """volt and what it is compared with, on one disk; what is pulled comes over one loopback."""

    def __init__(self, world: World, disk: Disk, network: Namespace, found: Samples) -> None:
        self.disk, self.network, self.samples, self.folder = disk, network, found, world.folder
        self.state = disk.path / "volt"
        os.environ["VOLT_ROOT"] = str(self.state)
        self.environment = {**world.environment, "VOLT_ROOT": str(self.state)}

    # ── taking in

    def take_in(self, rounds: int, tell: Tell) -> dict[str, list[float]]:
        """Milliseconds, each into a store that is new."""
        actions = {
            "import": self._import,
            "cp": self._cp,
            "ostree": self._ostree,
            "pull": self._pull,
            "umoci": self._umoci,
            "umoci-synced": lambda: self._umoci(f" && sync -f {self.disk.path}"),
            "podman": self._podman,
        }
        return interleaved(actions, rounds, tell, warming=WARMING)

    def _timed(self, *words: str) -> float:
        self.disk.settle()
        return self.network.do(timed, words, self.environment).wall

    def _removed(self, path: Path, took: float) -> float:
        shutil.rmtree(path)
        return took

    def _import(self) -> float:
        root = self.samples.root(LARGE)
        return self._removed(self.state, self._timed(peers.COMMAND, "image", "import", str(root), LARGE))

    def _cp(self) -> float:
        copy = self.disk.path / "copy"
        words = f"cp -a {self.samples.root(LARGE)} {copy} && sync -f {copy}"
        return self._removed(copy, self._timed("sh", "-c", words))

    def _ostree(self) -> float:
        repo = self.disk.path / "ostree"
        said("ostree", "init", f"--repo={repo}", "--mode=bare")
        tree = f"--tree=dir={self.samples.root(LARGE)}"
        return self._removed(repo, self._timed("ostree", "commit", f"--repo={repo}", "--branch=large", tree))

    def _pull(self) -> float:
        return self._removed(self.state, self._timed(*self._pulling(LARGE)))

    def _pulling(self, name: str) -> tuple[str, ...]:
        return peers.COMMAND, "image", "pull", "--quiet", f"{HOST}/{name}:1"

    def _umoci(self, then: str = "") -> float:
        own = self.disk.path / "umoci"
        own.mkdir()
        copy = f"skopeo copy --quiet --src-tls-verify=false docker://{HOST}/{LARGE}:1 oci:{own}/layout:one"
        words = f"{copy} && umoci unpack --image {own}/layout:one {own}/bundle{then}"
        return self._removed(own, self._timed("sh", "-c", words))

    def _podman(self) -> float:
        own = self.disk.path / "podman"
        pull = ("pull", "--quiet", "--tls-verify=false", f"docker://{HOST}/{LARGE}:1")
        took = self._timed("podman", *peers.podman_folders(own), *pull)
        subprocess.run(["umount", "--quiet", own / "root/overlay"], check=False)  # it may have mounted it on itself
        return self._removed(own, took)

    def peak(self, name: str) -> float:
        """MiB that a pull has at its peak."""
        took = self.network.do(peak, self._pulling(name), self.environment)
        return self._removed(self.state, took)

    # ── what they take

    def similar(self) -> tuple[list[float], list[float]]:
        """MiB on disk of several similar images, in the store and as folders."""
        before = self.disk.used()
        for name in SIMILAR:
            self._timed(peers.COMMAND, "image", "import", str(self.samples.root(name)), name)
        ours = self.disk.used()
        copies = self.disk.path / "copies"
        copies.mkdir()
        for name in SIMILAR:
            said("cp", "--archive", str(self.samples.root(name)), str(copies))
        theirs = self.disk.used()
        shutil.rmtree(copies)
        return [(ours - before) / MIB], [(theirs - ours) / MIB]

    def read(self) -> tuple[list[float], list[float]]:
        """MiB of the page cache that reading all of a second image adds, and of the first one."""
        self.disk.forget()
        filled = []
        for name in (FIRST, SECOND):
            self._timed(peers.COMMAND, "run", str(self._manifest(name, READ_ALL, image=name)))
            filled.append(cached(self.disk.path) / MIB)
        return [filled[1] - filled[0]], [filled[0]]

    # ── launching

    def launch(self, rounds: int, tell: Tell) -> dict[str, list[float]]:
        """Milliseconds of launches by their cases: from an image and from a folder, and see `mounting`."""
        for count in (FEW, MANY):
            self._timed(peers.COMMAND, "image", "import", str(self.samples.root(str(count))), str(count))
        folder = self.disk.path / FIRST
        said("cp", "--archive", str(self.samples.root(FIRST)), str(folder))
        true = [peers.PAYLOAD]
        manifests = {
            "image": self._manifest("image", true, image=FIRST),
            "folder": self._manifest("folder", true, root=folder),
            **{
                str(count): self._manifest(str(count), mounting.PAYLOAD, image=str(count), layer="none")
                for count in (FEW, MANY)
            },
        }
        time.sleep(peers.REMEMBERED)
        actions: dict[str, Callable[[], float]] = {}
        for count in (FEW, MANY):
            actions |= mounting.actions(str(count), manifests[str(count)])
        for name in ("image", "folder"):
            argv = ("volt", "run", str(manifests[name]))
            case = Case(name, f"volt run from an {name}", peers.COMMAND, argv, environment=self.environment)
            actions[name] = partial(_wall, case)
        return interleaved(actions, rounds, tell)

    def _manifest(
        self, name: str, command: Sequence[str], *, image: str = "", root: Path | None = None, layer: str = "tmpfs"
    ) -> Path:
        path = self.folder / f"store-{name}.toml"
        words = {
            "image": f'image = "{image}"' if image else "",
            "root": f'rootfs = "{root}"' if root else "",
        }
        path.write_text(MANIFEST.format(name=f"bench-{name}", command=json.dumps(command), layer=layer, **words))
        return path


def _wall(case: Case) -> float:
    return once(case).wall


def peak(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """MiB of memory that a command has at its peak, getrusage(2); never less than this process has itself. Raises
    BenchFailed."""
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise BenchFailed(f"{' '.join(words)} ended with {code}")
    process.returncode = 0
    return usage.ru_maxrss / 1024
