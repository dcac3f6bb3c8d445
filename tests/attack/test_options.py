"""Options that bound a payload: none is ignored, none is misread. What decides about them is volt, on any kernel."""

import json

import pytest

from tests.attack import walls

OPTIONS = {
    "landlock_profile": "permissive",
    "seccomp_profile": "strict",
    "capabilities": ["CHOWN"],
    "no_new_privs": False,
    "read_only_rootfs": True,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_no_security_option_is_ignored(attack, volt, name):
    """Each changes the plan, or the launch is refused by its name; the same manifest twice gives the same plan."""

    def steps(**security):
        manifest = volt.manifest(security=security, workload={"name": "same", "command": ["true"]})
        done = volt("plan", manifest, "--json")
        sections = json.loads(done.stdout).get("sections", [])
        # Which ids are free depends on who else runs.
        found = [step for section in sections for step in section["steps"] if step["operation"] != "claim-uids"]
        return done, found

    (_, plain), (_, again), (done, other) = steps(), steps(), steps(**{name: OPTIONS[name]})
    assert plain == again != []
    assert other != plain
    assert done.returncode == 0 or name in done.stdout.decode()


def test_an_option_that_nobody_knows_is_refused(volt):
    done = volt("plan", volt.manifest(security={"seccomp_profil": "strict"}, workload={"command": ["true"]}))
    assert done.returncode == 2
    assert b"seccomp_profil" in done.stderr


PREFIX = """
abi = 1
[[ruleset]]
handled_access_fs = ["make_reg"]
[[path_beneath]]
parent = ["/srv/data"]
allowed_access = ["make_reg"]
"""


def test_a_path_is_no_prefix_of_a_name(probe, tmp_path):
    (tmp_path / "policy.toml").write_text(PREFIX)
    sections = {
        "security": {"landlock_profile": "custom", "landlock_policy": str(tmp_path / "policy.toml")},
        "storage": {"tmpfs": ["/srv/data", "/srv/database"]},
    }
    attempts = ("new=/srv/data/x", "new=/srv/database/x")
    assert probe(*attempts, **sections) == ["done", "EACCES"]
    assert probe(*attempts, without=[walls.no_landlock], **sections) == ["done", "done"]
