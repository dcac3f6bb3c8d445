"""The manual pages, from the command definitions: volt(1) and one for each verb, in man(7)'s macros."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from generate import verbs, words

SOURCE = '.\\" Written by scripts/docs from volt/cli; change it there.'
_CODE = re.compile(r"`([^`]+)`")

FILES = {
    "/etc/volt/policy.toml": "What manifests may ask for on this machine.",
    "/var/lib/volt": "State: kept layers, cached plans.",
    "/run/volt": "Runs that live, with their records.",
    "/var/log/volt": "What detached workloads have written.",
}
ENVIRONMENT = {"VOLT_ROOT": "A folder to have state, runs and logs in, instead of the three above."}
STATUS = {
    "0": "It is done. Of \\fBvolt run\\fP, \\fBvolt exec\\fP and \\fBvolt attach\\fP the status is the payload's own.",
    "1": "It failed, or what was looked at is not as it should be.",
    "2": "The manifest has errors, or the command line is wrong.",
    "125": "\\fBvolt run\\fP, \\fBvolt exec\\fP or \\fBvolt attach\\fP failed by itself.",
    "126, 127": "The payload cannot be executed, or is not found.",
    "128 + n": "Signal n ended the payload.",
}


def escape(text: str) -> str:
    """Text that roff takes as text: no escape, no request at the start of a line, hyphens that can be copied."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    plain = plain.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def prose(text: str) -> str:
    """A paragraph, with what stands in backquotes in bold."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(f"\\fB{escape(part)}\\fP" if number % 2 else escape(part) for number, part in enumerate(parts))


def visible(command: Any) -> list[Any]:
    return [each for each in command.params if not getattr(each, "hidden", False)]


def synopsis(name: str, command: Any) -> str:
    arguments = [words(each) for each in command.params if each.param_type_name == "argument"]
    return "\n".join(
        [f".B volt {escape(name)}", "[\\fIOPTION\\fP]...", *(f"\\fI{escape(one)}\\fP" for one in arguments)]
    )


def paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        yield from (*([".PP"] if number else []), prose(paragraph))


def first(command: Any) -> str:
    """What a verb does, in its first sentence, without the full stop that ends it."""
    return inspect.cleandoc(command.help or "").split("\n\n")[0].split(". ")[0].removesuffix(".")


def tagged(entries: Iterator[tuple[str, str]]) -> Iterator[str]:
    for term, text in entries:
        yield from (".TP", term, text)


def header(name: str, does: str) -> Iterator[str]:
    from volt import __version__

    yield from (SOURCE, f'.TH "{name.upper()}" 1 "" "volt {__version__}" "volt"', ".SH NAME")
    yield f"{escape(name)} \\- {prose(does)}"


def verb_page(name: str, command: Any, others: list[str]) -> str:
    lines = [*header(f"volt-{page(name)}", first(command)), ".SH SYNOPSIS", synopsis(name, command)]
    lines += [".SH DESCRIPTION", *paragraphs(command.help or "")]
    for title, kind in (("ARGUMENTS", "argument"), ("OPTIONS", "option")):
        rows = [each for each in visible(command) if each.param_type_name == kind]
        lines += [f".SH {title}"] if rows else []
        lines += tagged((f"\\fB{escape(words(each))}\\fP", prose(each.help or "")) for each in rows)
    lines += [".SH SEE ALSO", see(["volt", *(f"volt-{page(other)}" for other in others if other != name)])]
    return "\n".join(lines) + "\n"


def see(names: list[str]) -> str:
    return ",\n".join(f"\\fB{escape(name)}\\fP(1)" for name in names)


def main_page(group: Any) -> str:
    lines = [*header("volt", first(group)), ".SH SYNOPSIS", ".B volt", "\\fICOMMAND\\fP [\\fIOPTION\\fP]..."]
    lines += [".SH DESCRIPTION", *paragraphs(group.help or "")]
    lines += [".PP", prose("Each command has a page of its own, and prints the same with `--help`."), ".SH COMMANDS"]
    commands = ((f"\\fBvolt\\-{escape(page(name))}\\fP(1)", prose(first(one) + ".")) for name, one in verbs(group))
    lines += [*tagged(commands), ".SH OPTIONS"]
    lines += tagged((f"\\fB{escape(words(each))}\\fP", prose(each.help or "")) for each in visible(group))
    lines += [
        ".SH EXIT STATUS",
        *tagged((f"\\fB{escape(code)}\\fP", said.replace("'", "\\(aq")) for code, said in STATUS.items()),
    ]
    for title, entries in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)):
        lines += [f".SH {title}", *tagged((f"\\fB{escape(name)}\\fP", prose(said)) for name, said in entries.items())]
    lines += [".SH SEE ALSO", see([f"volt-{page(name)}" for name, _ in verbs(group)])]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name → page."""
    import typer

    from volt.cli.app import app

    group: Any = typer.main.get_command(app())
    commands = {name: one for name, one in verbs(group) if not one.hidden}
    names = list(commands)
    return {"volt.1": main_page(group)} | {
        f"volt-{page(name)}.1": verb_page(name, one, names) for name, one in commands.items()
    }


def page(name: str) -> str:
    """A verb as it stands in the name of its page: image-import."""
    return name.replace(" ", "-")
