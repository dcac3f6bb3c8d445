"""Rules of a filter in the order in which they count, whatever form of profile they were written in."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# What seccomp(2) can answer (SECCOMP_RET_); TRACE and ERRNO carry 16 bits of data.
ALLOW = 0x7FFF_0000
LOG = 0x7FFC_0000
TRACE = 0x7FF0_0000
ERRNO = 0x0005_0000
TRAP = 0x0003_0000
KILL_THREAD = 0x0000_0000
KILL_PROCESS = 0x8000_0000
LAST_ERRNO = 4093  # libseccomp takes up to 4094, which joins the layers; those with a name end far below

WHOLE = 2**64 - 1
_LOW_HALF = 0xFFFF_FFFF
_ACTION = 0xFFFF_0000

# The multiplexers of 32-bit x86, with the number of each call in them: linux/net.h, linux/ipc.h.
_SOCKETCALLS = """
    socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom
    shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg
""".split()
_IPC = {1: "semop semget semctl semtimedop", 11: "msgsnd msgrcv msgget msgctl", 21: "shmat shmdt shmget shmctl"}
MULTIPLEXED = {
    **{call: ("socketcall", number) for number, call in enumerate(_SOCKETCALLS, 1)},
    **{call: ("ipc", number) for first, calls in _IPC.items() for number, call in enumerate(calls.split(), first)},
}
# What ipc(2) reads of its first argument; above it is a version, which semop and others pass over.
_NUMBER = {"socketcall": _LOW_HALF, "ipc": 0xFFFF}

Operator = Literal["EQ", "NE", "LT", "LE", "GT", "GE"]


class Comparison(NamedTuple):
    """The call's argument number `argument` (0 to 5), cut to `mask`, compared with `value`. Only EQ has a mask."""

    argument: int
    operator: Operator
    value: int
    mask: int = WHOLE

    def holds(self, argument: int) -> bool:
        """Whether an argument's value is as it says."""
        cut = argument & self.mask
        return {
            "EQ": cut == self.value,
            "NE": cut != self.value,
            "LT": cut < self.value,
            "LE": cut <= self.value,
            "GT": cut > self.value,
            "GE": cut >= self.value,
        }[self.operator]


class Entry(NamedTuple):
    """One call of one rule: its answer if all of `where` holds."""

    call: str
    answer: int
    where: tuple[Comparison, ...] = ()


class Rules(NamedTuple):
    """The first layer with an entry that matches a call answers it; no layer, `default`. Without `compat` the
    32-bit calls of the same kernel end the process."""

    layers: tuple[tuple[Entry, ...], ...]
    default: int
    compat: bool

    def calls(self) -> set[str]:
        """Every call that is named."""
        return {entry.call for layer in self.layers for entry in layer}

    def permits(self, call: str) -> bool:
        """Whether some of a call's arguments let it through."""
        for layer in self.layers:
            own = [entry for entry in layer if entry.call == call]
            if any(runs(entry.answer) for entry in own):
                return True
            if any(not entry.where for entry in own):
                return False
        return runs(self.default)


def runs(answer: int) -> bool:
    """Whether the kernel performs a call so answered: TRACE too, since a payload may trace its own."""
    return answer & _ACTION in (ALLOW, LOG, TRACE)


def layered(entries: Sequence[Entry], default: int) -> tuple[tuple[Entry, ...], ...]:
    """Entries of which the first match answers, in as few layers of one answer each as keep that order."""
    layers: list[tuple[int, list[Entry]]] = []
    last: dict[str, int] = {}
    for entry in _counting(entries, default):
        call = _door(entry.call)
        at = next((n for n in range(last.get(call, 0), len(layers)) if layers[n][0] == entry.answer), len(layers))
        if at == len(layers):
            layers.append((entry.answer, []))
        layers[at][1].append(entry)
        last[call] = at
    return tuple(tuple(layer) for _, layer in layers)


def apart(layer: Sequence[Entry]) -> list[tuple[Entry, ...]]:
    """A layer as several: an entry that looks at two arguments or more is the only one of its call in its own. Beside
    others libseccomp (2.5.4) may put it into its tree wrongly, or never come to an end."""
    entries = Counter(entry.call for entry in layer)
    parts: list[list[Entry]] = [[]]
    used: Counter[str] = Counter()
    for entry in layer:
        alone = len(entry.where) > 1 and entries[entry.call] > 1
        used[entry.call] += alone
        at = used[entry.call] if alone else 0
        if at == len(parts):
            parts.append([])
        parts[at].append(entry)
    return [tuple(part) for part in parts if part]


def _counting(entries: Sequence[Entry], default: int) -> list[Entry]:
    """Without those that answer what nothing behind them would change."""
    kept: list[Entry] = []
    later: set[str] = set()
    for entry in reversed(entries):
        if entry.answer != default or _door(entry.call) in later:
            kept.append(entry)
            later.add(_door(entry.call))
    return kept[::-1]


def _door(call: str) -> str:
    return MULTIPLEXED.get(call, (call, 0))[0]


def doors(rules: Rules) -> tuple[tuple[Entry, ...], ...]:
    """What the layers say of the 32-bit x86 multiplexers themselves: closed to whatever they do not permit.

    A call's arguments lie in memory there. So an entry that looks at them counts whole if it is stricter than what
    is answered otherwise, and not at all if it permits.
    """
    return tuple(tuple(dict.fromkeys(_through(layer, rules.default))) for layer in rules.layers)


def _through(layer: Iterable[Entry], default: int) -> Iterator[Entry]:
    for entry in layer:
        if entry.call in _NUMBER:
            yield entry
        elif entry.call in MULTIPLEXED and (not entry.where or _stricter(entry.answer, default)):
            door, number = MULTIPLEXED[entry.call]
            yield Entry(door, entry.answer, (Comparison(0, "EQ", number, _NUMBER[door]),))


def _stricter(answer: int, default: int) -> bool:
    """Whether it refuses, or is above the default in the kernel's own order: as signed numbers, downwards."""
    return not runs(answer) or _signed(answer) < _signed(default)


def _signed(answer: int) -> int:
    action = answer & _ACTION
    return action - 2**32 if action >= KILL_PROCESS else action


def narrowed(entry: Entry) -> Entry | None:
    """The entry for 32-bit calls, whose arguments have no high half; None where it can then never hold."""
    where = []
    for one in entry.where:
        if one.operator == "EQ" and one.value <= _LOW_HALF:
            mask = one.mask & _LOW_HALF
            where += [one._replace(mask=mask)] if mask else []
        elif one.value <= _LOW_HALF:
            where.append(one)
        elif one.operator in ("EQ", "GT", "GE"):
            return None
    return entry._replace(where=tuple(where))


def overlap(one: Sequence[Comparison], other: Sequence[Comparison]) -> bool:
    """Whether some arguments are as both say; each compares an argument once."""
    mine = {comparison.argument: comparison for comparison in one}
    return all(_compatible(mine[each.argument], each) for each in other if each.argument in mine)


def _compatible(one: Comparison, other: Comparison) -> bool:
    """Each holds for all values but one, up to a value, from one on, or under a mask: if there are values for which
    both hold, then one of them is an end of these sets, is next to one, or has the bits of both."""
    ends = {0, WHOLE, one.value | other.value}
    for each in (one, other):
        ends |= {each.value - 1, each.value, each.value + 1, each.value | (WHOLE ^ each.mask)}
    return any(one.holds(value) and other.holds(value) for value in ends if 0 <= value <= WHOLE)
