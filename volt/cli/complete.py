"""What a shell asks while a command line is written: `volt __complete SHELL …`, called by the scripts of `volt
completion`, which show none of its errors. Prints the words that fit, each on a line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from volt.cli.candidates import (
    Candidates,
    any_file,
    every_name,
    filter_word,
    living_name,
    name_or_path,
    signal_name,
)
from volt.model.values import Value, replace

_BREAKS = "=:"  # bash replaces what stands behind these alone: COMP_WORDBREAKS
_SPECIAL = frozenset(" \t!\"#$&'()*,;<=>?[\\]^`{|}~")
_GENERAL = [("--help", "Show this message and exit."), ("--version", "Print the version and end.")]
# Verbs for what runs, and options that are the same in every verb.
_LIVING = "attach audit cp exec kill pause stats stop top unpause update".split()
_BY_OPTION = {"--filter": filter_word, "--signal": signal_name}


class Parameter(Value):
    """An option by its `names`, or an argument, which has none; `asked` gives what a word of it may become."""

    names: tuple[str, ...]
    valued: bool
    many: bool
    asked: Callable[[str], Any] | None
    metavar: str
    help: str = ""


def plain(arguments: list[str]) -> int:
    """What `volt __complete` does."""
    return complete(arguments[1:])


def complete(words: list[str]) -> int:
    """Answer one question: the shell, then for bash the line up to the cursor, for the others its words, `volt`
    left out, the unfinished one last."""
    shell, *rest = words
    if shell == "bash":
        written = _split(rest[0])
        found = [_for_bash(word, written[-1]) for word, _ in candidates(written[1:])]
    else:
        found = [f"{word}\t{about}" if about else word for word, about in candidates(rest)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 0


def candidates(words: list[str]) -> Candidates:
    """What the last word may become, behind the ones before it: verbs, options, or what the verb's argument takes.

    Read from the verbs' own definitions: typer's parser, which would know them too, loads pydantic.
    """
    from volt.cli.app import SUMMARY, app

    *before, incomplete = words or [""]
    if "--" in before:
        return []  # the payload's command
    known = app(before)
    nouns = {str(one.name): one for one in known.registered_groups}
    noun = nouns.get(before[0]) if before else None
    commands = (noun.typer_instance if noun and noun.typer_instance else known).registered_commands
    before = before[1:] if noun else before
    verbs = {str(one.name): one.callback for one in commands if one.callback and not one.hidden}
    if not before:
        said = [(name, _first_line(verb.__doc__)) for name, verb in verbs.items()]
        said += [] if noun else [(name, _first_line(SUMMARY[name])) for name in nouns]
        found = [*said, *(_GENERAL if incomplete.startswith("-") else ())]
    elif before[0] in verbs:
        parameters = [completed(one, before[0]) for one in _parameters(verbs[before[0]])]
        found = _of_verb(parameters, before[1:], incomplete)
    else:
        return []
    return [one for one in found if one[0].startswith(incomplete) and one[0].isprintable()]


def _parameters(verb: Callable[..., Any]) -> list[Parameter]:
    hints = get_type_hints(verb, include_extras=True)
    annotated = [(name, *get_args(hint)[:2]) for name, hint in hints.items() if get_origin(hint) is Annotated]
    return [_parameter(name, kind, info) for name, kind, info in annotated]


def _parameter(name: str, kind: Any, info: Any) -> Parameter:
    """From a type and what `typer.Option` or `typer.Argument` says; without names an option is called as its name."""
    many = any(get_origin(one) in (list, tuple) for one in (kind, *get_args(kind)))
    asked: Callable[[str], Any] | None = info.autocompletion
    if isinstance(info, ArgumentInfo):
        return Parameter((), False, many, asked, info.metavar or name.upper())
    declared = tuple(word for one in info.param_decls or () for word in one.split("/"))
    names = declared or (f"--{name.strip('_').replace('_', '-')}",)
    valued = kind is not bool and not info.count
    return Parameter(names, valued, many, asked, info.metavar or "", info.help or "")


def completed(one: Parameter, verb: str) -> Parameter:
    """A parameter whose definition does not say what its words may become: by what its help calls them."""
    if one.asked:
        return one
    if not one.names and "NAME" in one.metavar:
        return replace(one, asked=living_name if verb in _LIVING else every_name)
    if not one.names and verb == "cp":
        return replace(one, asked=name_or_path)
    by_option = next((asked for name, asked in _BY_OPTION.items() if name in one.names), None)
    by_value = any_file if one.names and one.metavar in ("FILE", "DIR", "FOLDER") else None
    return replace(one, asked=by_option or by_value)


def _of_verb(parameters: list[Parameter], before: list[str], incomplete: str) -> Candidates:
    options = {name: one for one in parameters for name in one.names}
    arguments = [one for one in parameters if not one.names]
    pending, position = None, 0
    for word in before:
        if pending:
            pending = None
        elif word.startswith("-") and len(word) > 1:
            one = options.get(word) or options.get(f"-{word[-1]}")  # of -it the last may take the value
            pending = one if one and one.valued and "=" not in word else None
        else:
            position += 1
    option, equals, value = incomplete.partition("=")
    if pending:
        return _asked(pending, incomplete)
    if equals and option in options:
        return [(f"{option}={word}", about) for word, about in _asked(options[option], value)]
    if incomplete.startswith("-"):
        return [*((name, _first_line(one.help)) for name, one in options.items()), *_GENERAL[:1]]
    taking = arguments[position:] or [one for one in arguments[-1:] if one.many]
    return _asked(taking[0], incomplete) if taking else []


def _asked(parameter: Parameter, incomplete: str) -> Candidates:
    found = parameter.asked(incomplete) if parameter.asked else []
    return [(one, "") if isinstance(one, str) else (one[0], _first_line(one[1])) for one in found]


def _first_line(text: str | None) -> str:
    """A tab or a new line would be another field, or another word."""
    return " ".join((text or "").split("\n\n")[0].split())


def _split(line: str) -> list[str]:
    """The words of a line as bash splits them, the last as far as it is written; its quotes may still be open."""
    words, word, quote, begun = [], "", "", False
    letters = iter(line)
    for letter in letters:
        if letter == "\\" and quote != "'":
            word, begun = word + next(letters, ""), True
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, begun = letter, True
        elif not quote and letter.isspace():
            words += [word] if word or begun else []
            word, begun = "", False
        else:
            word, begun = word + letter, True
    return [*words, word]


def _for_bash(word: str, written: str) -> str:
    """What stands in the place of the part of the unfinished word that bash replaces."""
    start = max(written.rfind(one) for one in _BREAKS) + 1
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in word[start:])
