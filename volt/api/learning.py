"""The smallest profile that a command needs: it is watched, and then run again and again with less.

strace looks on from outside while the profile `permissive` withholds no file and no port. What was seen is more than
what is needed; what remains is what nothing can be taken from without the command failing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from volt.api.planning import Source, require, resolved
from volt.api.policy import machine_policy
from volt.api.trials import SHOWN, Policies, Result, Trials
from volt.errors import HostUnfit, LaunchError, ManifestError, StateError, VoltError
from volt.model.facts import Call
from volt.model.landlock import KERNELS, SCOPES
from volt.model.learned import Learned
from volt.model.values import replace
from volt.plan.learn import (
    Access,
    Answer,
    accesses,
    answers,
    everything,
    interpreters,
    policy_text,
    profile_text,
)
from volt.plan.shrink import SpentError, halve, settle

if TYPE_CHECKING:
    from volt.model.facts import Facts
    from volt.model.workload import Workload
    from volt.plan.seccomp_profile import Profile
    from volt.plan.traced import Traced

Progress = Callable[[str], None]
Rule = Access | Answer

TRACER = "strace"
LONGEST = 3600.0  # seconds of the first run, before anything is known of it
SLOWER = 30  # times, under strace
PATIENCE = 5  # times as long as without a wall: then a run counts as failed
LEAST = 3.0  # seconds
STEADY = 5  # runs that have to pass before something counts as not needed: threads do not meet the same way each time
HEAD = 4096  # bytes of a program, in which its interpreter is named
MOST_RUNS = 1000
SAY_EVERY = 20  # runs


def learn(
    manifest: Source,
    *,
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    whole: Sequence[str] = (),
    most_runs: int = MOST_RUNS,
    progress: Progress | None = None,
) -> Learned:
    """The smallest Landlock policy and seccomp profile under which a command of the workload passes: it ends with 0,
    and writes what it writes unhindered, as far as that is the same each time.

    The command is run twice as it is, twice watched by strace, and then with less and less until without any one
    rule it fails, at most `most_runs` times: each on a fresh layer, on fresh copies of writable volumes, without
    input. What is used beneath a folder of `whole` is one place. `progress` is told in words how far it is. Raises
    ManifestError, HostUnfit without root, strace or Landlock, LaunchError, VoltError for a command that fails as
    it is, StateError for one that does not do the same each time.
    """
    from volt.host.facts import folders, probe_machine
    from volt.manifest import locate

    policy = machine_policy()
    read = resolved(manifest, variables, base, None)
    if read.workload is None or any(finding.severity == "error" for finding in read.findings):
        raise ManifestError(read.findings)
    _require_command(read.workload)
    facts = replace(probe_machine(folders()), policy=policy.policy if policy else None)
    tracer = _tracer(facts)
    for folder in whole:
        if not folder.startswith("/"):
            raise VoltError(f"'{folder}' is no absolute path", hint="name a folder of the workload's root")
    profile = _profile(read.workload)
    call = Call(command=tuple(command), env=tuple((env or {}).items()))
    try:
        with Trials(_openly(read.workload), facts, call) as trials:
            say = progress or (lambda _: None)
            return _Learner(trials, profile, facts.landlock_abi, most_runs=most_runs, say=say).learn(tracer, whole)
    except ManifestError as error:
        found = policy.locate(error.findings) if policy else error.findings
        raise ManifestError(locate(found, read)) from None


def _require_command(workload: Workload) -> None:
    """A command is watched that is the payload; what programs are, and need to be run, is looked for in a folder.
    Raises VoltError."""
    if workload.boots:
        message = "learning from an image that is booted is not possible: all that its init does would be learned too"
        raise VoltError(message, hint='learn from the command with mode = "container"')
    if workload.image or (workload.storage.rootfs or "").startswith("cas://"):
        hint = "learn from a folder of the same: volt image export NAME | tar -C DIR -xp, and storage.rootfs = DIR"
        raise VoltError("learning from an image is not in this version", hint=hint)


def _tracer(facts: Facts) -> str:
    """strace's path, on a machine that all else is there on. Raises HostUnfit."""
    from volt.host.tools import find_program

    require(facts)
    if not facts.landlock_abi:
        raise HostUnfit("this kernel has no Landlock to learn a policy for", hint="see volt doctor")
    tracer = find_program(TRACER)
    if not tracer:
        raise HostUnfit("strace is not installed", hint="apt install strace")
    return tracer


def _profile(workload: Workload) -> tuple[str, Profile]:
    """The seccomp profile in force, as text and read. Raises VoltError for one in Docker's form."""
    from volt.api.keeping import stored
    from volt.host.profiles import read_profile, shipped_profile
    from volt.plan.seccomp_bound import read_profile as parse
    from volt.plan.seccomp_profile import Profile, ProfileError

    named = workload.security.seccomp_profile or "default"
    text = read_profile(named, None, stored).text if "/" in named else shipped_profile("seccomp", named).decode()
    try:
        profile = parse(text.encode())
    except ProfileError as error:
        raise VoltError(f"{named}: {error}", hint="see volt plan") from None
    if not isinstance(profile, Profile):
        hint = "take security.seccomp_profile out of the manifest while learning"
        raise VoltError(f"{named} is in Docker's form, from which nothing is learned", hint=hint)
    return text, profile


def _openly(workload: Workload) -> Workload:
    """Without a Landlock policy, with the capabilities that it has with the one it names."""
    from volt.plan.capabilities import payload_sets

    security = replace(workload.security, landlock_profile="permissive", landlock_policy=None)
    had = payload_sets(workload, 0).bounding
    plain = replace(workload, security=replace(security, seccomp_profile=None))
    if had != payload_sets(plain, 0).bounding:  # strict, of either profile, gives none
        security = replace(security, capabilities=had)
    return replace(workload, security=security)


class _Learner:
    """One command, and what is known of it."""

    def __init__(self, trials: Trials, base: tuple[str, Profile], abi: int, *, most_runs: int, say: Progress) -> None:
        from volt.host.profiles import shipped_profile
        from volt.plan.capabilities import payload_sets

        text, self.profile = base
        self.trials, self.say, self.most_runs = trials, say, most_runs
        self.open = Policies(shipped_profile("landlock", "permissive").decode(), text)
        self.abi = min(abi, max(KERNELS))
        self.capabilities = payload_sets(trials.workload, 0).bounding
        self.scoped = tuple(SCOPES)
        self.tried: dict[frozenset[Rule], bool] = {}
        self.kept: tuple[Rule, ...] = ()
        self.compared: tuple[str, ...] = ()
        self.seconds = LEAST
        self.first: Result

    def learn(self, tracer: str, whole: Collection[str]) -> Learned:
        self._unhindered()
        traced = self._watched(tracer)
        rules = accesses(traced, self._programs(traced.executed), self.abi, whole)
        calls = answers(traced, self.profile, self.capabilities)
        self.say(f"seen: {len(rules)} accesses, {len(calls)} system calls; taking away what is not needed")
        rules = self._enough(rules, calls)
        minimal = True
        try:
            kept = halve(rules, lambda fewer: self._passes((*fewer, *calls)))
            both: tuple[Rule, ...] = (*kept, *calls)
            settle(both, self._passes)
        except SpentError:
            minimal = False
        self._steady()
        return self._learned(minimal)

    # ── what it does unhindered ─────────────────────────────────────────────────────────────────

    def _unhindered(self) -> None:
        """Twice, to see what of it is the same each time. Raises VoltError when it fails."""
        self.say("running it twice as it is")
        self.first = self._succeeding(self.trials.run(self.open, LONGEST))
        second = self._succeeding(self.trials.run(self.open, LONGEST))
        same = {"stdout": self.first.stdout == second.stdout, "stderr": self.first.stderr == second.stderr}
        self.compared = tuple(name for name, is_same in same.items() if is_same)
        self.seconds = max(LEAST, PATIENCE * max(self.first.seconds, second.seconds))

    def _watched(self, tracer: str) -> Traced:
        self.say("running it twice under strace")
        found = []
        for _ in range(2):
            result, traced = self.trials.trace(self.open, SLOWER * self.seconds, tracer)
            self._succeeding(result)
            found.append(traced)
        return found[0] | found[1]

    def _succeeding(self, result: Result) -> Result:
        outcome = result.outcome
        if outcome.by == "payload" and outcome.status == 0:
            return result
        why = outcome.message or f"it ends with {outcome.status}"
        said = result.said.decode(errors="replace").strip().splitlines()[-1:]
        hint = f"it said: {said[0][:SHOWN]}" if said else outcome.hint or "learn from a command that succeeds"
        raise VoltError(f"the command fails although no file and no port is withheld: {why}", hint=hint)

    def _programs(self, executed: Iterable[str]) -> tuple[str, ...]:
        """What the kernel opens by itself to run these."""
        found: dict[str, None] = {}
        waiting = list(executed)
        while waiting:
            heads = [self._head(path) for path in waiting]
            waiting = [path for path in interpreters(heads) if path not in found]
            found |= dict.fromkeys(waiting)
        return tuple(found)

    def _head(self, path: str) -> bytes:
        from volt.host.inside import head_inside
        from volt.plan.root import HOST

        storage = self.trials.workload.storage
        for volume in storage.volumes:
            if path.startswith(f"{volume.container.rstrip('/')}/"):
                return head_inside(path.removeprefix(volume.container), volume.host, None, HEAD)
        return head_inside(path, "/" if storage.rootfs == HOST else storage.rootfs, None, HEAD)

    # ── how little is enough ────────────────────────────────────────────────────────────────────

    def _enough(self, rules: tuple[Access, ...], calls: tuple[Answer, ...]) -> tuple[Access, ...]:
        """Rules under which it passes: those that were seen, or more where that is not all of it."""
        if self._passes((*rules, *calls)):
            return rules
        rules = (*everything(self.abi), *rules)
        if self._passes((*rules, *calls)):
            self.say("not all of what it opens was seen; looking for it from the root down")
            return rules
        self.scoped, self.tried = ("signal",), {}
        if self._passes((*rules, *calls)):
            return rules
        raise StateError(
            "the command fails under a profile of everything that it was seen to do",
            hint="it may do something else each time, or look whether it is traced",
        )

    def _passes(self, rules: tuple[Rule, ...]) -> bool:
        key = frozenset(rules)
        if key not in self.tried:
            if self.trials.runs >= self.most_runs:
                raise SpentError
            self.tried[key] = self._passes_each_time(rules)
        if self.tried[key]:
            self.kept = rules
        return self.tried[key]

    def _like_first(self, result: Result) -> bool:
        outcome = result.outcome
        if outcome.by == "volt" and outcome.step not in (None, "execute"):
            raise LaunchError(outcome.message, hint=outcome.hint, outcome=outcome)
        if (outcome.by, outcome.status, outcome.ended) != ("payload", 0, None):
            return False
        return all(getattr(result, name) == getattr(self.first, name) for name in self.compared)

    def _policies(self, rules: Sequence[Rule]) -> Policies:
        paths = [rule for rule in rules if isinstance(rule, Access)]
        calls = [rule for rule in rules if isinstance(rule, Answer)]
        landlock = policy_text(paths, self.abi, scoped=self.scoped)
        return Policies(landlock, profile_text(calls, self.profile, self.capabilities))

    def _passes_each_time(self, rules: tuple[Rule, ...]) -> bool:
        policies = self._policies(rules)
        for _ in range(STEADY):
            passed = self._like_first(self.trials.run(policies, self.seconds))
            if self.trials.runs % SAY_EVERY == 0:
                self.say(f"{self.trials.runs} runs: {len(self.kept)} rules left")
            if not passed:
                return False
        return True

    def _steady(self) -> None:
        """Raises StateError when what was found does not hold each time."""
        if not self._passes_each_time(self.kept):
            hint = "learn from a command that does the same each time"
            raise StateError("the command passes under what was learned at one time, and fails at another", hint=hint)

    def _learned(self, minimal: bool) -> Learned:
        policies = self._policies(self.kept)
        rules = sum(isinstance(rule, Access) for rule in self.kept)
        return Learned(
            landlock=policies.landlock,
            seccomp=policies.seccomp,
            rules=rules,
            calls=len(self.kept) - rules,
            runs=self.trials.runs,
            minimal=minimal,
            capabilities=self.trials.workload.security.capabilities,
            compared=self.compared,
        )
