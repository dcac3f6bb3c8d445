"""Changes to a launch plan as data, and the performing of what comes of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.host.conftest import Volt
from volt.api import Call
from volt.api.planning import planned
from volt.launch.handover import seal
from volt.model.binary import encode
from volt.model.plan import LaunchPlan
from volt.model.steps import Execute, Step
from volt.model.text import Text, show, text
from volt.model.values import replace

SECTIONS = ("host", "guard", "init", "payload")
VOLT_FAILED = 125
TIMEOUT = 60  # s

Wall = Callable[[LaunchPlan], LaunchPlan]
Change = Callable[[Step], Mapping[str, object]]


def each(plan: LaunchPlan, change: Callable[[Step], Sequence[Step]]) -> LaunchPlan:
    """Every step replaced by the steps that `change` gives for it."""
    sections = {name: tuple(new for step in getattr(plan, name) for new in change(step)) for name in SECTIONS}
    return replace(plan, **sections)


def dropped(plan: LaunchPlan, *kinds: type[Step]) -> LaunchPlan:
    """The plan without its steps of these kinds, of which it must have one: else nothing would be removed."""
    assert any(isinstance(step, kinds) for step in plan.steps()), f"the plan has none of {kinds}"
    return each(plan, lambda step: () if isinstance(step, kinds) else (step,))


def changed(plan: LaunchPlan, kind: type[Step], change: Change | None = None, **fields: object) -> LaunchPlan:
    """Every step of this kind with other fields; the plan must come out different."""

    def one(step: Step) -> tuple[Step]:
        return (replace(step, **(change(step) if change else fields)),) if isinstance(step, kind) else (step,)

    other = each(plan, one)
    assert other != plan, f"nothing has changed in any {kind.name}"
    return other


def nspawn(plan: LaunchPlan, words: Sequence[str] = (), env: Sequence[str] = ()) -> LaunchPlan:
    """More words and variables for systemd-nspawn."""
    *before, execute = plan.guard
    assert isinstance(execute, Execute)
    end = execute.argv.index(text("--"))
    argv = (*execute.argv[:end], *map(text, words), *execute.argv[end:])
    other = replace(execute, argv=argv, env=(*execute.env, *map(text, env)))
    return replace(plan, guard=(*before, other))


def without_word(plan: LaunchPlan, start: str) -> LaunchPlan:
    """Without the word for systemd-nspawn that starts so."""

    def left(step: Execute) -> dict[str, tuple[Text, ...]]:
        return {"argv": tuple(word for word in step.argv if not show(word).startswith(start))}

    return changed(plan, Execute, left)


def lowered(plan: LaunchPlan, taken: Sequence[Wall]) -> LaunchPlan:
    """Without each of these walls."""
    for wall in taken:
        plan = wall(plan)
    return plan


class Ended:
    """How a performed plan ended."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.status = done.returncode
        self.out, self.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    @property
    def words(self) -> list[str]:
        """What the payload said, which must have run."""
        assert self.status != VOLT_FAILED, self.err
        assert self.out, self.err
        return self.out.split()


class Attacker:
    """Launches hostile payloads: as planned, or with walls taken out of the plan."""

    def __init__(self, volt: Volt) -> None:
        self.volt = volt
        self.folder: Path = volt.folder

    def plan(self, *command: str, call: Call | None = None, **sections: Mapping[str, object]) -> LaunchPlan:
        """The plan of a fresh manifest with `command`, as Volt.manifest writes it."""
        call = replace(call or Call(), command=command)
        return planned(self.volt.manifest(**sections), None, None, call)[0]

    def perform(self, plan: LaunchPlan | bytes, *, within: Sequence[str] = (), program: str = "", **options) -> Ended:
        """The static program at work on this plan, `within` another command's words; options of subprocess.run."""
        descriptor = seal(encode(plan) if isinstance(plan, LaunchPlan) else plan)
        argv = [*within, program or str(PROGRAM), "perform", str(descriptor)]
        options = {"stdin": subprocess.DEVNULL, "env": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, **options}
        options["pass_fds"] = (descriptor, *options.get("pass_fds", ()))
        return Ended(subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False, **options))

    def start(self, plan: LaunchPlan) -> subprocess.Popen[bytes]:
        """The supervisor of this plan, with a pipe for each standard descriptor."""
        descriptor = seal(encode(plan))
        argv = [str(PROGRAM), "perform", str(descriptor)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(argv, env={}, pass_fds=(descriptor,), **pipes)

    @contextmanager
    def running(self, plan: LaunchPlan) -> Iterator[str]:
        """The first line of a payload that then waits for the end of its standard input."""
        with self.start(plan) as process:
            try:
                yield process.stdout.readline().decode()
            finally:
                process.communicate(timeout=TIMEOUT)

    def __call__(self, *command: str, without: Sequence[Wall] = (), **sections) -> Ended:
        """`command` behind every wall but these."""
        return self.perform(lowered(self.plan(*command, **sections), without))


PROGRAM = Path(__file__).parents[2] / "volt/native/volt"
