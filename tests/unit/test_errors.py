"""The exception tree: what its docstring draws is what there is."""

import importlib
import pkgutil
import re

import volt
from volt import errors
from volt.errors import LaunchError, ManifestError, VoltError
from volt.model.findings import Finding

BRANCH = re.compile(r"^(?P<indent>(?:[│ ]   )*)(?:[├└]── )?(?P<name>[A-Z]\w+) {2,}")


def drawn():
    """Name → name of the class above it, from the docstring."""
    found, path = {}, []
    for line in errors.__doc__.splitlines():
        if match := BRANCH.match(line):
            depth = len(match["indent"]) // 4 + ("──" in line)
            path = [*path[:depth], match["name"]]
            found[match["name"]] = path[-2] if depth else "Exception"
    return found


def real(above=VoltError):
    found = {above.__name__: above.__base__.__name__}
    for below in above.__subclasses__():
        found |= real(below)
    return found


def test_the_tree_is_whole_wherever_volt_defines_an_error():
    for module in pkgutil.walk_packages(volt.__path__, "volt."):
        if module.name != "volt.__main__":
            importlib.import_module(module.name)
    assert drawn() == real()
    assert len(drawn()) > 3


def test_each_says_what_went_wrong_and_what_to_do():
    error = VoltError("it broke", hint="mend it")
    assert (str(error), error.message, error.hint) == ("it broke", "it broke", "mend it")
    assert VoltError("x").hint == ""


def test_a_manifests_problems_are_counted_without_the_notes():
    findings = [Finding("a", "k", "m"), Finding("b", "k", "m", severity="note"), Finding("c", "k", "m")]
    assert ManifestError(findings).message == "2 problems found"
    assert ManifestError(findings[:2]).message == "1 problem found"
    assert ManifestError(findings).findings == tuple(findings)


def test_a_launch_that_never_began_has_no_outcome():
    assert LaunchError("x").outcome is None
