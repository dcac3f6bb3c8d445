"""Writes the pages of docs/reference that follow from the code; `scripts/docs` runs it."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:
    from docs.findings import Example

REFERENCE = Path(__file__).parent / "reference"
MANUAL = Path(__file__).parent / "man"
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


def verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every verb with its name, those of nouns too: `image import`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


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

    from volt.cli.app import app

    group: Any = typer.main.get_command(app())
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
    for name, command in verbs(group):
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
    yield from (f"## {name}", "", *([f"A {base}.", ""] if base not in {"object", "Value"} else []))
    yield from (inspect.getdoc(value) or "", "")
    if dataclasses.is_dataclass(value):
        yield from ("| field | type |", "| --- | --- |")
        public = [field for field in dataclasses.fields(value) if not field.name.startswith("_")]
        yield from (f"| {field.name} | `{cell(str(field.type))}` |" for field in public)
        yield ""


def api_page() -> str:
    """What volt.api names in __all__: functions, then the types that they take, give and raise."""
    from volt import api

    lines = ["# The Python interface", "", GENERATED.format(source="volt/api"), ""]
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


MANIFEST = """\
A manifest is a TOML file of at most 1 MiB. `volt validate` reports every problem of it at once, `volt show` prints
what it comes to, `volt schema` prints this page for editors. What is wrong in a manifest: [findings.md](findings.md).

Every number and string that is not required can be unset: 0 and "" mean that it is absent. Sizes are `512M`, `2G`,
`1.5GiB` (base 1024) or a percentage of the host's memory; durations `500ms`, `10s`, `2m`, `1h30m`.

## extends

`extends = "base.toml"`, at the top and relative to the file that names it, puts this manifest over another one; at
most 16 files make a chain.

- Tables merge key by key; everything else replaces. `storage.volumes` merge by container path.
- The element `"..."` in a list stands for the list of the base.
- A child takes back what its base set with `false`, `0`, `""` or `[]`.
- A relative path belongs to the file that wrote it; one that begins with a value of `--set` to the current folder;
  without a file (standard input, a Python value) it needs a base folder.

## Variables

`${NAME}` and `${NAME:-default}` in a string are replaced, `$$` is a dollar sign; not in keys, not in `extends`, and
not again in what was put in. The value comes from `--set NAME=VALUE`, else a built-in name, else the environment. The
built-in names, which the environment cannot replace, are `HOSTNAME`, `VOLT_BASE`, `VOLT_CAS_DIR` and `VOLT_RUN_DIR`.
A name that nobody defines is a finding.
"""
# Where the default follows from something else than the value that the field has when it is absent.
DEFAULTS = {
    "workload.hostname": "the name",
    "network.mode": "bridge",
    "network.address": "from the name",
    "network.dns": "the network's",
    "security.landlock_profile": "default",
    "security.capabilities": "podman's eleven; strict: none",
    "security.no_new_privs": "true; hybrid-native: false",
    "volumes.as": "root",
}
TYPES = {str: "string", int: "integer", bool: "true, false", type(None): ""}


def type_words(annotation: Any) -> str:
    """How a manifest writes a type."""
    if isinstance(annotation, enum.EnumMeta):
        return ", ".join(annotation)
    parts = [type_words(one) for one in get_args(annotation)]
    if get_origin(annotation) is list:
        return f"list of {parts[0]}s"
    if get_origin(annotation) is dict:
        return f"table of {parts[1]}s"
    return " or ".join(filter(None, parts)) if parts else TYPES.get(annotation, "table")


def default_words(section: str, key: str, field: Any) -> str:
    """What an absent field means."""
    from volt.manifest.shown import DEFAULTS as SHOWN
    from volt.model import workload

    written = DEFAULTS.get(f"{section}.{key}") or SHOWN.get(section, {}).get(key)
    if written or field.is_required():
        return str(written or "required")
    holder = getattr(workload, {"volumes": "Volume"}.get(section, section.title()))
    found = holder.__dataclass_fields__[{"owner": "owner_root"}.get(key, key)].default
    if found is True or found is False:
        return "–" if key == "owner" else str(found).lower()
    return {None: "–", (): "[]", dataclasses.MISSING: "{}"}.get(found, str(found))


def fields_table(section: str, model: Any) -> Iterator[str]:
    yield from ("| key | type | default | meaning |", "| --- | --- | --- | --- |")
    for name, field in model.model_fields.items():
        key = field.alias or name
        words = (type_words(field.annotation), default_words(section, key, field), field.description)
        yield f"| `{key}` | " + " | ".join(map(cell, words)) + " |"
    yield ""


def manifest_page() -> str:
    """Every field of a manifest, from the model's descriptions."""
    from volt.model.manifest import Manifest, VolumeMount

    lines = ["# The manifest", "", GENERATED.format(source="volt/model/manifest.py"), "", MANIFEST]
    for name, field in Manifest.model_fields.items():
        model: Any = field.annotation
        if hasattr(model, "model_fields"):
            lines += [f"## [{name}]", "", inspect.cleandoc(model.__doc__), "", *fields_table(name, model)]
        elif name == "limits":
            lines += ["## [limits]", "", field.description or "", ""]
        if name == "storage":
            volume = inspect.cleandoc(VolumeMount.__doc__ or "")
            lines += ["## [[storage.volumes]]", "", volume, "", *fields_table("volumes", VolumeMount)]
    return "\n".join(lines).rstrip() + "\n"


def is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return False


FOUND = {"plan": "Found while planning.", "policy": "Found in the policy of the machine, while planning."}
FOUND |= {"network": "Found in the definition of a network, while planning and by `volt net show`."}


def finding_section(entry: Example) -> Iterator[str]:
    """A code, its rule, the manifest of the example, and what volt prints for it."""
    from volt.cli.findings import render

    more = ["from standard input"] if entry.stdin else []
    more += [f"in {entry.encoding}"] if entry.encoding != "utf-8" else []
    more += [f"with {entry.padding} bytes"] if entry.padding else []
    more += ["with `" + name + "` holding `" + text + "`" for name, text in list(entry.files.items())[:1]]
    more += [f"with a profile of `{entry.profile}`"] if entry.profile else []
    more += ["and so on"] if len(entry.files) > 1 else []
    yield from (f"## {entry.code}", "", entry.rule, "")
    yield from ([FOUND[entry.by], ""] if entry.by in FOUND else [])
    yield from ([f"The example is read {', '.join(more)}.", ""] if more else [])
    if entry.by not in ("policy", "network"):
        yield from ("```toml" if is_toml(entry.text) else "```", entry.text.rstrip(), "```", "")
    if entry.policy:
        yield from ("The policy of the machine:", "", "```toml", entry.policy.strip(), "```", "")
    if entry.network:
        yield from ("The definition, `/etc/volt/networks/lan.toml`:", "", "```toml", entry.network.strip(), "```", "")
    yield from ("```", render([entry.finding()]), "```", "")


def findings_page() -> str:
    """Every finding, with its rule, an example, and what is printed for it."""
    sys.path.insert(0, str(Path(__file__).parent))
    from findings import examples

    lines = ["# Findings", "", GENERATED.format(source="docs/findings.toml"), ""]
    lines += [
        "What can be wrong in a manifest. A code is stable; messages may change. `volt validate` finds all but those",
        "that depend on the machine or the image: `volt plan` and `volt run` find these.",
        "",
    ]
    for entry in examples():
        lines += finding_section(entry)
    return "\n".join(lines).rstrip() + "\n"


def kernels_page() -> str:
    """What holds on the kernels and releases that are tested."""
    sys.path.insert(0, str(Path(__file__).parent))
    from kernels import page

    return "\n".join(["# Kernels and releases", "", GENERATED.format(source="docs/kernels.py"), "", page()])


POLICY_PAGE = """\
`/etc/volt/policy.toml` bounds what the manifests of a machine may ask for, in every launch, whoever starts it and
however: `volt run`, `volt plan`, `volt.api`, a plan that was kept. What is beyond it is refused with the line of the
manifest and the line of the policy; nothing is taken away in silence. Without the file nothing is bounded, but no
module of the kernel is loaded. How to write one: [bound what manifests may ask](../how-to/bound-manifests.md).

- A key that is absent bounds nothing; `kernel.modules` alone then allows none. A list names what is allowed: `[]`
  allows nothing.
- A path is held against a folder twice: as the manifest writes it, and where it leads once links are followed, which
  is what the launch opens. So folders are named as they are, without links in them.
- `volt validate`, `show` and `schema` do not look at it: a manifest can be valid here and be refused there.
- Nothing on the command line, in a manifest or in the environment loosens it; `VOLT_ROOT` does not move it. `volt
  update` gives no running workload what its manifest could not have asked for.

The file and `/etc/volt` belong to root, nobody else can write to them, and neither is a link. Where that does not
hold, or the file is not understood to its last key, nothing is launched, and every problem is told at once. Of a file
that the user who called sudo cannot read himself, findings name the line and quote nothing.
"""


def policy_page() -> str:
    """Every key of the policy, from the table that reads it."""
    from volt.manifest.policy import BOUNDS

    lines = ["# The policy of a machine", "", GENERATED.format(source="volt/manifest/policy.py"), "", POLICY_PAGE]
    lines += ["| key | type | what it bounds |", "| --- | --- | --- |"]
    lines += [f"| `{key}` | {cell(bound.written)} | {cell(bound.meaning)} |" for key, bound in BOUNDS.items()]
    return "\n".join(lines) + "\n"


def landlock_page() -> str:
    """What each shipped profile holds, where, and how to write another."""
    sys.path.insert(0, str(Path(__file__).parent))
    from landlock import landlock_lines

    lines = ["# Landlock", "", GENERATED.format(source="profiles/landlock and docs/landlock.py"), ""]
    return "\n".join([*lines, *landlock_lines()]).rstrip() + "\n"


def peers_table() -> str:
    """Verbs and options beside those of other programs."""
    sys.path.insert(0, str(Path(__file__).parent))
    from peers import peers_page

    lines = ["# Beside podman, machinectl and Incus", "", GENERATED.format(source="docs/peers.toml and volt/cli"), ""]
    return "\n".join([*lines, peers_page()]).rstrip() + "\n"


def modes_page() -> str:
    """What a manifest means where an image is booted."""
    sys.path.insert(0, str(Path(__file__).parent))
    from modes import page

    return "\n".join(["# The same manifest, booted", "", GENERATED.format(source="docs/modes.toml"), "", page()]) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "api.md": api_page,
    "manifest.md": manifest_page,
    "findings.md": findings_page,
    "kernels.md": kernels_page,
    "policy.md": policy_page,
    "landlock.md": landlock_page,
    "peers.md": peers_table,
    "modes.md": modes_page,
}


def manual() -> dict[Path, str]:
    """The manual page of each verb."""
    sys.path.insert(0, str(Path(__file__).parent))
    from man import pages

    return {MANUAL / name: text for name, text in pages().items()}


def main() -> int:
    """Write what is stale; with --check only say it. 1 when something was stale under --check."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; end with 1 if a page is stale")
    check = options.parse_args().check
    stale = 0
    texts = {REFERENCE / name: page() for name, page in PAGES.items()} | manual()
    for path, text in texts.items():
        if path.is_file() and path.read_text() == text:
            continue
        stale = 1
        print(f"{'stale' if check else 'written'}: {path.relative_to(REFERENCE.parents[1])}")
        if not check:
            path.write_text(text)
    for path in {*MANUAL.glob("*.1")} - texts.keys():  # a verb that is no more
        stale = 1
        print(f"{'stale' if check else 'removed'}: {path.relative_to(REFERENCE.parents[1])}")
        if not check:
            path.unlink()
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
