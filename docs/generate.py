"""Writes the pages of docs/reference that follow from the code; `scripts/docs` runs it."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by scripts/docs from {source}; change it there. -->"


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def words(parameter: Any) -> str:
    """How a parameter is written: FILE, or -e, --env NAME=VALUE."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        return metavar or parameter.name.upper()
    flag = getattr(parameter, "is_flag", False)
    value = "" if flag else f" {metavar or parameter.type.name.upper()}"
    return ", ".join([*parameter.opts, *parameter.secondary_opts]) + value


def command_section(name: str, command: Any) -> Iterator[str]:
    arguments = " ".join(words(each) for each in command.params if each.param_type_name == "argument")
    yield from (f"## volt {name}", "", "```", f"volt {name} [OPTION]... {arguments}".rstrip(), "```", "")
    yield from (inspect.cleandoc(command.help or ""), "")
    rows = [each for each in command.params if not getattr(each, "hidden", False)]
    if rows:
        yield from ("| | |", "| --- | --- |")
        yield from (f"| `{cell(words(each))}` | {cell(each.help or '')} |" for each in rows)
        yield ""


def cli_page() -> str:
    """Every verb with its arguments and options, as `volt VERB --help` has them."""
    import typer

    from volt.cli import app

    group: Any = typer.main.get_command(app)
    lines = [
        "# The command line",
        "",
        GENERATED.format(source="volt/cli"),
        "",
        inspect.cleandoc(group.help or ""),
        "",
        "Exit statuses and JSON documents: [json.md](json.md). `volt VERB --help` prints the same text.",
        "",
    ]
    for name, command in group.commands.items():
        lines += command_section(name, command)
    return "\n".join(lines).rstrip() + "\n"


def parameter(each: inspect.Parameter) -> str:
    """name: type = default, the type as the source spells it."""
    stars = "**" if each.kind is each.VAR_KEYWORD else "*" if each.kind is each.VAR_POSITIONAL else ""
    default = "" if each.default is each.empty else f" = {each.default!r}"
    return f"{stars}{each.name}: {each.annotation}{default}"


def signature(name: str, value: Any) -> str:
    """A signature with one parameter on each line where there are several."""
    found = inspect.signature(value)
    text = [parameter(each) for each in found.parameters.values()]
    keywords = [each.kind is each.KEYWORD_ONLY for each in found.parameters.values()]
    if any(keywords):
        text.insert(keywords.index(True), "*")
    if len(text) < 3:
        return f"{name}({', '.join(text)}) -> {found.return_annotation}"
    return "\n".join([f"{name}(", *(f"    {each}," for each in text), f") -> {found.return_annotation}"])


def class_section(name: str, value: type) -> Iterator[str]:
    base = value.__mro__[1].__name__
    yield from (f"## {name}", "", *([f"A {base}.", ""] if base != "object" else []))
    yield from (inspect.getdoc(value) or "", "")
    if dataclasses.is_dataclass(value):
        yield from ("| field | type |", "| --- | --- |")
        yield from (f"| {field.name} | `{cell(str(field.type))}` |" for field in dataclasses.fields(value))
        yield ""


def api_page() -> str:
    """What volt.api names in __all__: functions, then the types that they take, give and raise."""
    from volt import api

    lines = ["# The Python interface", "", GENERATED.format(source="volt/api.py"), ""]
    lines += [inspect.getdoc(api) or "", ""]
    values = {name: getattr(api, name) for name in sorted(api.__all__)}
    for name, value in values.items():
        if inspect.isfunction(value):
            lines += [f"## {name}", "", "```python", signature(name, value), "```", ""]
            lines += [inspect.getdoc(value) or "", ""]
    for name, value in values.items():
        if inspect.isclass(value):
            lines += class_section(name, value)
    constants = [name for name, value in values.items() if not callable(value)]
    lines += [f"Constants: {', '.join(f'`{name}`' for name in constants)}."] if constants else []
    return "\n".join(lines).rstrip() + "\n"


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "api.md": api_page}


def main() -> int:
    """Write what is stale; with --check only say it. 1 when something was stale under --check."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; end with 1 if a page is stale")
    check = options.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if path.is_file() and path.read_text() == text:
            continue
        stale = 1
        print(f"{'stale' if check else 'written'}: docs/reference/{name}")
        if not check:
            path.write_text(text)
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
