"""volt store add: a manifest in the store as the base of others, and a profile as what holds them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from volt import api
from volt.errors import ManifestError, StoreError

BASE = '[workload]\nmode = "container"\ncommand = ["echo", "of the base"]\n[storage]\nrootfs = "host"\n'


@pytest.fixture
def added(volt, tmp_path, monkeypatch):
    """A base in the store, its file gone, and a manifest that extends it."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    (tmp_path / "base.toml").write_text(BASE)
    done = volt("store", "add", tmp_path / "base.toml")
    assert (done.returncode, done.stderr) == (0, b"")
    (tmp_path / "base.toml").unlink()
    url = done.stdout.decode().strip()
    manifest = tmp_path / "web.toml"
    manifest.write_text(f'extends = "{url}"\n[workload]\nname = "stored{os.getpid()}"\n[network]\nmode = "none"\n')
    return url, manifest


def test_a_manifest_extends_it_until_it_is_let_go(volt, added):
    url, manifest = added
    api.collect_store()
    ((listed, source),) = ((one.url, one.source) for one in api.added_manifests())
    assert (listed, os.path.basename(source)) == (url, "base.toml")
    assert url in volt("store", "ls").stdout.decode()
    for _ in range(2):  # the second time without Python
        assert volt("run", manifest).stdout == b"of the base\n"
    assert volt("store", "rm", url).returncode == 0
    assert volt("run", manifest).stdout == b"of the base\n"  # nothing has been collected yet
    api.collect_store()
    done = volt("run", manifest)
    assert done.returncode == 125
    assert b"is not in the store: volt store add FILE" in done.stderr
    with pytest.raises(StoreError, match="no manifest that was added"):
        api.remove_manifest(url)
    assert api.added_manifests() == ()


def test_what_is_damaged_or_no_manifest_is_a_finding_at_its_line(volt, added, tmp_path):
    _, manifest = added
    (file,) = (path for path in (volt.state / "state/store/objects").glob("*/*") if path.is_file())
    file.chmod(0o600)
    file.write_text(BASE.replace("base", "devil"))
    (found,) = api.validate([manifest])
    assert (found.code, found.place.line) == ("unreadable", 1)
    assert "it is damaged in the store" in found.message
    assert [one.mended for one in api.verify_store(repair=True).damage] == [True]
    assert [one.problem for one in api.verify_store().damage] == ["it is missing, and was added as a manifest"]
    (tmp_path / "tree").mkdir()
    tree = api.import_image(tmp_path / "tree", "empty").tree
    manifest.write_text(f'extends = "cas://{tree}"\n')
    assert "it is a tree of files, no manifest" in api.validate([manifest])[0].message
    Path(tmp_path / "no.toml").write_text("[[")
    with pytest.raises(ManifestError):
        api.add_manifest(tmp_path / "no.toml")


# Whatever they are called, files get no other mode.
FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "syscalls": [
        {"names": ["chmod", "fchmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
    ],
}
POLICY = """
abi = 1
[[ruleset]]
handled_access_fs = ["make_dir"]
reason = "No folder is made"
enforce = "require"
"""


def profile(tmp_path, name, text):
    """The URL of one in the store, whose file is gone."""
    path = tmp_path / name
    path.write_text(text)
    url = api.add_manifest(path)
    path.unlink()
    return url


def test_a_seccomp_profile_in_the_store_holds_a_workload_until_it_is_let_go(volt, tmp_path, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    url = profile(tmp_path, "seccomp.json", json.dumps(FILTER))
    workload = {"command": ["sh", "-c", "touch /tmp/file && chmod 600 /tmp/file"]}
    manifest = volt.manifest(workload=workload, security={"seccomp_profile": url})
    api.collect_store()
    for _ in range(2):  # the second time without Python
        done = volt("run", manifest)
        assert (done.returncode, b"Operation not supported" in done.stderr) == (1, True), done.stderr
    api.remove_manifest(url)
    api.collect_store()
    done = volt("run", manifest)
    assert done.returncode == 125
    assert b"it is not in the store: volt store add FILE puts it there" in done.stderr


def test_a_landlock_policy_in_the_store_holds_a_workload_and_one_that_is_damaged_starts_none(
    volt, tmp_path, monkeypatch
):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    url = profile(tmp_path, "policy.toml", POLICY)
    for security in ({"landlock_profile": url}, {"landlock_profile": "custom", "landlock_policy": url}):
        manifest = volt.manifest(workload={"command": ["mkdir", "/tmp/folder"]}, security=security)
        done = volt("run", manifest)
        assert (done.returncode, b"Permission denied" in done.stderr) == (1, True), done.stderr
    (file,) = (path for path in (volt.state / "state/store/objects").glob("*/*") if path.is_file())
    file.chmod(0o600)
    file.write_text(POLICY.replace("make_dir", "make_reg"))
    done = volt("run", manifest)
    assert done.returncode == 125
    assert b"it is damaged in the store" in done.stderr


def test_a_profile_that_is_wrong_does_not_get_in(tmp_path):
    for name, text, said in (
        ("seccomp.json", json.dumps({**FILTER, "syscalls": [{"names": 7}]}), "is no seccomp profile"),
        ("seccomp.toml", 'format = 1\nunlisted = "maybe"\n', "is no seccomp profile"),
        ("policy.toml", POLICY.replace("make_dir", "make_folder"), "1 problem found"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises((StoreError, ManifestError), match=said):
            api.add_manifest(tmp_path / name)
