"""Who may import whom. Each rule is also shown to notice what violates it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

# Each room, and the rooms that it may import besides itself. A new room has to be given its place here.
FLOORS = {
    "errors": set(),
    "model": {"errors"},
    "manifest": {"errors", "model"},
    "store": {"errors", "model"},
    "host": {"errors", "model"},
    "runs": {"errors", "model"},
    "backends": {"errors", "model"},
    "launch": {"errors", "model"},
    "native": {"errors", "model"},
    "plan": {"errors", "model", "backends"},
    "images": {"errors", "model", "store"},
    "api": {
        "errors", "model", "manifest", "store", "host", "runs",
        "backends", "launch", "native", "plan", "images",
    },
    "cli": {"errors", "model", "api"},
    "__main__": {"errors", "model", "api", "cli"},
}  # fmt: skip
FEATURES = ("recipes", "bundles", "compose", "fleet", "cluster")  # above all: through api, never each other
FLOORS |= {feature: {"errors", "model", "api"} for feature in FEATURES}
FLOORS["cli"] |= set(FEATURES)

# What asks or changes the machine; plan and backends decide from data alone.
MACHINE = {
    "os", "subprocess", "socket", "ctypes", "shutil", "tempfile", "glob", "fcntl", "resource", "signal",
    "mmap", "pwd", "grp", "pty", "select", "time", "random", "secrets", "uuid", "threading",
    "multiprocessing", "asyncio", "urllib", "http", "platform",
}  # fmt: skip
PURE = ("plan", "backends")
# libseccomp writes a filter into a descriptor only: one in memory, which is no question to the machine.
IN_MEMORY = {"os.memfd_create", "os.close", "os.fdopen", "os.lseek", "os.read", "os.pread", "os.fstat"}
HEAVY = {"pydantic", "typer", "rich", "tree_sitter", "tree_sitter_toml", "tomli", "tomli_w", "pyseccomp"}
PYDANTIC = {"volt.model.manifest"}  # and the room volt.manifest


@dataclass(frozen=True)
class Import:
    """One imported name, dotted in full (`pathlib.Path`); `typing_only` under `if TYPE_CHECKING`."""

    module: str
    line: int
    typing_only: bool


def module_name(path: str) -> str:
    """volt/plan/root.py → volt.plan.root; a package is named after its folder."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room(module: str) -> str:
    """volt.plan.root → plan; volt itself (its version) is everyone's."""
    return module.split(".")[1] if "." in module else ""


def imports(node: ast.AST, package: str, *, typing_only: bool = False) -> Iterator[Import]:
    """Every import below a node, those inside functions too, relative ones made absolute."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(name.name, child.lineno, typing_only) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - child.level + 1]
            base = ".".join([*above, *filter(None, [child.module])]) if child.level else child.module
            yield from (Import(f"{base}.{name.name}", child.lineno, typing_only) for name in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            body = ast.Module(body=child.body, type_ignores=[])
            yield from imports(body, package, typing_only=True)
            yield from imports(ast.Module(body=child.orelse, type_ignores=[]), package)
        else:
            yield from imports(child, package, typing_only=typing_only)


def all_imports(sources: dict[str, str]) -> dict[str, list[Import]]:
    """The imports of each module by its name."""
    found = {}
    for path, source in sources.items():
        module = module_name(path)
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        found[module] = list(imports(ast.parse(source), package))
    return found


def tree(*folders: str, ending: str = ".py") -> dict[str, str]:
    """Path below the top → text, of the files in these folders."""
    return {
        str(path.relative_to(TOP)): path.read_text()
        for folder in folders
        for path in sorted((TOP / folder).rglob(f"*{ending}"))
    }


def floor_violations(sources: dict[str, str]) -> list[str]:
    found = []
    for module, names in all_imports(sources).items():
        own = room(module)
        if own and own not in FLOORS:
            found.append(f"{module}: a room without a place in FLOORS")
            continue
        for name in names:
            other = room(name.module) if name.module.split(".")[0] == "volt" else ""
            known = other in FLOORS and other != own
            # errors describe findings and outcomes, in their annotations alone
            described = own == "errors" and other == "model" and name.typing_only
            if known and own and other not in FLOORS[own] and not described:
                found.append(f"{module}:{name.line}: {own} imports {other}")
    return found


def machine_uses(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Uses of os and open, but for descriptors in memory."""
    nodes = list(ast.walk(module))
    in_memory = {
        ast.unparse(target)
        for node in nodes
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("os.memfd_create(")
        for target in node.targets
    }
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name("open"), args=[first, *_]) if ast.unparse(first) not in in_memory:
                yield node.lineno, "opens a file"
            case ast.Attribute(value=ast.Name("os")) if ast.unparse(node) not in IN_MEMORY:
                yield node.lineno, f"uses {ast.unparse(node)}"
            case ast.alias(name="os", asname=str()):
                yield node.lineno, "hides os behind a name"


def machine_violations(sources: dict[str, str]) -> list[str]:
    found = []
    for path, source in sources.items():
        module = module_name(path)
        if room(module) not in PURE:
            continue
        for name in all_imports({path: source})[module]:
            first, _, rest = name.module.partition(".")
            if name.module == "os":
                continue  # its uses are looked at below
            if first in MACHINE or (first == "pathlib" and not rest.startswith("Pure")):
                found.append(f"{module}:{name.line}: imports {name.module}")
        found += [f"{module}:{line}: {use}" for line, use in machine_uses(ast.parse(source))]
    return found


def pydantic_violations(sources: dict[str, str]) -> list[str]:
    return [
        f"{module}:{name.line}: imports pydantic"
        for module, names in all_imports(sources).items()
        for name in names
        if name.module.split(".")[0] == "pydantic" and module not in PYDANTIC and room(module) != "manifest"
    ]


def reach(module: str, graph: dict[str, list[Import]]) -> dict[str, str]:
    """Every module that importing this one can load → the module that imports it."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        for name in graph.get(current, ()):
            if name.typing_only:
                continue
            parts = name.module.split(".")
            for prefix in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
                if prefix not in found:
                    found[prefix] = current
                    waiting.append(prefix)
    return found


def launch_violations(sources: dict[str, str]) -> list[str]:
    """launch stands between a cached plan and the static program: what it loads is what a launch costs."""
    graph = all_imports(sources)
    return [
        f"{module} reaches {heavy} through {by}"
        for module in graph
        if room(module) == "launch"
        for heavy, by in reach(module, graph).items()
        if heavy in HEAVY
    ]


IMPORT_RULES = {
    floor_violations: {
        "an arrow up": {"volt/plan/x.py": "from volt.api import plan"},
        "inside a function": {"volt/model/x.py": "def f():\n    import volt.launch.encode"},
        "relative": {"volt/host/x.py": "from ..manifest import load"},
        "relative, in a package": {"volt/host/__init__.py": "from .. import manifest"},
        "a sibling": {"volt/manifest/x.py": "from volt.host import sources"},
        "manifest knows no plan": {"volt/manifest/x.py": "import volt.plan"},
        "store knows no host": {"volt/store/x.py": "import volt.host"},
        "backends know no plan": {"volt/backends/x.py": "from volt.plan.root import HOST"},
        "launch makes no plan": {"volt/launch/x.py": "from volt import plan"},
        "the model knows no room": {"volt/model/x.py": "import volt.manifest.load"},
        "for types alone": {"volt/model/x.py": "if TYPE_CHECKING:\n    from volt.api import Run"},
        "errors at run time": {"volt/errors.py": "from volt.model.run import Outcome"},
        "api imports cli": {"volt/api.py": "import volt.cli"},
        "cli beside api": {"volt/cli/run.py": "from volt.launch import handover"},
        "feature beside api": {"volt/compose/x.py": "from volt.plan.assemble import make_plan"},
        "feature to feature": {"volt/compose/x.py": "import volt.fleet"},
        "an unknown room": {"volt/attic/x.py": ""},
    },
    machine_violations: {
        "os": {"volt/plan/x.py": "import os\nos.stat('/')"},
        "os by another name": {"volt/plan/x.py": "import os as machine\nmachine.stat('/')"},
        "a name of os": {"volt/plan/x.py": "from os import stat"},
        "os.path": {"volt/plan/x.py": "from os.path import exists"},
        "subprocess": {"volt/backends/x.py": "def f():\n    from subprocess import run"},
        "socket": {"volt/backends/x.py": "import socket"},
        "ctypes": {"volt/plan/x.py": "import ctypes"},
        "a path that can be read": {"volt/plan/x.py": "from pathlib import Path"},
        "all of pathlib": {"volt/plan/x.py": "import pathlib"},
        "open": {"volt/plan/x.py": "text = open('/etc/passwd').read()"},
    },
    pydantic_violations: {
        "the model": {"volt/model/workload.py": "from pydantic import BaseModel"},
        "api": {"volt/api.py": "def f():\n    import pydantic"},
    },
    launch_violations: {
        "itself": {"volt/launch/x.py": "import rich.table"},
        "through the model": {
            "volt/launch/x.py": "from volt.model.a import B",
            "volt/model/a.py": "import volt.model.manifest",
            "volt/model/manifest.py": "import pydantic",
        },
        "through a package": {
            "volt/launch/x.py": "import volt.model.a",
            "volt/model/__init__.py": "import typer",
        },
    },
}  # fmt: skip
CASES = [
    pytest.param(rule, case, id=f"{rule.__name__}: {name}")
    for rule, cases in IMPORT_RULES.items()
    for name, case in cases.items()
]

ALLOWED = {
    "volt/errors.py": "if TYPE_CHECKING:\n    from volt.model.run import Outcome",
    "volt/plan/x.py": "from pathlib import PurePosixPath\nfrom volt.backends import container\nimport json",
    "volt/plan/seccomp.py": "import os\nfd = os.memfd_create('filter')\nopen(fd, 'r+b').read()",
    "volt/model/manifest.py": "import pydantic",
    "volt/launch/x.py": "if TYPE_CHECKING:\n    import rich\nfrom volt.model.plan import LaunchPlan",
    "volt/cli/run.py": "from volt import __version__, api\nfrom volt.cli.options import File",
}


@pytest.mark.parametrize("rule", IMPORT_RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule):
    assert rule(tree("volt")) == []


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_the_rule_notices_a_violation(rule, case):
    assert rule(case) != []


@pytest.mark.parametrize("rule", IMPORT_RULES, ids=lambda rule: rule.__name__)
def test_the_rule_lets_pass_what_is_allowed(rule):
    assert rule(ALLOWED) == []


def test_importing_launch_loads_nothing_heavy():
    modules = sorted(module_name(path) for path in tree("volt/launch"))
    code = f"import sys, importlib\nfor m in {modules}: importlib.import_module(m)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert "volt.launch" in done.stdout.split()
    assert HEAVY.isdisjoint(done.stdout.split())
