"""Landlock policies as data: the form of landlockconfig in TOML, with what volt adds, and reading it.

Added are `reason`, `enforce` (`require`, or `use` as far as the kernel has it) and `network` (the modes in which a
table counts) on each table, `description`, and names that stand for what the manifest says, as `${volumes}`.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import tomli

from volt.model.facts import ProfileText
from volt.model.findings import Finding, Place, quote
from volt.model.landlock import FILES, KERNELS, PORTS, SCOPES, abi_of
from volt.model.modes import NetworkMode
from volt.model.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What stands for paths and for ports of the manifest; volt.plan.landlock says what they come to.
PATH_NAMES = ("layer", "volumes", "readonly_volumes", "tmpfs", "workdir", "readonly_workdir")
PORT_NAMES = ("ports", "dns")

_MARKS = ("enforce", "network", "reason")
_TABLES = {
    "variable": ("name", "literal"),
    "ruleset": ("handled_access_fs", "handled_access_net", "scoped", *_MARKS),
    "path_beneath": ("allowed_access", "parent", *_MARKS),
    "net_port": ("allowed_access", "port", *_MARKS),
}
_TOP = ("abi", "description", *_TABLES)
_NEEDED = {"variable": ("name", "literal"), "path_beneath": ("allowed_access", "parent")}
_NEEDED |= {"net_port": ("allowed_access", "port")}
_GROUP = re.compile(r"(?:abi|v(\d{1,4}))\.(\w+)", re.ASCII)
# landlockconfig's groups of rights to files; a whole ABI goes by `all`.
_GROUPS = {
    "read_execute": ("execute", "read_file", "read_dir", "refer"),
    "read_write": tuple(right for right in FILES if right != "execute"),
}
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAME = re.compile(r"\$\{([a-z][a-z0-9_]*)\}(/.*)?", re.ASCII | re.DOTALL)


class Marks(Value):
    """What volt adds to a table: whether it has to hold, the network modes it counts in (() for all), and why."""

    required: bool = True
    networks: tuple[str, ...] = ()
    reason: str = ""


class Handled(Value):
    """Rights that are refused wherever no rule gives them; scopes among them."""

    rights: tuple[str, ...]
    marks: Marks = Marks()


class Beneath(Value):
    """Rights to files beneath `parents`: absolute paths, or a name in braces with a path behind it or none."""

    access: tuple[str, ...]
    parents: tuple[str, ...]
    marks: Marks = Marks()


class Ports(Value):
    """Rights to TCP ports: numbers, or names of PORT_NAMES."""

    access: tuple[str, ...]
    ports: tuple[int | str, ...]
    marks: Marks = Marks()


class Policy(Value):
    """A policy as it was written. A right that a rule gives is handled, as landlockconfig has it."""

    description: str = ""
    handled: tuple[Handled, ...] = ()
    beneath: tuple[Beneath, ...] = ()
    ports: tuple[Ports, ...] = ()


@lru_cache(4)  # once for its findings, and once for the plan
def read_policy(source: ProfileText) -> tuple[Policy, tuple[Finding, ...]]:
    """The policy, and all that is wrong with its text; with findings it is of no use. Each has the place of the file,
    and its key is the value's within the policy: whoever has the text can name the line."""
    reader = _Reader(source.path)
    table = _table(source, reader)
    policy = reader.policy(table) if table is not None else Policy()
    return policy, tuple(reader.findings)


def _table(source: ProfileText, reader: _Reader) -> dict[str, Any] | None:
    if source.problem:
        message = f"{quote(source.path)} {source.problem}"
        reader.findings.append(Finding("bad-landlock-policy", "", message, "name a readable TOML file"))
    else:
        try:
            return tomli.loads(source.text)
        except tomli.TOMLDecodeError as error:
            place = Place(source.path, error.lineno, error.colno)
            message = f"this is no TOML: {error.msg}"
            reader.findings.append(Finding("bad-landlock-policy", "", message, "see https://toml.io", place))
        except (ValueError, RecursionError):
            message = "this is no TOML that can be read: a number is too long, or it is nested too deep"
            reader.wrong("bad-landlock-policy", "", message, "see https://toml.io")
    return None


class _Reader:
    """Turns tables into rules; collects what is wrong and goes on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.findings: list[Finding] = []
        self.variables: dict[str, tuple[str, ...]] = {}
        self.abi = max(KERNELS)

    def wrong(self, code: str, key: str, message: str, hint: str) -> None:
        self.findings.append(Finding(code, key, message, hint, Place(self.name)))

    def bad(self, key: str, message: str, hint: str) -> None:
        self.wrong("bad-landlock-policy", key, message, hint)

    def policy(self, table: dict[str, Any]) -> Policy:
        self._keys("", table, _TOP, ())
        self._abi(table)
        description = self._string("description", table) if "description" in table else ""
        self.variables = dict(self._variables(table))
        return Policy(
            description=description,
            handled=tuple(self._handled(table)),
            beneath=tuple(self._beneath(table)),
            ports=tuple(self._ports(table)),
        )

    def _keys(self, key: str, table: Mapping[str, Any], known: Sequence[str], needed: Sequence[str]) -> None:
        where = f"{key}." if key else ""
        for name in table:
            if name not in known:
                self.bad(
                    where + name if _BARE.fullmatch(name) else key,
                    f"{quote(name)} is not a key here",
                    f"write one of {', '.join(known)}",
                )
        for name in needed:
            if name not in table:
                self.bad(key, f"{name} is missing", f"add {name}")

    def _abi(self, table: Mapping[str, Any]) -> None:
        abi = table.get("abi", self.abi)
        if type(abi) is not int or abi not in KERNELS:
            self.bad("abi", f"{quote(abi)} is no ABI that this volt knows", f"write 1 to {max(KERNELS)}")
        else:
            self.abi = abi

    def _tables(self, table: Mapping[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, table) of each of a kind, its keys checked."""
        found = table.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            self.bad(kind, f"{kind} is no list of tables", f"write [[{kind}]]")
            return
        for number, one in enumerate(found):
            key = f"{kind}[{number}]"
            self._keys(key, one, _TABLES[kind], _NEEDED.get(kind, ()))
            yield key, one

    def _variables(self, table: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for key, one in self._tables(table, "variable"):
            name = self._string(f"{key}.name", one) if "name" in one else ""
            if name in (*PATH_NAMES, *PORT_NAMES):
                self.bad(f"{key}.name", f"{quote(name)} stands for what the manifest says", "choose another name")
            paths = [self._path(at, value) for at, value in self._strings(f"{key}.literal", one)]
            if name:
                yield name, tuple(path for path in paths if path)

    def _handled(self, table: Mapping[str, Any]) -> Iterator[Handled]:
        for key, one in self._tables(table, "ruleset"):
            marks = self._marks(key, one)
            files = self._rights(f"{key}.handled_access_fs", one, FILES)
            ports = self._rights(f"{key}.handled_access_net", one, PORTS)
            scopes = self._rights(f"{key}.scoped", one, SCOPES)
            if not {"handled_access_fs", "handled_access_net", "scoped"} & one.keys():
                self.bad(key, "this ruleset handles nothing", "add handled_access_fs, handled_access_net or scoped")
            yield Handled((*files, *ports, *scopes), marks)

    def _beneath(self, table: Mapping[str, Any]) -> Iterator[Beneath]:
        for key, one in self._tables(table, "path_beneath"):
            access = self._rights(f"{key}.allowed_access", one, FILES)
            parents = tuple(
                path for at, value in self._strings(f"{key}.parent", one) for path in self._parents(at, value)
            )
            yield Beneath(access, parents, self._marks(key, one))

    def _ports(self, table: Mapping[str, Any]) -> Iterator[Ports]:
        for key, one in self._tables(table, "net_port"):
            access = self._rights(f"{key}.allowed_access", one, PORTS)
            ports = (self._port(at, value) for at, value in self._list(f"{key}.port", one))
            yield Ports(access, tuple(port for port in ports if port is not None), self._marks(key, one))

    def _port(self, key: str, value: object) -> int | str | None:
        if type(value) is int and 0 <= value <= 65535:
            return value
        name = _NAME.fullmatch(value) if isinstance(value, str) else None
        if name and name[1] in PORT_NAMES and not name[2]:
            return name[1]
        self.bad(key, f"{quote(value)} is no port", 'write 0 to 65535, "${ports}" or "${dns}"')
        return None

    def _parents(self, key: str, value: str) -> Iterator[str]:
        """The path, or the paths of a variable of the policy's own; names of the manifest stay."""
        name = _NAME.fullmatch(value)
        rest = self._path(key, name[2]).rstrip("/") if name and name[2] else ""
        if name and name[1] in PATH_NAMES:
            yield f"${{{name[1]}}}{rest}"
        elif name and name[1] in self.variables:
            yield from (path.rstrip("/") + rest or "/" for path in self.variables[name[1]])
        elif name:
            known = [*self.variables, *PATH_NAMES]
            self.bad(key, f"{quote(name[1])} is no variable", f"write one of {', '.join(known)}, or add [[variable]]")
        else:
            yield from filter(None, [self._path(key, value)])

    def _path(self, key: str, value: str) -> str:
        """A path of the workload's own root; "" where it is none."""
        if not value.startswith("/") or ".." in value.split("/") or not value.isprintable():
            self.bad(key, f"{quote(value)} is no absolute path without '..'", "write a path of the workload's root")
            return ""
        return "/" + posixpath.normpath(value).lstrip("/")

    def _rights(self, key: str, table: Mapping[str, Any], known: list[str]) -> tuple[str, ...]:
        names = [right for at, value in self._strings(key, table) for right in self._right(at, value, known)]
        return tuple(right for right in known if right in names)

    def _right(self, key: str, value: str, known: list[str]) -> tuple[str, ...]:
        """The right of this name, or those of a group of an ABI."""
        if value in known:
            return (value,)
        group = _GROUP.fullmatch(value)
        abi = int(group[1]) if group and group[1] else self.abi
        if group and abi in KERNELS and group[2] == "all":
            return tuple(right for right in known if abi_of(right) <= abi)
        if group and abi in KERNELS and known is FILES and group[2] in _GROUPS:
            return tuple(right for right in _GROUPS[group[2]] if abi_of(right) <= abi)
        hint = f"did you mean '{near[0]}'?" if (near := _near(value, known)) else f"write one of {', '.join(known)}"
        self.wrong("unknown-right", key, f"{quote(value)} is no right here", hint)
        return ()

    def _marks(self, key: str, table: Mapping[str, Any]) -> Marks:
        enforce = table.get("enforce", "require")
        if enforce not in ("require", "use"):
            self.bad(f"{key}.enforce", f"{quote(enforce)} is not how a rule is enforced", 'write "require" or "use"')
        networks = [value for _, value in self._strings(f"{key}.network", table)]
        for value in networks:
            if value not in tuple(NetworkMode):
                hint = f"write {', '.join(NetworkMode)}"
                self.bad(f"{key}.network", f"{quote(value)} is no network mode", hint)
        reason = self._string(f"{key}.reason", table) if "reason" in table else ""
        return Marks(enforce != "use", tuple(networks), reason)

    def _string(self, key: str, table: Mapping[str, Any]) -> str:
        value = table.get(key.rpartition(".")[2])
        if isinstance(value, str) and value.strip() and value.replace("\n", "").isprintable():
            return " ".join(value.split())
        self.bad(key, f"{key.rpartition('.')[2]} is empty or not text", "write a string")
        return ""

    def _list(self, key: str, table: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
        """(key, value) of each element of a list that is there; a single value is as good as a list of one."""
        name = key.rpartition(".")[2]
        value = table.get(name, [])
        if name in table and value == []:
            self.bad(key, f"{name} is empty", "add something, or remove it")
        if isinstance(value, list):
            yield from ((f"{key}[{number}]", one) for number, one in enumerate(value))
        else:
            yield key, value

    def _strings(self, key: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for at, value in self._list(key, table):
            if isinstance(value, str):
                yield at, value
            else:
                self.bad(at, f"{quote(value)} is no string", "write a string")


def _near(value: str, known: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(value, known, 1)
