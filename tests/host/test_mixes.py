"""Random mixes of verbs on workloads that run, some of the verbs killed: `ps` tells the truth, and nothing is left.

An ordinary run has 20 mixes. A failure names the seed of its mix; that one alone, or two hundred, are

    VOLT_SEED=17 .venv/bin/python -m pytest tests/host/test_mixes.py
    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest tests/host/test_mixes.py
"""

import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from ctypes import CDLL
from dataclasses import replace
from pathlib import Path

import pytest

from tests.host.conftest import Volt, cgroups
from tests.host.living import until
from tests.host.mixes_model import NOTHING, VERBS, after
from tests.host.test_kill import descendants, gone, start_time
from volt import api
from volt.api.looking import looked
from volt.cli import app, main
from volt.errors import StateError
from volt.host.facts import folders
from volt.model.run import Runs
from volt.runs.processes import tree_of

MIXES = 200 if os.environ.get("VOLT_EXHAUSTIVE") else 20
SEEDS = [int(os.environ["VOLT_SEED"])] if os.environ.get("VOLT_SEED") else range(MIXES)
COMMANDS = 18  # of a mix, besides what starts its workloads
AT_ONCE = 3
KILLED = 0.35  # of them
WITHIN = 0.06  # seconds from a command's start to its kill, at most
ENDING = 10  # … that a supervisor may take to exit
DEADLINE = 40  # seconds that a command may take: a stop's own are 20
PR_SET_CHILD_SUBREAPER = 36
RUNNING = NOTHING.begun()


class Command:
    """A verb in a process of its own: a fork of this one, which has imported already what all of them need."""

    def __init__(self, verb, words, name, said, within):
        self.verb, self.words, self.name, self.said = verb, words, name, said
        self.begun = time.monotonic()
        self.kill_at = None if within is None else self.begun + within
        self.was_killed = False
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._main())

    def _main(self):
        status = 70
        try:
            null, said = os.open(os.devnull, os.O_RDWR), os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number, descriptor in enumerate((null, said, said)):
                os.dup2(descriptor, number)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            sys.argv = ["volt", *self.words]
            status = main(list(self.words))
        except BaseException:  # noqa: BLE001 (nothing of this process may run on)
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        return status

    def kill_if_due(self):
        now = time.monotonic()
        assert now < self.begun + DEADLINE, f"{self} has not ended"
        if self.kill_at and now >= self.kill_at and not self.was_killed:
            self.was_killed = True
            os.kill(self.pid, signal.SIGKILL)

    def __str__(self):
        return f"{' '.join(self.words)} ({'killed' if self.was_killed else 'whole'})"


class Mix:
    """Workloads, what is known of each, and the commands that are at work."""

    def __init__(self, volt, busybox, seed):
        self.volt = volt
        self.chance = random.Random(seed)
        self.said = volt.folder / f"said-{seed}"
        self.files, self.known, self.history = {}, {}, []
        for number in range(self.chance.randint(5, 10)):
            name = f"mix{seed}-{number}"
            self.files[name] = volt.manifest(
                workload={"name": name, "command": ["sleep", "300"]},
                storage={"rootfs": str(busybox), "writable_layer": "overlay"},
            )
            self.known[name] = {NOTHING}
        self.at_work, self.ended, self.crashed = [], {}, Counter()
        self.runs = set()  # the ids of all that have been seen: cgroups are the whole machine's

    # ── commands

    def begin(self, verb, name, within=None):
        words = [{"NAME": name, "FILE": str(self.files[name])}.get(word, word) for word in verb]
        self.at_work.append(Command(verb, words, name, self.said, within))

    def begin_any(self):
        """One on a workload that no other command is at: what two do to one is not foretold."""
        name = self.chance.choice([name for name in self.files if name not in {one.name for one in self.at_work}])
        if self.chance.random() < 0.05:
            self.crash(name)
            return
        within = self.chance.uniform(0, WITHIN) if self.chance.random() < KILLED else None
        self.begin(self.chance.choice(list(VERBS)), name, within)

    def crash(self, name):
        """Whatever lives of it loses its supervisor."""
        for state in api.ps(filters=[f"name={name}"]).runs:
            with suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
            until(lambda pid=state.pid: self.reap() or start_time(pid) is None, "its end")
            self.crashed[name] += 1
        self.history.append(f"{name}: SIGKILL to the supervisor")
        self.known[name] = {state.over() for state in self.known[name]}

    def wait(self, fewer):
        """Until fewer than that are at work."""
        while len(self.at_work) >= fewer:
            self.runs |= {path.name.partition(".")[0] for path in self.volt.state.glob("run/[re]*/*")}
            for one in self.at_work:
                if one.pid not in self.ended:  # reaped while a crash was awaited: the number is nobody's now
                    one.kill_if_due()
            self.reap()
            for one in [one for one in self.at_work if one.pid in self.ended]:
                self.at_work.remove(one)
                self.take(one, self.ended.pop(one.pid))
            time.sleep(0.001)

    def reap(self):
        """The wait statuses of the children that have ended: commands, and supervisors, which have come to be ours."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.ended[ended[0]] = ended[1]

    def take(self, one, status):
        killed = os.WIFSIGNALED(status)
        assert killed == one.was_killed or not killed, f"{one} was killed by somebody else"
        if killed:
            self.settle(one)
        code = None if killed else os.waitstatus_to_exitcode(status)
        took = time.monotonic() - one.begun
        states = ", ".join(map(str, self.known[one.name]))
        self.history.append(f"{one.name}: {one} ended with {code} after {took:.2f} s, of {states}")
        known = after(self.known[one.name], one.verb, code)
        assert known, self.told(f"{one} ended with {code}, of {self.known[one.name]}")
        self.known[one.name] = known

    def settle(self, one):
        """A launch whose starter was killed goes on: until it is one that runs, or is none."""
        if one.verb[0] not in ("run", "restart"):
            return
        for pid in self.supervisors() - {state.pid for state in api.ps().runs if has_begun(state)}:
            until(lambda pid=pid: self.has_settled(pid), f"what {one} launched")

    def has_settled(self, pid):
        self.reap()
        return start_time(pid) is None or any(state.pid == pid and has_begun(state) for state in api.ps().runs)

    def supervisors(self):
        """Children of this process that perform a plan: a supervisor whose starter has gone becomes one."""
        commands = {one.pid for one in self.at_work}
        children = {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
        return {pid for pid in children - commands if performs(pid)}

    # ── what has to hold

    def told(self, what):
        said = self.said.read_text(errors="replace") if self.said.exists() else ""
        return "\n".join([what, *self.history, said])

    def compare(self):
        """What `ps -a` tells against what can be, and against /proc."""
        self.reap()
        found = api.ps(ended=True)
        wrong = list(found.problems)
        for name, states in self.known.items():
            runs = [state for state in found.runs if state.name == name]
            live = [state.state for state in runs if state.lives]
            told = ("".join(live), len(live) < len(runs))
            possible = {one.told for state in states for one in state.now()}
            wrong += [f"{name}: {told}, not of {possible}"] if told not in possible else []
            lost = [state.id for state in runs if state.state == "lost"]
            wrong += [f"{name}: nobody has crashed one of {lost}"] if len(lost) > self.crashed[name] else []
            wrong += [f"{name}: {state.id} is {state.state}" for state in runs if state.lives and not as_told(state)]
        unknown = {pid for pid in self.supervisors() if not self.is_told(pid)}
        return wrong + [f"it runs, and ps does not know it: {pid}" for pid in unknown if not self.ends(pid)]

    def is_told(self, pid):
        return pid in {state.pid for state in api.ps().runs}

    def ends(self, pid):
        """Whether it ends by itself, soon: it has released all that it held, and only has to exit."""
        deadline = time.monotonic() + ENDING
        while time.monotonic() < deadline and start_time(pid) is not None:
            self.reap()
            time.sleep(0.01)
        return start_time(pid) is None

    def clear(self):
        """One rm and one gc, and what is left then."""
        pids = [pid for state in api.ps().runs for pid in descendants(state.pid)]
        family = [(pid, start_time(pid)) for pid in pids]
        self.begin(("rm", "--force", "--timeout", "0", "--ignore", *self.files), next(iter(self.files)))
        status = self.end_of_last()
        wrong = [] if status == 0 else [f"rm ended with {status}"]
        self.begin(("gc", "--older-than", "0"), next(iter(self.files)))
        status = self.end_of_last()
        wrong += [] if status == 0 else [f"gc ended with {status}"]
        self.reap()
        state = self.volt.state
        left = [
            path for place in ("run/*/*", "log/*", "state/layers/*", "state/plans/.*") for path in state.glob(place)
        ]
        left += [path for path in cgroups() if path.rpartition("volt-")[2] in self.runs]
        wrong += [f"left: {path}" for path in left] + [f"left: {path}" for path in self.volt.left()]
        return wrong + [f"lives: {one}" for one in gone(family) if one[1] is not None]

    def end_of_last(self):
        (one,) = self.at_work
        until(lambda: self.reap() or one.pid in self.ended, f"the end of {one}")
        self.at_work.clear()
        return os.waitstatus_to_exitcode(self.ended.pop(one.pid))


def performs(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"volt\0perform\0")
    return False


def has_begun(state):
    try:
        return bool(tree_of(looked(folders(), state.id).record).inside)
    except (StateError, OSError):
        return False


def as_told(state):
    """Whether its cgroup is frozen or not as it says; one that ends meanwhile is."""
    frozen = f"frozen {state.state == 'paused':d}"

    def holds():
        try:
            return frozen in Path(state.cgroup, "cgroup.events").read_text().splitlines()
        except OSError:
            return not any(one.id == state.id for one in api.ps().runs)

    try:
        until(holds, frozen)
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def _subreaper():
    """Supervisors whose starters are gone come to be children of this process, prctl(2): so they can be found."""
    CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def mix_of(tmp_path, busybox, monkeypatch):
    volt = Volt(tmp_path)
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    app.command_line  # noqa: B018 (imported here, and by no command)
    yield lambda seed: Mix(volt, busybox, seed)
    with suppress(api.VoltError):  # what a test that failed has left
        api.rm(every=True, force=True, timeout=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_mix_of_verbs_ps_tells_the_truth_and_nothing_is_left(mix_of, seed):
    mix = mix_of(seed)
    for name in mix.files:
        mix.wait(AT_ONCE)
        mix.begin(("run", "-d", "FILE"), name)
    for _ in range(COMMANDS):
        mix.wait(AT_ONCE)
        mix.begin_any()
    mix.wait(1)
    wrong = mix.compare()
    wrong += mix.clear()
    assert wrong == [], mix.told(f"seed {seed}: {wrong}")
    assert "Traceback" not in mix.said.read_text(errors="replace"), mix.told(f"seed {seed}")


# ── the mixes themselves


def stirred(mix):
    """One that has begun: all of its workloads run."""
    for name in mix.files:
        mix.wait(AT_ONCE)
        mix.begin(("run", "-d", "FILE"), name)
    mix.wait(1)
    assert mix.compare() == []
    return mix


def test_what_happens_behind_its_back_is_noticed(mix_of):
    mix = stirred(mix_of(0))
    first, second, third, *_ = mix.files
    api.pause(first)
    mix.crash(second)
    api.rm(third, force=True, timeout=0)
    mix.known[second] = {RUNNING}
    mix.crashed.clear()
    wrong = "\n".join(mix.compare())
    assert f"{first}: ('paused', False), not of" in wrong
    assert f"{second}: nobody has crashed" in wrong
    assert f"{third}: ('', False), not of" in wrong
    assert mix.clear() == []


def test_a_run_that_ps_does_not_know_is_noticed(mix_of, monkeypatch):
    mix = stirred(mix_of(0))
    with monkeypatch.context() as changed:
        changed.setattr(api, "ps", lambda **_: Runs((), ()))
        wrong = "\n".join(mix.compare())
    assert "it runs, and ps does not know it" in wrong
    assert mix.clear() == []


def test_a_status_that_cannot_be_fits_no_state():
    assert after({NOTHING}, ("stop", "NAME"), 0) == set()
    assert after({RUNNING}, ("run", "-d", "FILE"), 0) == set()
    assert after({RUNNING}, ("pause", "NAME"), None) == {RUNNING, replace(RUNNING, live="paused")}
