"""A filter of system calls made smaller: the same answer to every call, from far fewer instructions.

libseccomp compares a call's number with every one that it knows, list by list. Here the program is followed for all
numbers at once, in ranges that it does not tell apart: what is left is one tree over the ends of these ranges for each
architecture, and behind some of them comparisons of arguments. What a filter costs a launch grows with its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

# linux/bpf_common.h, linux/seccomp.h: struct sock_filter, its codes, the offsets of number and architecture.
_INSTRUCTION = struct.Struct("<HBBI")
_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06
_EQUAL, _GREATER, _AT_LEAST = 0x15, 0x25, 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_WHOLE = 0xFFFF_FFFF
_NO_ARCHITECTURE = 0xFFFF_FFFE  # stands for every one that a program does not name: AUDIT_ARCH_ has none such
_FAR = 255  # instructions that a comparison can jump over
_DEEPEST = 200  # comparisons one behind the other for one call
_MOST = 50_000  # instructions followed

_Word = tuple[int, int]  # what is loaded: an offset, and the mask that it is cut to
_NOTHING: _Word = (-1, 0)
_Instruction = tuple[int, int, int, int]


class _Return(NamedTuple):
    value: int


class _Test(NamedTuple):
    """A word compared with a value; `yes` and `no` are nodes by their number."""

    word: _Word
    code: int
    value: int
    yes: int
    no: int


class _UnknownError(ValueError):
    """The program has something that libseccomp does not make, or too much of it."""


def smaller(program: bytes) -> bytes:
    """A program that answers as this one does; this one itself where none is shorter, or it is none of libseccomp's."""
    reader = _Reader(list(_INSTRUCTION.iter_unpack(program)))
    try:
        root = reader.whole()
    except (_UnknownError, IndexError):
        return program
    found = _Writer(reader.nodes).program(root)
    return found if len(found) < len(program) else program


def _holds(kind: int, left: int, right: int) -> bool:
    if kind == _EQUAL:
        return left == right
    if kind == _GREATER:
        return left > right
    if kind == _AT_LEAST:
        return left >= right
    raise _UnknownError(f"instruction {kind:#x}")


class _Reader:
    """Follows a program; equal decisions become one node."""

    def __init__(self, code: list[_Instruction]) -> None:
        self.code = code
        self.nodes: list[_Return | _Test] = []
        self._numbers: dict[_Return | _Test, int] = {}
        self._left = _MOST
        self.architectures: set[int] = set()  # that it tells from others, as far as they were met

    def whole(self) -> int:
        """The node of all that the program decides: first by architecture."""
        done: dict[int, int] = {}
        others = self._of_architecture(_NO_ARCHITECTURE)
        while left := self.architectures - done.keys():
            done |= {architecture: self._of_architecture(architecture) for architecture in left}
        root = others
        for architecture, own in sorted(done.items()):
            root = self.test((_ARCHITECTURE, _WHOLE), _EQUAL, architecture, own, root)
        return root

    def node(self, node: _Return | _Test) -> int:
        """Its number, one for all that are equal."""
        if node not in self._numbers:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[node]

    def test(self, word: _Word, code: int, value: int, yes: int, no: int) -> int:
        """A comparison, unless it makes no difference."""
        return yes if yes == no else self.node(_Test(word, code, value, yes, no))

    def next(self, at: int) -> _Instruction:
        """An instruction. Raises _UnknownError where too many have been followed."""
        self._left -= 1
        if self._left < 0:
            raise _UnknownError("it is too long")
        return self.code[at]

    def is_architecture(self, kind: int, architecture: int, value: int) -> bool:
        """What a comparison of the architecture gives; the other one is noted."""
        if kind != _EQUAL or value == _NO_ARCHITECTURE:
            raise _UnknownError(f"architecture {value:#x} by {kind:#x}")
        self.architectures.add(value)
        return architecture == value

    def _of_architecture(self, architecture: int) -> int:
        """Of every number, in ranges one behind the other, as a tree."""
        ranges: list[tuple[int, int]] = []
        for first, node in sorted(self._ranges(architecture)):
            if not ranges or ranges[-1][1] != node:
                ranges.append((first, node))
        return self._tree(ranges)

    def _tree(self, ranges: list[tuple[int, int]]) -> int:
        if len(ranges) == 1:
            return ranges[0][1]
        half = len(ranges) // 2
        below, above = self._tree(ranges[:half]), self._tree(ranges[half:])
        return self.test((_NUMBER, _WHOLE), _AT_LEAST, ranges[half][0], above, below)

    def _ranges(self, architecture: int) -> Iterator[tuple[int, int]]:
        """The first number of each range that the program does not tell apart, with what it decides of it."""
        waiting = [(0, _NOTHING, 0, _WHOLE)]  # the next instruction, the word that is loaded, the range
        while waiting:
            at, word, low, high = waiting.pop()
            kind, yes, no, value = self.next(at)
            if kind == _RETURN:
                yield low, self.node(_Return(value))
            elif kind == _JUMP:
                waiting.append((at + 1 + value, word, low, high))
            elif kind == _LOAD and value in (_NUMBER, _ARCHITECTURE):
                waiting.append((at + 1, (value, _WHOLE), low, high))
            elif kind == _LOAD:
                if low != high:
                    raise _UnknownError("arguments are looked at whatever the number")
                yield low, _Call(self, architecture, low).decided(at, word)
            elif word == (_ARCHITECTURE, _WHOLE):
                way = yes if self.is_architecture(kind, architecture, value) else no
                waiting.append((at + 1 + way, word, low, high))
            elif word == (_NUMBER, _WHOLE):
                for first, last in _split(kind, value, low, high):
                    waiting.append((at + 1 + (yes if _holds(kind, first, value) else no), word, first, last))
            else:
                raise _UnknownError(f"instruction {kind:#x}")


def _split(kind: int, value: int, low: int, high: int) -> Iterator[tuple[int, int]]:
    """The range in pieces within each of which the comparison has one answer."""
    ends = {_EQUAL: (value, value + 1), _GREATER: (value + 1,)}.get(kind, (value,))
    starts = [low, *(end for end in ends if low < end <= high)]
    yield from zip(starts, [*(start - 1 for start in starts[1:]), high], strict=True)


class _Call:
    """What is decided of one call, by its arguments."""

    def __init__(self, reader: _Reader, architecture: int, number: int) -> None:
        self.reader = reader
        self.architecture = architecture
        self.number = number
        self.found: dict[tuple[int, _Word], int] = {}

    def decided(self, at: int, word: _Word, depth: int = 0) -> int:
        """The node of what follows that instruction, with that word loaded."""
        if depth > _DEEPEST:
            raise _UnknownError("it compares too much")
        if (at, word) not in self.found:
            self.found[at, word] = self._decided(at, word, depth)
        return self.found[at, word]

    def _decided(self, at: int, word: _Word, depth: int) -> int:
        while True:
            kind, yes, no, value = self.reader.next(at)
            at += 1
            if kind == _RETURN:
                return self.reader.node(_Return(value))
            if kind == _JUMP:
                at += value
            elif kind == _LOAD:
                word = (value, _WHOLE)
            elif kind == _AND and word[0] >= _ARGUMENTS:
                word = (word[0], word[1] & value)
            elif word[0] == _ARCHITECTURE:
                at += yes if self.reader.is_architecture(kind, self.architecture, value) else no
            elif word[0] == _NUMBER:
                at += yes if _holds(kind, self.number, value) else no
            elif kind in (_EQUAL, _GREATER, _AT_LEAST) and word[0] >= _ARGUMENTS:
                ways = (self.decided(at + way, word, depth + 1) for way in (yes, no))
                return self.reader.test(word, kind, value, *ways)
            else:
                raise _UnknownError(f"instruction {kind:#x}")


class _Writer:
    """Instructions from the last to the first, since jumps go forwards. `places` has where a node begins for one who
    comes with its word loaded, or without, counted from the end."""

    def __init__(self, nodes: list[_Return | _Test]) -> None:
        self.nodes = nodes
        self.backwards: list[_Instruction] = []
        self.places: dict[tuple[int, bool], int] = {}

    def program(self, root: int) -> bytes:
        """All that is needed from this node on."""
        self._place(root, _NOTHING)
        return b"".join(_INSTRUCTION.pack(*one) for one in reversed(self.backwards))

    def _place(self, number: int, word: _Word) -> int:
        node = self.nodes[number]
        loaded = isinstance(node, _Test) and node.word == word
        if (number, loaded) not in self.places:
            if isinstance(node, _Return):
                self.backwards.append((_RETURN, 0, 0, node.value))
            else:
                self._compare(node)
                self.backwards += [] if loaded else _loading(node.word)
            self.places[number, loaded] = len(self.backwards)
        return self.places[number, loaded]

    def _compare(self, node: _Test) -> None:
        places = [self._place(node.no, node.word), self._place(node.yes, node.word)]
        for way, place in enumerate(places):
            if len(self.backwards) + 1 - place > _FAR:  # with room for a jump of the other way's
                self.backwards.append((_JUMP, 0, 0, len(self.backwards) - place))
                places[way] = len(self.backwards)
        here = len(self.backwards)
        self.backwards.append((node.code, here - places[1], here - places[0], node.value))


def _loading(word: _Word) -> list[_Instruction]:
    """The last instruction first."""
    load = (_LOAD, 0, 0, word[0])
    return [load] if word[1] == _WHOLE else [(_AND, 0, 0, word[1]), load]
