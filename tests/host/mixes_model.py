"""What verbs do to one workload: a machine of few states, and from each what a verb may say and lead to.

A verb that was killed may have done nothing, some, or all. So what is known of a workload is a set of states, and each
answer of a later verb leaves those that it fits. None left: volt did what it cannot have done.
"""

from dataclasses import dataclass, replace

ANY = None  # a status that is not foretold


@dataclass(frozen=True)
class State:
    """`live`: "" for none, "running", "paused"; `doomed`: a signal is on its way that ends it, at any moment or once
    it goes on. `private`: nothing of the living run is kept. `ended`: runs that ended are; `layer`: a layer is."""

    live: str = ""
    doomed: bool = False
    private: bool = False
    ended: bool = False
    layer: bool = False

    @property
    def told(self):
        """What `ps -a` says of it: of the one that lives, and whether there is any that ended."""
        return self.live, self.ended

    def begun(self, *, private=False):
        return replace(self, live="running", doomed=False, private=private, layer=self.layer or not private)

    def over(self):
        """Its living run has ended."""
        ended = self.ended or (bool(self.live) and not self.private)
        return replace(self, live="", doomed=False, private=False, ended=ended)

    def now(self):
        """The states that it may have come to by itself."""
        return {self, self.over()} if self.doomed and self.live == "running" else {self}


NOTHING = State()
# (status, state afterwards), and the states in which a verb that is killed may leave it besides.
Ways = tuple[set, set]


def run(state, *, private=False):
    if state.live:
        return {(125, state)}, set()
    begun = state.begun(private=private)
    return {(0, begun)}, {begun, replace(state, layer=begun.layer)}


def foreground(state):
    """Of a command that ends at once."""
    if state.live:
        return {(125, state)}, set()
    return {(0, replace(state, layer=True))}, {replace(state, layer=True)}


def dying(state):
    return {replace(state, doomed=True), replace(state, doomed=True, live="running"), state.over()}


def stop(state):
    if state.live:
        return {(0, state.over())}, dying(state)
    return {(0 if state.ended else 1, state)}, set()


def kill(state):
    if state.live:
        return {(0, replace(state, live="running", doomed=True))}, dying(state)
    return {(1, state)}, set()


def pause(state):
    if state.live == "running":
        return {(0, replace(state, live="paused"))}, {replace(state, live="paused")}
    return {(1, state)}, set()


def unpause(state):
    if state.live == "paused":
        return {(0, replace(state, live="running"))}, {replace(state, live="running")}
    return {(1, state)}, set()


def restart(state):
    if not state.live and not state.ended:
        return {(1, state)}, set()
    private, over = bool(state.live) and state.private, state.over()
    begun = over.begun(private=private)
    return {(0, begun)}, {over, begun, replace(over, layer=begun.layer)} | (dying(state) if state.live else set())


def rm(state):
    if state.live or not (state.ended or state.layer):
        return {(1, state)}, set()
    return {(0, NOTHING)}, {replace(state, ended=False), NOTHING}


def rm_force(state):
    if not (state.live or state.ended or state.layer):
        return {(1, state)}, set()
    over = state.over()
    return {(0, NOTHING)}, {over, replace(over, ended=False), NOTHING} | (dying(state) if state.live else set())


def execute(state):
    return {(0 if state.live == "running" else 125, state)}, set()


def look(state):
    return {(0 if state.live or state.ended else 1, state)}, set()


def always(state):
    return {(0, state)}, set()


VERBS = {
    ("run", "-d", "FILE"): run,
    ("run", "-d", "--rm", "FILE"): lambda state: run(state, private=True),
    ("run", "FILE", "--", "true"): foreground,
    ("stop", "NAME"): stop,
    ("stop", "--timeout", "0", "NAME"): stop,
    ("kill", "NAME"): kill,
    ("pause", "NAME"): pause,
    ("unpause", "NAME"): unpause,
    ("restart", "NAME"): restart,
    ("rm", "NAME"): rm,
    ("rm", "--force", "NAME"): rm_force,
    ("exec", "NAME", "--", "true"): execute,
    ("logs", "NAME"): look,
    ("inspect", "NAME"): look,
    ("ps", "-a"): always,
    ("gc",): always,
}


def after(states, verb, status):
    """What is possible when `verb` has ended with `status`; None where it was killed."""
    found = set()
    for state in set().union(*(state.now() for state in states)):
        ways, meanwhile = VERBS[verb](state)
        if status is None:
            found |= {state, *meanwhile, *(then for _, then in ways)}
        elif state.doomed:  # it may have ended before, during or after
            found |= {one for _, then in ways for one in {state, then, then.over()}}
        else:
            found |= {then for said, then in ways if said in (ANY, status)}
    return set().union(*(state.now() for state in found))
