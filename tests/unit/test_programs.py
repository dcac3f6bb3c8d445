"""The page of programs says under which profiles each is proven: its manifest has them."""

import re
from pathlib import Path

import pytest

from volt import api

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/reference/programs.md").read_text()
ROWS = re.findall(
    r"^\| .+? \| (default|strict) \| .+ \| \[(.+\.toml)\]\(../../examples/programs/(.+)\) \|$", PAGE, re.MULTILINE
)
EXAMPLES = TOP / "examples/programs"
SHARED = {"debian.toml"}  # what the others extend


def test_every_manifest_has_its_row():
    assert {name for *_, name in ROWS} | SHARED == {path.name for path in EXAMPLES.glob("*.toml")}
    assert all(shown == name for _, shown, name in ROWS)


@pytest.mark.parametrize(("profile", "name"), [(profile, name) for profile, _, name in ROWS])
def test_a_manifest_has_the_profiles_of_its_row(profile, name):
    resolved = api.resolve(EXAMPLES / name, variables=dict.fromkeys(("DATA", "KEYS", "PASSWORD", "WORK"), str(TOP)))
    assert resolved.findings == ()
    said = resolved.workload.security
    assert (said.seccomp_profile or "default", said.landlock_profile or "default") == (profile, profile)
    assert said.capabilities is None
