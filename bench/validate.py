"""How many manifests a second are validated: different ones, by one fresh process, counted after its imports.

`python -m bench.validate CASE FILE...` is that process: it prints the milliseconds of the clock and of the processor.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import tomli

from bench.figures import Sample
from bench.measure import BenchFailed, Case
from bench.world import PATH
from volt import api
from volt.model.manifest import Manifest

COUNT = 1000
TARGET = 5000  # manifests a second, in the best round
OURS = ("validate",)
PEERS = ("tomli", "pydantic")
TITLES = {
    "validate": "volt validate: file to findings",
    "tomli": "tomli alone: file to table",
    "pydantic": "pydantic alone: table to model",
}
TOP = Path(__file__).parents[1]

# What a service's manifest has, with every number another one. {folder} is there, so that the volumes are.
MANIFEST = """\
[workload]
name = "web-{number}"
mode = "container"
description = "web server number {number}"
command = ["/usr/bin/server", "--port", "{port}", "--name", "web-{number}"]
user = "{uid}:{uid}"
env = {{ PORT = "{port}", LEVEL = "info", PEER = "${{PEER:-web-{next}}}" }}
labels = {{ tier = "front", number = "{number}" }}

[security]
read_only_rootfs = true
capabilities = ["NET_BIND_SERVICE", "SETUID", "SETGID"]

[resources]
memory_limit = "{memory}M"
cpu_weight = {weight}
pids_max = {pids}

[network]
mode = "bridge"
ports = ["{outside}:{port}", "127.0.0.1:{control}:9000/udp"]

[storage]
rootfs = "{folder}"
writable_layer = "tmpfs"
tmpfs = ["/cache:size={cache}M,mode=0700"]
volumes = [
    {{ host = "{folder}", container = "/data/{number}" }},
    {{ host = "/etc", container = "/config", readonly = true }},
]

[limits]
nofile = "{files}:{most}"

[service]
restart = "on-failure"
restart_sec = "{pause}ms"
stop_timeout = "10s"
"""


def manifest(number: int, folder: Path | str) -> str:
    """The text of one of them."""
    return MANIFEST.format(
        number=number,
        next=number + 1,
        folder=folder,
        port=8000 + number,
        outside=20000 + number,
        control=40000 + number,
        uid=1000 + number,
        memory=64 + number,
        weight=1 + number,
        pids=100 + number,
        cache=1 + number,
        files=1024 + number,
        most=65536 + number,
        pause=100 + number,
    )


def manifests(folder: Path, count: int = COUNT) -> list[str]:
    """The files of so many, written."""
    files = [folder / f"web-{number}.toml" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(manifest(number, folder))
    return [str(file) for file in files]


def cases(files: Sequence[str]) -> list[Case]:
    """Each a fresh process, without the caller's environment."""
    environment = {"PATH": PATH, "LANG": "C.UTF-8", "PYTHONPATH": str(TOP)}
    argv = (sys.executable, "-m", "bench.validate")
    return [
        Case(name, title, sys.executable, (*argv, name, *files), environment=environment)
        for name, title in TITLES.items()
    ]


def once(case: Case) -> Sample:
    """One round of one case. Raises BenchFailed."""
    done = subprocess.run(case.argv, env=case.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{case.title} ended with {done.returncode}\n{done.stderr.strip()}")
    wall, cpu = map(float, done.stdout.split())
    return Sample(wall, cpu)


def rate(milliseconds: float) -> float:
    """Manifests a second, of the time that all of them took."""
    return COUNT * 1000 / milliseconds


Work = Callable[[], object]


def validating(files: Sequence[str]) -> Work:
    for module in ("volt.host.sources", "volt.manifest"):  # else they are imported with the first manifest
        import_module(module)

    def work() -> None:
        if found := api.validate(files):
            raise SystemExit(f"{len(found)} findings, the first: {found[0]}")

    return work


def reading(files: Sequence[str]) -> Work:
    return lambda: [table(file) for file in files]


def modelling(files: Sequence[str]) -> Work:
    tables = [table(file) for file in files]
    return lambda: [Manifest.model_validate(one) for one in tables]


def table(file: str) -> Mapping[str, object]:
    return tomli.loads(Path(file).read_text())


WORK: Mapping[str, Callable[[Sequence[str]], Work]] = {
    "validate": validating,
    "tomli": reading,
    "pydantic": modelling,
}


def main(case: str, files: Sequence[str]) -> None:
    work = WORK[case](files)
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    work()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    sys.stdout.write(f"{wall / 1e6} {cpu / 1e6}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
