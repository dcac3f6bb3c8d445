"""The policy of a machine holds in every launch, however it is asked for: from the command line, from a plan that was
kept, from Python, through sudo, with VOLT_ROOT. Each test sees a policy of its own, in a mount namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.host import front

TOP = Path(__file__).parents[2]
SOMEBODY = 1000
# /etc/volt is this test's folder there, and nowhere else: laid over /etc, which may have none, and then bound, so
# that what is written to the folder is seen.
LAID_OVER = """
mount -t overlay -o "lowerdir=$1:/etc" policy /etc
mount --bind "$1/volt" /etc/volt
echo ready
read x
"""
RUN = ("run", "m1.toml")
LOOK = ["sh", "-c", "echo started; cat /data/mark 2>/dev/null; echo $VALUE"]


class Machine:
    """A front in a mount namespace with an /etc/volt of its own."""

    def __init__(self, folder, busybox):
        self.folder = folder
        self.etc = folder / "etc/volt"
        self.etc.mkdir(parents=True)
        self.policy = self.etc / "policy.toml"
        self.front = front.Front(folder, front.Installation(folder))
        for name in ("inside", "outside"):
            (folder / name).mkdir()
            (folder / name / "mark").write_text(name)
            (folder / name / "env").write_text(f"VALUE={name}\n")
        self.root = front.small_root(folder / "inside/root", busybox)
        (folder / "outside/root").symlink_to(self.root)
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", LAID_OVER, "sh", folder / "etc"]
        self.holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        # Its own folder again: nsenter(1) leaves the one that it came from.
        enter = ("nsenter", "--mount", f"--target={self.holder.pid}", "sh", "-c")
        self.within = (*enter, 'cd "$1"; shift; exec "$@"', "sh", str(folder))

    def close(self):
        self.holder.communicate(b"\n", timeout=20)

    def says(self, text):
        """A policy that is old enough to be depended on."""
        self.policy.write_text(text)
        self.policy.chmod(0o644)

    def manifest(self, *, mount=None, **sections):
        """m1.toml, with the folder `mount` as a read-only volume."""
        self.front.manifests = 0
        volumes = [{"host": str(mount), "container": "/data", "readonly": True}] if mount else []
        storage = {"rootfs": str(self.root), "volumes": volumes, **sections.pop("storage", {})}
        workload = {"command": LOOK, **sections.pop("workload", {})}
        return self.front.manifest(storage=storage, workload=workload, **sections)

    def __call__(self, *words, **options):
        return self.front(*words, prefix=self.within, **options)

    def python(self, code, **env):
        """A program that uses volt.api, on this machine."""
        argv = [*self.within, sys.executable, "-c", code]
        environment = {**self.front.environment, "PYTHONPATH": str(self.front.installed.tree), **env}
        return subprocess.run(argv, cwd=self.folder, env=environment, capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, busybox):
    made = Machine(tmp_path_factory.mktemp("policy"), busybox)
    yield made
    made.close()


@pytest.fixture
def machine(shared):
    """The machine without a policy, and /etc/volt as it should be."""
    shared.policy.unlink(missing_ok=True)
    shared.etc.chmod(0o755)
    os.chown(shared.etc, 0, 0)
    yield shared
    assert shared.front.left() == []


def refused(done):
    """The findings of a launch that was refused, as they are shown; nothing has started."""
    assert done.returncode == 125, done
    assert b"started" not in done.stdout
    return done.stderr.decode()


def started(done):
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"started\n")
    return done.stdout.decode().split()[1:]


# ── each bound, from the command line


BOUNDS = {
    "storage.volumes.host": ('[storage.volumes]\nhost = ["{inside}"]', {"mount": "{inside}"}, {"mount": "{outside}"}),
    "storage.volumes.writable": (
        '[storage.volumes]\nwritable = ["{inside}"]',
        {"mount": "{outside}"},
        {
            "storage": {
                "volumes": [{"host": "{outside}", "container": "/data", "owner": "root"}],
            }
        },
    ),
    "storage.volumes.owner": (
        "[storage.volumes]\nowner = []",
        {"mount": "{inside}"},
        {"storage": {"volumes": [{"host": "{inside}", "container": "/data", "owner": "root"}]}},
    ),
    "storage.rootfs": ('[storage]\nrootfs = ["{inside}"]', {}, {"storage": {"rootfs": "host"}}),
    "workload.env_file": (
        '[workload]\nenv_file = ["{inside}"]',
        {"workload": {"env_file": "{inside}/env"}},
        {"workload": {"env_file": "{outside}/env"}},
    ),
    "security.capabilities": (
        '[security]\ncapabilities = ["KILL"]',
        {"security": {"capabilities": ["KILL"]}},
        {"security": {"capabilities": ["KILL", "CHOWN"]}},
    ),
    "security.seccomp_profile": (
        '[security]\nseccomp_profile = ["default"]',
        {},
        {"security": {"seccomp_profile": "unconfined"}},
    ),
    "security.landlock_profile": (
        '[security]\nlandlock_profile = ["default"]',
        {},
        {"security": {"landlock_profile": "permissive"}},
    ),
    "network.mode": ('[network]\nmode = ["none"]', {}, {"network": {"mode": "host"}}),
    "network.name": ('[network]\nname = ["lan"]', {}, {"network": {"mode": "custom", "name": "vault"}}),
}


def filled(value, machine):
    """A case with the folders of this machine."""
    text = json.dumps(value)
    for name in ("inside", "outside"):
        text = text.replace(f"{{{name}}}", str(machine.folder / name))
    return json.loads(text)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_launch_within_a_bound_starts_and_one_beyond_it_is_refused_with_both_lines(machine, bound):
    policy, good, bad = filled(BOUNDS[bound], machine)
    machine.manifest(**good)
    machine.says(policy)
    started(machine(*RUN))
    machine.manifest(**bad)
    text = refused(machine(*RUN))
    assert "[beyond-policy]" in text
    assert "m1.toml:" in text
    assert (
        f"/etc/volt/policy.toml:2:{policy.splitlines()[1].index('[') + 1}: the policy of this machine: {bound}" in text
    )
    assert f"    {policy.splitlines()[1]}" in text
    machine.policy.unlink()
    assert b"beyond-policy" not in machine("plan", "m1.toml").stderr


def test_limits_have_to_be_set(machine):
    machine.manifest()
    machine.says("[resources]\nmemory_limit = '1G'\npids_max = 100\n")
    text = refused(machine(*RUN))
    assert text.count("[beyond-policy]") == 2
    assert "policy.toml:2:" in text
    assert "policy.toml:3:" in text


def test_a_waiver_is_bounded(machine):
    machine.manifest()
    words = ("run", "--allow-unenforced", "resources", "m1.toml")
    machine.says("allow_unenforced = []\n")
    assert "/etc/volt/policy.toml:1:20: the policy" in refused(machine(*words))
    machine.says('allow_unenforced = ["resources"]\n')
    started(machine(*words))


def test_a_link_out_of_a_folder_that_is_allowed_is_refused_with_where_it_leads(machine):
    (machine.folder / "inside/link").symlink_to(machine.folder / "outside")
    machine.says(f'[storage.volumes]\nhost = ["{machine.folder}/inside"]\n')
    machine.manifest(mount=machine.folder / "inside/link")
    assert f"leads to {machine.folder}/outside" in refused(machine(*RUN))
    machine.manifest(mount=machine.folder / "inside/../outside")
    assert "may not be used" in refused(machine(*RUN))
    (machine.folder / "inside/link").unlink()


def test_plan_refuses_too_and_validate_and_show_do_not_look(machine):
    machine.manifest(network={"mode": "host"})
    machine.says('[network]\nmode = ["none"]\n')
    done = machine("plan", "--json", "m1.toml")
    (finding,) = json.loads(done.stdout)["findings"]
    assert done.returncode == 2
    assert (finding["code"], finding["key"]) == ("beyond-policy", "network.mode")
    assert finding["policy"] == {
        "key": "network.mode",
        "file": "/etc/volt/policy.toml",
        "line": 2,
        "column": 8,
        "source": 'mode = ["none"]',
    }
    assert machine("validate", "m1.toml").returncode == machine("show", "m1.toml").returncode == 0


def test_the_example_lets_the_smallest_workload_pass_and_no_page_on_the_hosts_network(machine):
    machine.says((TOP / "examples/policy.toml").read_text())
    done = machine("run", TOP / "examples/hello.toml")
    assert done.stdout == b"hello from volt\n", done.stderr
    text = refused(machine("run", TOP / "examples/web.toml"))
    assert text.count("[beyond-policy]") == 2


# ── a policy that cannot be gone by


def writable(machine):
    machine.policy.chmod(0o666)


def of_somebody(machine):
    os.chown(machine.policy, SOMEBODY, 0)


def linked(machine):
    machine.policy.rename(machine.etc / "other.toml")
    machine.policy.symlink_to("other.toml")


def mistyped(machine):
    machine.says("[network]\nmodes = []\n")


def broken(machine):
    machine.says("[network\n")


def in_an_open_folder(machine):
    machine.etc.chmod(0o777)


def in_somebodys_folder(machine):
    os.chown(machine.etc, SOMEBODY, 0)


BAD = (writable, of_somebody, linked, mistyped, broken, in_an_open_folder, in_somebodys_folder)


@pytest.mark.parametrize("damage", BAD)
def test_a_policy_that_cannot_be_gone_by_stops_every_launch_and_doctor_says_so(machine, damage):
    machine.manifest()
    machine.says('[network]\nmode = ["none"]\n')
    started(machine(*RUN))
    damage(machine)
    assert "/etc/volt" in refused(machine(*RUN))
    assert machine("plan", "m1.toml").returncode == 1
    done = machine("doctor", "--json")
    (check,) = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "policy"]
    assert (check["state"], done.returncode) == ("missing", 1)


def test_every_problem_of_a_policy_is_told_at_once(machine):
    machine.manifest()
    machine.says("registry = 1\n[network]\nmode = ['nat']\n")
    machine.policy.chmod(0o666)
    machine.etc.chmod(0o777)
    text = refused(machine(*RUN))
    assert text.count("error: ") == 4
    assert text.count("can be written by others than root") == 2
    assert "/etc/volt/policy.toml:1:12: error: " in text
    assert "/etc/volt/policy.toml:3:9: error: " in text


def test_a_policy_that_the_caller_cannot_read_stops_his_plans(machine):
    machine.says('[network]\nmode = ["none"]\n')
    machine.policy.chmod(0o600)
    code = (
        "import os; from volt import api; import volt.api.policy, volt.host.policy, volt.model.doctor; "
        f"os.setgroups([]); os.setresgid({SOMEBODY}, {SOMEBODY}, {SOMEBODY}); "
        f"os.setresuid({SOMEBODY}, {SOMEBODY}, {SOMEBODY}); print(api.policy.policy_check())"
    )
    done = machine.python(code)
    assert b"Permission denied" in done.stdout, done.stderr


def test_doctor_tells_a_policy_and_its_absence(machine):
    def found():
        checks = json.loads(machine("doctor", "--json").stdout)["checks"]
        return next((one["state"], one["found"]) for one in checks if one["name"] == "policy")

    assert found() == ("ok", "none: nothing is bounded")
    machine.says("")
    assert found() == ("ok", "/etc/volt/policy.toml")
    none = "-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----"
    machine.says(f'[images.signers]\n"registry.example" = ["{none}"]\n')
    state, said = found()
    assert (state, "a public key of the policy is not understood" in said) == ("missing", True)


# ── nothing loosens it


def test_no_variable_moves_it(machine):
    machine.manifest(network={"mode": "host"})
    for name in ("policy.toml", "etc/volt/policy.toml", "state/policy.toml"):
        other = machine.front.state / name
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("")
    machine.says('[network]\nmode = ["none"]\n')
    for env in ({}, {"VOLT_ROOT": ""}, {"HOME": str(machine.front.state), "XDG_CONFIG_HOME": str(machine.front.state)}):
        assert "[beyond-policy]" in refused(machine(*RUN, env=env))


def test_a_manifest_given_from_python_is_bounded(machine):
    machine.says('[network]\nmode = ["none"]\n')
    code = """
from volt import api
m = {"workload": {"name": "py", "mode": "container", "command": ["echo", "started"]},
     "network": {"mode": "%s"}, "storage": {"rootfs": "host", "writable_layer": "none"}}
try:
    print(api.run(m).status)
except api.ManifestError as error:
    print([(f.code, f.policy.key, f.policy.place.line) for f in error.findings])
except api.PolicyError as error:
    print([f.code for f in error.findings])
"""
    assert machine.python(code % "none").stdout == b"started\n0\n"
    assert machine.python(code % "host").stdout == b"[('beyond-policy', 'network.mode', 2)]\n"
    machine.policy.chmod(0o666)
    assert machine.python(code % "none").stdout == b"['bad-policy']\n"


@pytest.fixture
def everybodys():
    """A folder whose files everybody can read, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="volt-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


SUDO = {"SUDO_UID": str(SOMEBODY)}


def test_of_a_policy_that_sudos_user_cannot_read_nothing_is_quoted(machine, everybodys):
    words = ("run", shutil.copy(machine.manifest(storage={"rootfs": "host"}), everybodys / "own.toml"))
    machine.says('[storage]\nrootfs = ["/secret"]\n')
    assert "/secret" in refused(machine(*words, env=SUDO))
    machine.policy.chmod(0o600)
    text = refused(machine(*words, env=SUDO))
    assert "/etc/volt/policy.toml:2:10: the policy of this machine: storage.rootfs" in text
    assert "secret" not in text
    assert "ask whoever administers this machine" in text
    assert "/secret" in refused(machine(*words))


def test_of_a_manifest_that_sudos_user_cannot_read_no_bound_is_told_either(machine):
    machine.manifest(storage={"rootfs": "host"})
    machine.says('[storage]\nrootfs = ["/secret"]\n')
    text = refused(machine(*RUN, env=SUDO))
    assert "what is wrong is not shown" in text
    assert "rootfs" not in text


def test_what_is_wrong_in_a_policy_that_sudos_user_cannot_read_is_not_shown(machine):
    machine.manifest()
    machine.says("secret = 1\n")
    machine.policy.chmod(0o600)
    text = refused(machine(*RUN, env=SUDO))
    assert "secret" not in text
    assert "/etc/volt/policy.toml:1:" in text


def test_new_limits_of_a_running_workload_are_bounded(machine):
    machine.manifest()
    machine.says("[resources]\npids_max = 100\n")
    for value in ("101", "none"):
        done = machine("update", "nobody", "--pids-max", value)
        assert done.returncode == 1
        assert b"/etc/volt/policy.toml:2:12" in done.stderr
    assert b"policy" not in machine("update", "nobody", "--pids-max", "100").stderr


# ── a plan that was kept


@pytest.fixture
def kept(machine):
    """A launch that is answered from the cache, without a policy."""
    machine.manifest(mount=machine.folder / "inside")
    front.let_age()
    started(machine(*RUN))
    assert started(cached(machine)) == ["inside"]
    return machine


def cached(machine):
    return machine.front.cached(*RUN, prefix=machine.within)


def hits(machine):
    return machine.front.hits(*RUN, prefix=machine.within)


def test_a_new_policy_holds_for_a_plan_that_was_kept(kept):
    kept.says('[network]\nmode = ["bridge"]\n')
    assert not hits(kept)
    refused(kept(*RUN))
    front.let_age()
    assert not hits(kept)
    refused(kept(*RUN))
    assert not hits(kept)  # what was refused has left nothing to hit


def test_a_changed_policy_and_one_that_is_gone_are_looked_at_again(kept):
    kept.says('[network]\nmode = ["none"]\n')
    front.let_age()
    started(kept(*RUN))
    started(cached(kept))
    kept.says('[network]\nmode = ["host"]\n')  # as long as before
    refused(kept(*RUN))
    kept.policy.unlink()
    assert not hits(kept)
    started(kept(*RUN))


@pytest.mark.parametrize("damage", [writable, of_somebody, linked, in_an_open_folder, in_somebodys_folder])
def test_a_policy_that_can_be_gone_by_no_longer_stops_a_plan_that_was_kept(kept, damage):
    kept.says('[network]\nmode = ["none"]\n')
    front.let_age()
    started(kept(*RUN))
    started(cached(kept))
    damage(kept)
    assert not hits(kept)
    refused(kept(*RUN))


def test_an_open_folder_without_a_policy_stops_a_plan_that_was_kept(kept):
    kept.etc.chmod(0o777)
    assert not hits(kept)
    refused(kept(*RUN))


def test_a_link_that_leads_elsewhere_now_is_no_way_around_for_a_plan_that_was_kept(kept):
    link = kept.folder / "inside/link"
    (kept.folder / "inside/deep").mkdir()
    link.symlink_to("deep")
    kept.manifest(mount=link)
    kept.says(f'[storage.volumes]\nhost = ["{kept.folder}/inside"]\n')
    front.let_age()
    started(kept(*RUN))
    started(cached(kept))
    link.unlink()
    link.symlink_to(kept.folder / "outside")
    assert not hits(kept)
    refused(kept(*RUN))
    link.unlink()
    (kept.folder / "inside/deep").rmdir()
