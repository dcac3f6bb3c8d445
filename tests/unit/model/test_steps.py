"""The table of operations: its rules, its version, and the printed form of a step."""

import json
import re

import pytest

from volt.model import steps
from volt.model.steps import (
    CAPABILITIES,
    KINDS,
    LIMITS,
    MOUNT_ATTRS,
    OPCODES,
    OPERATIONS,
    U32,
    Execute,
    FilterCalls,
    KeepCapabilities,
    MakeFolder,
    Open,
    SetLimit,
    SetMount,
    Step,
    arguments,
    attribute_mask,
    describe,
    mask_of,
    render,
    table_version,
)
from volt.model.text import ADDRESS, RUN, UIDS, text

# ── the table


def test_every_operation_is_in_the_table_once():
    assert {operation.__name__ for operation in OPERATIONS} == {
        one.__name__ for one in Step.__subclasses__() if one is not One
    }
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) == len(OPCODES)
    assert sorted(OPCODES.values()) == list(range(1, len(OPERATIONS) + 1))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_keeps_to_the_rules_of_the_table(operation):
    """Named after its class, with a docstring, arguments of known kinds, what it opens last but for defaults."""
    assert re.sub(r"(?<!^)(?=[A-Z])", "-", operation.__name__).lower() == operation.name
    assert operation.__doc__
    assert not operation.__doc__.startswith(f"{operation.__name__}(")
    for name, kind in arguments(operation):
        assert kind in KINDS, name
    assert sum(kind == "Out" for _, kind in arguments(operation)) <= 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_is_undone_changes_something(operation):
    assert operation.calls or not (operation.undo or operation.release)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", call) for call in operation.calls)


def replaced(monkeypatch, operations):
    """The table's version when it has these operations."""
    monkeypatch.setattr(steps, "OPCODES", {operation: n for n, operation in enumerate(operations, 1)})
    return table_version()


class One(Step):
    """An operation outside the table."""

    name = "open"
    first: "U32" = 0
    second: "U32" = 0


def test_the_version_changes_with_the_table(monkeypatch):
    same = replaced(monkeypatch, OPERATIONS)
    versions = [
        same,
        replaced(monkeypatch, OPERATIONS[:-1]),
        replaced(monkeypatch, OPERATIONS[::-1]),
        replaced(monkeypatch, (*OPERATIONS, One)),
    ]
    for arguments_ in ({"first": "U32", "second": "U64"}, {"first": "U32", "third": "U64"}):
        monkeypatch.setattr(One, "_kinds", {"note": "str", **arguments_})
        versions.append(replaced(monkeypatch, (*OPERATIONS, One)))
    monkeypatch.setattr(One, "name", "other")
    versions.append(replaced(monkeypatch, (*OPERATIONS, One)))
    assert len(set(versions)) == len(versions)
    assert replaced(monkeypatch, OPERATIONS) == same


def test_the_version_fits_its_place():
    assert 0 < table_version() < 2**31


# ── names and their bits


def test_the_numbers_of_capabilities_are_the_kernels():
    numbers = {"CHOWN": 0, "KILL": 5, "NET_ADMIN": 12, "SYS_ADMIN": 21, "SETFCAP": 31, "CHECKPOINT_RESTORE": 40}
    assert {name: CAPABILITIES.index(name) for name in numbers} == numbers
    assert len(CAPABILITIES) == 41


def test_masks_are_the_bits_of_their_names():
    assert mask_of(()) == 0
    assert mask_of(("CHOWN", "CHECKPOINT_RESTORE")) == 1 | 1 << 40
    assert mask_of(tuple(CAPABILITIES)) == 2**41 - 1
    assert attribute_mask(("ro", "nodev")) == 5
    assert attribute_mask(tuple(MOUNT_ATTRS)) == 0x20000F


def test_a_name_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match="ROOT"):
        mask_of(("ROOT",))
    with pytest.raises(KeyError, match="rw"):
        attribute_mask(("rw",))


def test_the_numbers_of_limits_are_the_kernels():
    """On the two architectures that there are; elsewhere some differ."""
    import resource

    names = {name: number for name, number in LIMITS.items() if name != "locks"}
    assert {name: getattr(resource, f"RLIMIT_{name.upper()}", number) for name, number in names.items()} == names


# ── the printed form


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (MakeFolder(path=text("/run/", RUN), mode=0o700), "make-folder        path=/run/{run} mode=0700"),
        (MakeFolder(path=text("/x"), keep=True), "make-folder        path=/x keep=yes"),
        (
            Open(path=text("/srv"), to="root", note="the root"),
            "open               path=/srv → root   # the root",
        ),
        (
            SetMount(mount="root", attrs=("ro", "nosuid"), idmap="map"),
            "set-mount          mount=root attrs=ro,nosuid idmap=map",
        ),
        (
            Open(path=text("/srv"), device=1, inode=42, to="root"),
            "open               path=/srv device=1 inode=42 → root",
        ),
        (SetMount(mount="root"), "set-mount          mount=root"),
        (KeepCapabilities(caps=("KILL", "SETUID")), "keep-capabilities  caps=KILL,SETUID"),
        (SetLimit(resource="nofile", soft=1, hard=2), "set-limit          resource=nofile soft=1 hard=2"),
        (
            Execute(argv=(text("sh"), text("-c"), text("echo $A")), env=(text("A=", UIDS),), stdio=("", "null")),
            "execute            argv=[sh, -c, 'echo $A'] env=[A={uids}] stdio=,null",
        ),
        (FilterCalls(filter=b"\0" * 8), "filter-calls       filter=<8 bytes, sha256 af5570f5a181>"),
    ],
    ids=lambda value: value.name if isinstance(value, Step) else "",
)
def test_a_step_is_one_line(step, line):
    assert render(step) == line


@pytest.mark.parametrize(
    "content",
    ["", "two words", "a,b", "[x]", 'say "no"', "it's", "#1", "new\nline", "\x1b[2J", "\x9b", "\u202e", "\udcff"],
)
def test_what_could_be_misread_is_quoted_in_ascii(content):
    line = render(Execute(argv=(text(content),), env=()))
    assert line.isascii()
    assert line.isprintable()
    assert line.endswith(f"argv=[{content!a}]")


def test_ordinary_text_is_shown_as_it_is():
    assert render(MakeFolder(path=text("/srv/grüße-1.2_x:y"))).endswith("path=/srv/grüße-1.2_x:y")


def test_a_step_as_json_holds_every_argument():
    step = Execute(argv=(text("a"), text(RUN)), env=(), stdio=("", "x"), note="why")
    assert describe(step) == {
        "operation": "execute",
        "argv": ["a", "{run}"],
        "env": [],
        "stdio": ["", "x"],
        "descriptors": [],
        "env_files": [],
        "defaults": [],
        "note": "why",
    }
    assert describe(FilterCalls(filter=b"\0\xff"))["filter"] == "AP8="
    assert describe(MakeFolder(path=text("{")))["path"] == "{{"


def test_every_step_is_json_and_one_line():
    """With arguments of every kind."""
    values = {
        "Out": "o",
        "Reg": "r",
        "Regs": ("r",),
        "Text": text("t"),
        "Texts": (text("t"),),
        "Blob": b"b",
        "Messages": (b"m", ADDRESS),
        "Switch": True,
    }
    values |= {"Attrs": ("ro",), "Caps": ("KILL",), "Limit": "core"}
    values |= {"Files": ("execute",), "Ports": ("bind_tcp",), "Scopes": ("signal",)}
    for operation in OPERATIONS:
        step = operation(**{name: values.get(kind, 7) for name, kind in arguments(operation)})
        assert set(json.loads(json.dumps(describe(step)))) == {
            "operation",
            "note",
            *(n for n, _ in arguments(operation)),
        }
        assert render(step).startswith(operation.name)
        assert "\n" not in render(step)
