"""What a failed launch says: the step, the cause in systemd-nspawn's own words, and nothing that a terminal obeys."""

import json
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def odd_root(busybox, tmp_path):
    """A root whose /tmp is a file, which systemd-nspawn cannot mount onto."""
    root = tmp_path / "root"
    shutil.copytree(busybox, root, symlinks=True)
    (root / "tmp").write_text("")
    return root


def test_nspawns_own_message_is_the_cause_with_its_step(volt, odd_root, tmp_path):
    storage = {"rootfs": str(odd_root), "writable_layer": "none"}
    done = volt.run("true", storage=storage, options=("--outcome", tmp_path / "outcome"))
    outcome = json.loads((tmp_path / "outcome").read_text())
    assert done.returncode == outcome["status"] == 125
    assert (outcome["by"], outcome["step"], outcome["undone"]) == ("volt", "execute", True)
    for words in ("systemd-nspawn", "/tmp", "Not a directory"):
        assert words in outcome["message"]
        assert words in done.stderr.decode()


@pytest.mark.kernel
def test_an_images_links_in_place_of_kernel_file_systems_stop_the_start(volt, busybox, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(busybox, root, symlinks=True)
    (root / "sys").symlink_to("/nowhere")
    assert volt.run("true", storage={"rootfs": str(root)}).returncode == 125


def test_a_message_with_control_characters_is_harmless(volt, tmp_path):
    done = volt.run("/no/\x1b[31msuch\r", options=("--outcome", tmp_path / "outcome"))
    assert done.returncode == 127
    assert b"\x1b" not in done.stderr
    assert b"\\x1b[31msuch" in done.stderr
    assert json.loads((tmp_path / "outcome").read_text())["status"] == 127


def test_a_failed_launch_names_the_step_that_volt_plan_prints(volt, tmp_path):
    manifest = volt.manifest(workload={"workdir": "/no/such/folder", "command": ["true"]})
    outcome = ("--outcome", tmp_path / "outcome")
    plan = json.loads(volt("plan", "--json", *outcome, manifest).stdout)
    volt("run", *outcome, manifest)
    failed = json.loads((tmp_path / "outcome").read_text())
    steps = {step["number"]: step for section in plan["sections"] for step in section["steps"]}
    assert steps[failed["number"]]["operation"] == failed["step"] == "change-folder"


@pytest.mark.kernel
def test_doctor_finds_this_machine_fit_and_says_what_for(volt):
    done = volt("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert checks["systemd-nspawn"]["state"] == "ok"
    assert all(check["needed"] and check["found"] for check in checks.values())
    assert b"systemd-nspawn" in volt("doctor").stdout


def test_doctor_says_what_is_missing_and_how_to_mend_it(volt):
    """In a mount namespace where systemd-nspawn is not there."""
    script = f"mount --bind /dev/null /usr/bin/systemd-nspawn && exec {sys.executable} -m volt doctor --json"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], env=volt.environment, capture_output=True, timeout=60, check=False
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["systemd-nspawn"]["state"] == "missing"
    assert "apt install" in checks["systemd-nspawn"]["mend"]
