"""How long it takes to mount an image as a root: a launch, and the same one that makes its root many times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE

from bench.measure import BenchFailed
from volt import api
from volt.api import planning
from volt.launch import handover
from volt.model.plan import LaunchPlan
from volt.model.steps import CloneMount, MakeFilesystem, Open, SetMount, Step
from volt.model.values import replace

TIMES = 40  # that the root is made besides
ONE, SEVERAL = "one", "several"
PAYLOAD = ["/bin/busybox", "echo", "here"]


def actions(name: str, manifest: Path) -> dict[str, Callable[[], float]]:
    """A launch whose root is read-only, and the same with so many roots more, by volt's own program."""
    plan, facts = planning.planned(manifest, None, None, api.Call())
    made = {ONE: plan, SEVERAL: with_roots(plan, TIMES)}
    return {f"{kind}-{name}": partial(_until_it_speaks, facts.program, each) for kind, each in made.items()}


def _until_it_speaks(program: str, plan: LaunchPlan) -> float:
    """Milliseconds until the payload writes. Raises BenchFailed where it does not."""
    begin = time.perf_counter()
    with handover.spawn(program, plan, (DEVNULL, PIPE, None), ()) as process:
        assert process.stdout is not None
        said = process.stdout.read(1)
        took = (time.perf_counter() - begin) * 1e3
        process.stdout.read()
    if not said or process.returncode:
        raise BenchFailed(f"{plan.name} ended with {process.returncode}")
    return took


def with_roots(plan: LaunchPlan, times: int) -> LaunchPlan:
    """Each step that takes part in mounting the root comes so many times more, behind its first."""
    return replace(
        plan,
        host=tuple(step for one in plan.host for step in (one, *_again(one, times))),
        guard=tuple(step for one in plan.guard for step in (one, *_again(one, times))),
    )


def _again(step: Step, times: int) -> Iterator[Step]:
    for number in range(times):
        match step:
            case MakeFilesystem(to="lower" | "merged") | Open(to="objects-folder"):
                yield replace(step, to=f"{step.to}-{number}")
            case CloneMount(to="objects"):
                yield replace(step, source=f"{step.source}-{number}", to=f"{step.to}-{number}")
            case SetMount(mount="lower" | "objects"):
                yield replace(step, mount=f"{step.mount}-{number}")
            case _:
                return


def each(walls: Mapping[str, Sequence[float]], name: str) -> float:
    """Milliseconds of each root that was made besides."""
    return (min(walls[f"{SEVERAL}-{name}"]) - min(walls[f"{ONE}-{name}"])) / TIMES
