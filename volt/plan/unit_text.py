"""Text in the files of systemd's units, whatever is in it: systemd.syntax(7), systemd.service(5), "Command lines"."""

from __future__ import annotations

import re

from volt.errors import VoltError

# What needs no quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_@:=,.+/-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def description(text: str) -> str:
    """On one line, without specifiers; a backslash at its end would take the next line in."""
    return _CONTROL.sub(" ", text).strip().rstrip("\\").replace("%", "%%")


def argument(word: str, *, dollars: bool = True) -> str:
    """A word as ExecStart= and Environment= take it: in quotes, with C's escapes, without specifiers or, of a command
    line, variables. Raises VoltError."""
    _check_text(word)
    word = word.replace("%", "%%").replace("$", "$$" if dollars else "$")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", r"\\").replace('"', r"\"")
    readable = _CONTROL.sub(lambda found: rf"\x{ord(found[0]):02x}", escaped)
    return f'"{readable}"'


def path(name: str) -> str:
    """A path as RequiresMountsFor= takes it, which knows no escape but of a quote. Raises VoltError."""
    _check_text(name)
    if _CONTROL.search(name):
        raise VoltError(f"{name!r} has a character that no unit can name", hint="rename it")
    word = name.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _check_text(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise VoltError(f"{word!r} is no UTF-8, which units are written in", hint="rename it") from error
    if "\0" in word:
        raise VoltError(f"{word!r} has a NUL byte", hint="remove it")


def folder(name: str) -> str:
    """A path as WorkingDirectory= takes it, which knows no quotes. Raises VoltError."""
    _check_text(name)
    if _CONTROL.search(name) or name.endswith((" ", "\\")):
        raise VoltError(f"{name!r} is no folder that a unit can name", hint="rename it")
    return name.replace("%", "%%")
