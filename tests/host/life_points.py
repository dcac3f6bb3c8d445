"""The kill-test harness for what is done with a workload that runs: a verb is killed, and the workload is looked at.

The verb alone is traced, with all that it starts; the workload is nobody's child. A later verb is one more line of
LIFE. Its words are what follows `volt`; {name} in them is the workload. `before` brings about what the verb finds,
`then` is the states that `ps -a` may tell afterwards, `again` what the same verb may say when it is called once more.
"""

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.host.living import until
from tests.host.points import FRESH, LEAVES, STAYS, Kill, Stage, Verb
from tests.host.test_kill import descendants, gone, start_time
from volt import api
from volt.api.looking import looked
from volt.errors import StateError
from volt.host.facts import folders
from volt.runs.processes import tree_of

OUTCOMES = {"exited", "failed", "lost"}


@dataclass(frozen=True)
class LifeVerb:
    name: str
    words: tuple[str, ...]
    then: frozenset[str]
    before: Callable
    again: str = "^$"  # what it may complain of once more
    status: int = 0
    detached: bool = False  # whether it launches
    whole: tuple[str, str] = ("", "")  # the second is the first as a whole, or is not there
    like: str = ""  # another verb, whose points are not tried again in an ordinary run
    program: tuple[str, ...] = ()


def run(stage):
    """A workload that runs, and has said so."""
    stage.values(STAYS)
    stage.run = api.detach(stage.paths["subject"])
    until(stage.is_up, "the workload")


def pause(stage):
    run(stage)
    api.pause(stage.run)


def end(stage):
    """One that has ended, with a record, an outcome, a log and a layer."""
    run(stage)
    api.stop(stage.run)


def lose(stage):
    """One whose supervisor was killed: all that it had is left."""
    run(stage)
    pid = tree_of(looked(folders(), stage.run).record).supervisor
    family = [(one, start_time(one)) for one in descendants(pid)]
    os.kill(pid, signal.SIGKILL)
    assert gone(family) == []


def litter(stage):
    """What time and crashes leave: one that has ended, one that is lost, a log without a record, a layer set aside."""
    end(stage)
    lose(stage)
    for folder in ("log/aaaaaaaaaaa1", "state/layers/.old-aaaaaaaaaaa2/upper", "run/ended/.old-aaaaaaaaaaa3"):
        (stage.volt.state / folder).mkdir(parents=True, exist_ok=True)


def states(*names):
    return frozenset(names)


ENDING = states("running", "exited")
RUNS = states("running")
GONE = "no workload called"
ONE = "{name}"
LIFE = (
    LifeVerb("stop", ("stop", ONE), ENDING, run),
    LifeVerb("stop-at-once", ("stop", "--timeout", "0", ONE), ENDING, run),
    LifeVerb("stop-paused", ("stop", ONE), ENDING | {"paused"}, pause),
    LifeVerb("kill", ("kill", ONE), ENDING, run, again="has ended"),
    LifeVerb("kill-paused", ("kill", ONE), ENDING | {"paused"}, pause, again="has ended"),
    LifeVerb("pause", ("pause", ONE), states("running", "paused"), run, again="is paused already"),
    LifeVerb("unpause", ("unpause", ONE), states("running", "paused"), pause, again="is not paused"),
    LifeVerb("restart", ("restart", ONE), ENDING, run, detached=True),
    LifeVerb("rm", ("rm", ONE), states("exited"), end, again=GONE),
    LifeVerb("rm-force", ("rm", "--force", ONE), ENDING, run, again=GONE, like="rm"),
    LifeVerb("gc", ("gc", "--older-than", "0"), OUTCOMES, litter, like="rm"),
    LifeVerb("sweep", ("ps", "-a"), states("lost"), lose, like="rm"),
    LifeVerb("exec", ("exec", ONE, "--", "sh", "-c", "sleep $0; exit 7", "{seconds}"), RUNS, run, status=7),
    LifeVerb("cp-out", ("cp", "{name}:/srv/up", "{out}"), RUNS, run, whole=("upper", "out")),
    LifeVerb("cp-in", ("cp", "{given}", "{name}:/srv/in"), RUNS, run, whole=("given", "in")),
)
# What a launch does while its launcher waits: a call of each is enough.
WAITED_FOR = {"clone3", "execve", "linkat", "rename", "write"}
# They change nothing outside their process, so there is no point to be killed at.
LOOKING = (
    ("ps",),
    ("ps", "-a", "--json"),
    ("inspect", ONE),
    ("logs", ONE),
    ("top", ONE),
    ("stats", "--no-stream"),
    ("diff", ONE),
    ("wait", "--timeout", "0", ONE),
)


class LifeStage(Stage):
    """A stage with one workload more: it has a kept layer, says that it is up, and stays as long as STAY says."""

    def __init__(self, folder, busybox, injector):
        super().__init__(folder, busybox, injector)
        self.name = f"life{os.getpid()}"
        script = "echo up; echo up >> /srv/up; sleep $STAY & trap 'kill $!' TERM; wait"
        self.paths["subject"] = self.volt.manifest(
            workload={"name": self.name, "env_file": str(folder / "values"), "command": ["/bin/sh", "-c", script]},
            storage={"rootfs": str(folder / "root"), "writable_layer": "overlay"},
        )
        layer = self.volt.state / "state/layers" / self.name / "upper/srv"
        self.paths |= {"name": self.name, "seconds": "0", "given": folder / "given", "out": folder / "out"}
        self.paths |= {"upper": layer / "up", "in": layer / "in"}
        self.paths["given"].write_bytes(os.urandom(1 << 20))
        self.run = ""

    def values(self, text):
        (self.folder / "values").write_text(text)

    def begin(self, verb):
        verb.before(self)
        self.values(LEAVES)  # for what the verb launches

    def is_up(self):
        return (self.volt.state / f"log/{self.run}/0.log").read_bytes().endswith(b"up\n")

    def kills_of(self, verb):
        """At each call of the verb itself, from one that nothing happens to; and once at each that what it launches
        makes, while it waits."""
        self.begin(verb)
        log, said = self.inject(verb)
        assert (log.status, log.left) == (verb.status, []), said
        wrong = self.truth(verb.then) + self.clear()
        assert wrong == [], wrong
        outward = [point for point in log.points if point.outward]
        theirs = [point for point in outward if point.role in ("starter", "supervisor")]
        waiting = {point.name: point for point in theirs if point.name in WAITED_FOR}
        own = [point for point in outward if point.role == "launcher"]
        return [Kill(point, "1", "launcher") for point in (*own, *waiting.values())]

    def hit(self, verb, kill, error=None):
        """What is wrong after it was killed, or its call failed; None where the point was not reached."""
        point = kill.point
        self.paths["seconds"] = "0" if error else "60"  # a command that survives would be seen
        self.begin(verb)
        log, said = self.inject(verb, f"{point.process}:{point.number}:{error or f'kill:{kill.process}'}")
        self.paths["seconds"] = "0"
        wrong = [f"lives on: {one}" for one in log.left if log.hit] + self.mounts()
        wrong += ["a traceback: " + said] if "Traceback" in said else []
        then = verb.then | {"lost"} if error else verb.then  # where nothing can be sent the supervisor is killed
        wrong += self.truth(then) + self.copied(verb) + self.once_more(verb) + self.clear()
        return (
            wrong if wrong or log.hit else None
        )  # folders are read in any order: it may be another call of that number

    # ── what has to hold

    def truth(self, then):
        """Whether `ps -a` tells what /proc and cgroup.events tell, and no state but those in `then`."""
        found = api.ps(ended=True)
        wrong = [f"ps: {problem}" for problem in found.problems]
        told = [state for state in found.runs if state.name == self.name]
        wrong += [f"ps: {state.state}, not of {sorted(then)}" for state in told if state.state not in then]
        wrong += ["ps: it lives twice"] if Counter(state.lives for state in told)[True] > 1 else []
        for state in told:
            wrong += self.lives_as_told(state) if state.lives else []
        return wrong

    def lives_as_told(self, state):
        """Of a run that is said to live: its payload is there, alone but for what it started, and frozen or not."""
        try:
            record = looked(folders(), state.id).record
            frozen = f"frozen {state.state == 'paused':d}"
            until(lambda: frozen in Path(record.cgroup, "cgroup.events").read_text().splitlines(), frozen)
            until(lambda: len(tree_of(record).inside) <= 2, "the end of every command but the payload's")
        except (StateError, OSError, AssertionError) as error:
            try:  # its cgroup goes before it is told to have ended
                until(lambda: all(one.id != state.id for one in api.ps().runs), "its end")
            except AssertionError:
                return [f"{state.id} is {state.state}, they say: {error}"]
        return []

    def copied(self, verb):
        """Under its name there is all of a copy or nothing. One that is out here is removed, by any name."""
        source, target = (self.paths.get(one) for one in verb.whole)
        for one in self.folder.glob(".volt-cp-*"):
            one.unlink()
        if not target or not target.exists():
            return []
        wrong = [] if target.read_bytes() == source.read_bytes() else [f"not whole: {target}"]
        self.paths["out"].unlink(missing_ok=True)
        return wrong

    def once_more(self, verb):
        """The next command of the same words works, or has nothing left to do."""
        words = [word.format(**self.paths) for word in verb.words]
        done = self.volt(*words, stdin=subprocess.DEVNULL)
        said = done.stderr.decode()
        good = done.returncode == verb.status or (done.returncode == 1 and re.search(verb.again, said))
        return [] if good else [f"once more: {done.returncode} {said}"]

    def clear(self):
        """Everything goes, by one `rm` and one `gc`; what is left."""
        self.values(LEAVES)
        api.rm(self.name, force=True, ignore=True, timeout=0)
        api.rm(every=True, force=True, timeout=0)
        cleared = api.gc(older_than=0)
        wrong = [f"gc: {problem}" for problem in cleared.problems] + self.left({self.run} - {""})
        layers = (self.volt.state / "state/layers").glob("life*")
        return wrong + [f"left: {path}" for path in layers]


def stage_of(folder, busybox, injector):
    """With the plan cache out of the way, as in every stage."""
    stage = LifeStage(folder, busybox, injector)
    stage.prepare(Verb(FRESH.name, FRESH.words))
    return stage
