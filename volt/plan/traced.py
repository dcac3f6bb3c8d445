"""What a traced payload asked of the kernel: strace's lines turned into system calls, paths with rights, and ports.

The lines are those of `strace -f -y -s 0`, strace(1): a path that a descriptor leads to stands behind it in angle
brackets, as the kernel has it, and no text but names of files is printed. What is needed is taken rather too widely
than too narrowly: who asks for this tries which of it can be gone without.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator

from volt.model.values import Value

Need = tuple[str, str]

_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_NAME = re.compile(r"(\w+)\(", re.ASCII)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*(?:<[^<>]*>)?>|[^"<>,(){}\[\]]+|.', re.DOTALL)
_RESULT = re.compile(r" *= (-?\w+|\?)(?:<([^<>]*)(?:<[^<>]*>)?>)? ?([A-Z0-9]*)")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f", "a": "\a", "b": "\b"}
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_SOCKET = re.compile(r'sun_path="((?:[^"\\]|\\.)*)"')
_OWN = re.compile(r"/proc/(?:self|thread-self|\d+)(?:/|$)")
# Errors that the kernel gives before it asks whether one may.
_BEFORE = frozenset(("ENOENT", "ENOTDIR", "EBADF", "EFAULT", "ENAMETOOLONG", "ELOOP", "ENOSYS"))
_KINDS = {"S_IFIFO": "make_fifo", "S_IFSOCK": "make_sock", "S_IFCHR": "make_char", "S_IFBLK": "make_block"}
# The kernel opens a program for both, and an interpreter or loader too.
EXECUTED = ("execute", "read_file")
_MAKES = ("make_reg", "make_dir", "make_sym", "make_fifo", "make_sock")
_REMOVES = ("remove_file", "remove_dir")


class Traced(Value):
    """Names of system calls; paths, each with a right that it was used by, or may have been; TCP or UDP ports,
    likewise; and the programs that were executed."""

    calls: frozenset[str]
    paths: frozenset[Need]
    unlikely: frozenset[Need]
    ports: frozenset[tuple[int, str]]
    executed: tuple[str, ...]

    def __or__(self, other: Traced) -> Traced:
        """What either did."""
        executed = tuple(dict.fromkeys((*self.executed, *other.executed)))
        paths, unlikely = self.paths | other.paths, self.unlikely | other.unlikely
        return Traced(self.calls | other.calls, paths, unlikely, self.ports | other.ports, executed)


class Call(Value):
    """One system call that has returned. `given` is the path behind the result, "" where there is none; `error` the
    name of the errno."""

    pid: str
    name: str
    arguments: tuple[str, ...]
    given: str
    error: str


def calls_of(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of the payload and what it started: all behind the init's own start but the init's."""
    pending: dict[str, str] = {}
    others: set[str] = set()
    payload: set[str] = set()
    started = False
    for line in lines:
        found = _LINE.match(line.rstrip("\n"))
        if not found:
            continue
        pid, text = found.groups()
        if text.endswith(_UNFINISHED):
            pending[pid] = text.removesuffix(_UNFINISHED)
            text = pending[pid]
        elif resumed := _RESUMED.match(text):
            text = pending.pop(pid, "") + resumed[1]
        if not started:
            others.add(pid)
            started = text.startswith("execve(") and "/proc/self/fd/" in text
            continue
        if pid not in others and (pid in payload or payload or text.startswith("execve(")):
            payload.add(pid)
            if pid not in pending and (call := parse_call(pid, text)):
                yield call


def parse_call(pid: str, text: str) -> Call | None:
    """One line's call; None for a signal, an exit, or what cannot be read."""
    found = _NAME.match(text)
    if not found:
        return None
    arguments, word, depth, at = [], "", 0, found.end()
    for token in _TOKEN.finditer(text, at):
        one, at = token[0], token.end()
        depth += (one in "([{") - (one in ")]}") if len(one) == 1 else 0
        if depth < 0:
            break
        if one == "," and depth == 0:
            arguments.append(word.strip())
            word = ""
        else:
            word += one
    arguments += [word.strip()] if word.strip() else []
    result = _RESULT.match(text, at)
    given, error = (result[2] or "", result[3]) if result else ("", "")
    return Call(pid, found[1], tuple(arguments), _unescaped(given), error if error.startswith("E") else "")


def _unescaped(text: str) -> str:
    """The name that strace has written with escapes; what is no UTF-8 in it becomes what no name holds."""

    def one(found: re.Match[str]) -> str:
        if found[1] or found[2]:
            return chr(int(found[1], 16) if found[1] else int(found[2], 8))
        return _LETTERS.get(found[3], found[3])

    return _ESCAPE.sub(one, text).encode("latin-1", "replace").decode("utf-8", "replace")


def _quoted(word: str) -> str | None:
    """The name in quotes; None for a pointer that could not be read."""
    return _unescaped(word[1:-1]) if len(word) > 1 and word[0] == '"' == word[-1] else None


def _behind(word: str) -> str:
    """The path behind a descriptor."""
    found = re.search(r"<([^<>]*)", word)
    return _unescaped(found[1]) if found else ""


class Reader:
    """Follows the calls of a run, and collects what they need."""

    def __init__(self, folder: str) -> None:
        self.folder = folder  # where the payload starts
        self.folders: dict[str, str] = {}
        self.calls: set[str] = {"execve"}
        self.needs: set[Need] = set()
        self.unlikely: set[Need] = set()  # a folder opened as if it were a file
        self.ports: set[tuple[int, str]] = set()
        self.executed: dict[str, None] = {}
        self.made: set[str] = set()  # was not there when the payload started
        self.maybe: set[str] = set()  # or it was

    def read(self, lines: Iterable[str]) -> Traced:
        for call in calls_of(lines):
            self.calls.add(call.name)
            for word in call.arguments:
                if word.startswith("AT_FDCWD<"):
                    self.folders[call.pid] = _behind(word)
            handle = _HANDLERS.get(call.name)
            if handle and call.error not in _BEFORE:
                handle(self, call)
        likely, self.needs = frozenset(self.needs), set()
        for path, right in self.unlikely:
            self.need(path, right)
        unlikely = frozenset(self.needs) - likely
        return Traced(frozenset(self.calls), likely, unlikely, frozenset(self.ports), tuple(self.executed))

    def need(self, path: str, *rights: str) -> None:
        """These rights to a path, or to the folder above it that was there from the start."""
        path = path.removesuffix(" (deleted)")
        if not path.startswith("/") or path.startswith("/memfd:"):
            return
        path = posixpath.normpath("/" + path.lstrip("/"))
        if _OWN.match(path):
            path = "/proc"  # of a process: its number is another one in the next run
        if path.startswith("/dev/pts/"):
            path = "/dev/pts"
        places = [self.standing(path)]
        if path in self.maybe:
            places = [path, posixpath.dirname(path)]
        for place in places:
            self.needs |= {(self.standing(place), right) for right in rights}

    def standing(self, path: str) -> str:
        """The path, or the nearest above it that the payload has not made and that can be written in a policy."""
        found = "/"
        for name in filter(None, path.split("/")):
            inner = posixpath.join(found, name)
            if inner in self.made or not name.isprintable() or "\ufffd" in name:
                break
            found = inner
        return found

    def at(self, call: Call, number: int) -> str:
        """The path in two arguments, a folder's descriptor and a name; "" where it cannot be read."""
        if number + 1 >= len(call.arguments):
            return ""
        name = _quoted(call.arguments[number + 1])
        return "" if name is None else posixpath.join(_behind(call.arguments[number]), name)

    def here(self, call: Call, number: int) -> str:
        """The path in one argument."""
        name = _quoted(call.arguments[number]) if number < len(call.arguments) else None
        return "" if name is None else posixpath.join(self.folders.get(call.pid, self.folder), name)

    def opened(self, call: Call, path: str, flags: str) -> None:
        words = set(flags.split("|"))
        if "O_PATH" in words:
            return
        path = call.given or path
        rights = {"write_file"} if words & {"O_WRONLY", "O_RDWR"} else set()
        if "O_WRONLY" not in words:
            rights |= {"read_dir"} if "O_DIRECTORY" in words else {"read_file"}
            if rights == {"read_file"}:
                self.unlikely.add((path, "read_dir"))
        rights |= {"truncate"} if "O_TRUNC" in words else set()
        if "O_CREAT" in words and call.given and path not in self.made:
            self.need(posixpath.dirname(path), "make_reg")
            (self.made if "O_EXCL" in words else self.maybe).add(path)
        if "O_TMPFILE" in words:
            self.need(posixpath.dirname(path), *rights, "make_reg")
        self.need(path, *rights)

    def created(self, call: Call, path: str, *rights: str) -> None:
        self.need(posixpath.dirname(path), *rights)
        if path and not call.error:
            self.made.add(posixpath.normpath(path))

    def moved(self, call: Call, old: str, new: str) -> None:
        self.need(posixpath.dirname(old), *_REMOVES, "refer", *(_MAKES if "RENAME_EXCHANGE" in call.arguments else ()))
        self.need(posixpath.dirname(new), *_MAKES, *_REMOVES, "refer")
        if new and not call.error:
            self.made.add(posixpath.normpath(new))

    def linked(self, call: Call, old: str, new: str) -> None:
        self.need(posixpath.dirname(old), "refer")
        self.created(call, new, "make_reg", "make_sym", "make_fifo", "make_sock", "refer")

    def executes(self, path: str) -> None:
        self.need(path, *EXECUTED)
        self.executed[path] = None

    def socket(self, call: Call, right: str) -> None:
        address = call.arguments[1] if len(call.arguments) > 1 else ""
        if port := _PORT.search(address):
            self.ports.add((int(port[1]), right))
        if right == "bind_tcp" and (named := _SOCKET.search(address)):
            folder = self.folders.get(call.pid, self.folder)
            self.created(call, posixpath.join(folder, _unescaped(named[1])), "make_sock")

    def control(self, call: Call) -> None:
        if (path := _behind(call.arguments[0])).startswith("/dev/"):
            self.need(path, "ioctl_dev")


def _node(call: Call, number: int) -> str:
    mode = call.arguments[number] if number < len(call.arguments) else ""
    return next((right for kind, right in _KINDS.items() if kind in mode), "make_reg")


def _flags(call: Call, number: int) -> str:
    return call.arguments[number] if number < len(call.arguments) else ""


def _flags_in(call: Call) -> str:
    """Of openat2's structure."""
    found = re.search(r"flags=([\w|]+)", _flags(call, 2))
    return found[1] if found else ""


_HANDLERS: dict[str, Callable[[Reader, Call], None]] = {
    "open": lambda r, c: r.opened(c, r.here(c, 0), _flags(c, 1)),
    "openat": lambda r, c: r.opened(c, r.at(c, 0), _flags(c, 2)),
    "openat2": lambda r, c: r.opened(c, r.at(c, 0), _flags_in(c)),
    "creat": lambda r, c: r.opened(c, r.here(c, 0), "O_CREAT|O_WRONLY|O_TRUNC"),
    "truncate": lambda r, c: r.need(r.here(c, 0), "truncate", "write_file"),
    "ftruncate": lambda r, c: r.need(_behind(c.arguments[0]), "truncate"),
    "execve": lambda r, c: r.executes(r.here(c, 0)),
    "execveat": lambda r, c: r.executes(r.at(c, 0)),
    "chdir": lambda r, c: r.folders.update({} if c.error else {c.pid: r.here(c, 0)}),
    "fchdir": lambda r, c: r.folders.update({} if c.error else {c.pid: _behind(c.arguments[0])}),
    "mkdir": lambda r, c: r.created(c, r.here(c, 0), "make_dir"),
    "mkdirat": lambda r, c: r.created(c, r.at(c, 0), "make_dir"),
    "mknod": lambda r, c: r.created(c, r.here(c, 0), _node(c, 1)),
    "mknodat": lambda r, c: r.created(c, r.at(c, 0), _node(c, 2)),
    "symlink": lambda r, c: r.created(c, r.here(c, 1), "make_sym"),
    "symlinkat": lambda r, c: r.created(c, r.at(c, 1), "make_sym"),
    "link": lambda r, c: r.linked(c, r.here(c, 0), r.here(c, 1)),
    "linkat": lambda r, c: r.linked(c, r.at(c, 0), r.at(c, 2)),
    "unlink": lambda r, c: r.need(posixpath.dirname(r.here(c, 0)), "remove_file"),
    "rmdir": lambda r, c: r.need(posixpath.dirname(r.here(c, 0)), "remove_dir"),
    "unlinkat": lambda r, c: r.need(posixpath.dirname(r.at(c, 0)), *_REMOVES),
    "rename": lambda r, c: r.moved(c, r.here(c, 0), r.here(c, 1)),
    "renameat": lambda r, c: r.moved(c, r.at(c, 0), r.at(c, 2)),
    "renameat2": lambda r, c: r.moved(c, r.at(c, 0), r.at(c, 2)),
    "bind": lambda r, c: r.socket(c, "bind_tcp"),
    "connect": lambda r, c: r.socket(c, "connect_tcp"),
    "ioctl": lambda r, c: r.control(c),
}
