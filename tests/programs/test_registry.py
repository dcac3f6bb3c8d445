"""Debian's docker-registry, with TLS and passwords: what skopeo puts there volt pulls, and it is the same tree."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.host.conftest import Volt, leaving_nothing
from tests.programs.test_layers import SAYS, do, layout, manifest
from volt.images.manifest import INDEXES, MANIFESTS

__all__ = ["layout"]  # a fixture

TOP = Path(__file__).parents[2]
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {folder}/ca.pem, key: {folder}/key.pem}}}}
auth: {{htpasswd: {{realm: Registry, path: {folder}/passwords}}}}
"""
# With the settings of the test's own in the place of the machine's.
SETTINGS = 'mkdir -p /etc/volt && mount --bind "$0" /etc/volt && exec "$@"'


class Machine(Volt):
    """A volt on a machine with settings of its own."""

    def command(self, arguments):
        settings = self.folder / "etc"
        settings.mkdir(exist_ok=True)
        return ["unshare", "--mount", "sh", "-c", SETTINGS, str(settings), *super().command(arguments)]


@pytest.fixture
def volt(tmp_path):
    with leaving_nothing(Machine(tmp_path)) as one:
        yield one


@pytest.fixture(scope="module")
def registry(tmp_path_factory, layout):
    """Its host and its folder; the image lies there as a/one:1."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", folder / "key.pem", "-out", folder / "ca.pem")
    do("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *names)
    (folder / "passwords").write_text(do("htpasswd", "-Bbn", "me", "secret").stdout)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    host = f"localhost:{port}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        try:
            given = ("--dest-cert-dir", folder / "trusted", "--dest-creds", "me:secret")
            (folder / "trusted").mkdir()
            (folder / "trusted/ca.crt").write_bytes((folder / "ca.pem").read_bytes())
            put(lambda: do("skopeo", "copy", *given, f"oci:{layout}:one", f"docker://{host}/a/one:1"))
            yield host, folder
        finally:
            server.terminate()
            server.wait()


def put(act, seconds=20):
    """As soon as the registry is there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def known(volt, host, folder):
    """A machine that trusts this registry, and is known to it."""
    (volt.folder / "etc").mkdir(exist_ok=True)
    (volt.folder / "etc/config.toml").write_text(f'[registries."{host}"]\nca = "{folder}/ca.pem"\n')
    return volt("login", host, "-u", "me", "--password-stdin", input=b"secret\n")


def test_what_is_there_is_pulled_and_is_the_tree_that_its_layers_come_to(registry, layout, volt):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    pulled = volt("image", "pull", f"{host}/a/one:1")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout == volt("image", "import", layout).stdout
    assert [*(volt.state / "state/downloads").iterdir()] == []
    done = volt("run", manifest(volt, image=f"{host}/a/one:1"))
    assert done.stdout.decode().split() == SAYS, done.stderr


def test_what_is_pushed_is_pulled_again_as_the_same_and_read_by_others(registry, layout, volt, tmp_path):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    tree = volt("image", "import", layout, "mine:1").stdout
    first = json.loads(volt("image", "push", "mine:1", f"{host}/b/two:2", "--json").stdout)["pushed"]
    assert (first["image"], first["sent"] > 1000) == (f"{host}/b/two:2", True)
    again = json.loads(volt("image", "push", "mine:1", f"{host}/b/two:3", "--json").stdout)["pushed"]
    assert again == {"image": f"{host}/b/two:3", "manifest": first["manifest"], "sent": 0}
    pulled = volt("image", "pull", f"{host}/b/two@{first['manifest']}")
    assert pulled.stdout == tree, pulled.stderr
    done = volt("run", manifest(volt, image=f"{host}/b/two:2"))
    assert done.stdout.decode().split() == SAYS, done.stderr
    given = ("--src-cert-dir", folder / "trusted", "--src-creds", "me:secret")
    do("skopeo", "copy", *given, f"docker://{host}/b/two:2", f"oci:{tmp_path}/copied:two")
    do("umoci", "unpack", "--image", f"{tmp_path}/copied:two", tmp_path / "bundle")
    assert volt("image", "import", tmp_path / "copied").stdout == tree
    assert (tmp_path / "bundle/rootfs/opaque/new").read_text() == "new"


def test_a_digest_without_a_version_moves_no_name(registry, layout, volt, tmp_path):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    (tmp_path / "other").mkdir()
    for source, name in ((layout, "one"), (tmp_path / "other", "other")):
        assert volt("image", "import", source, name).returncode == 0
    first = volt("image", "push", "one", f"{host}/c/one").stdout.decode().strip()
    assert volt("image", "push", "other", f"{host}/c/one").returncode == 0
    latest = volt("image", "pull", f"{host}/c/one").stdout
    old = f"{host}/c/one@{first}"
    assert volt("run", manifest(volt, image=old)).stdout.decode().split() == SAYS
    assert f'tree = "{latest.decode().strip()}"' in volt("image", "inspect", f"{host}/c/one").stdout.decode()
    assert f"{host}/c/one@{first} has no name" in volt("image", "push", old).stderr.decode()
    assert volt("image", "tag", old, f"{host}/c/one:1").returncode == 0
    assert volt("image", "rm", old).returncode == 0
    assert volt("run", "--pull", "never", manifest(volt, image=old)).stdout.decode().split() == SAYS
    assert volt("image", "rm", f"{host}/c/one:1").returncode == 0
    assert b"[no-image]" in volt("run", "--pull", "never", manifest(volt, image=old)).stderr


def test_a_manifest_goes_there_and_is_extended_elsewhere_by_its_digest(registry, layout, volt, tmp_path):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    base = tmp_path / "base.toml"
    base.write_text('[workload]\ncommand = ["echo", "from the base"]\n')
    there = f"{host}/d/base"
    pushed = json.loads(volt("push", base, f"{there}:1", "--json").stdout)["pushed"]
    assert pushed["sent"] == len(base.read_bytes()) + len("{}")
    assert json.loads(volt("push", base, f"{there}:2", "--json").stdout)["pushed"]["sent"] == 0
    digest = pushed["manifest"]
    given = ("--cert-dir", folder / "trusted", "--creds", "me:secret")
    raw = do("skopeo", "inspect", *given, "--raw", f"docker://{there}@{digest}").stdout
    assert json.loads(raw)["layers"][0]["annotations"] == {"org.opencontainers.image.title": "base.toml"}
    url = volt("pull", f"{there}@{digest}").stdout.decode().strip()
    assert url == volt("store", "add", base).stdout.decode().strip()
    extending = tmp_path / "web.toml"
    extending.write_text(f'extends = "{url}"\n{volt.manifest().read_text()}')
    assert volt("run", extending).stdout == b"from the base\n"
    assert "volt image pull fetches images" in volt("pull", f"{host}/a/one:1").stderr.decode()
    assert b"it is no image but an artifact" in volt("image", "pull", f"{there}:1").stderr
    assert volt("push", TOP / "profiles/seccomp/strict.toml", f"{host}/d/strict:1").returncode == 0
    profile = volt("pull", f"{host}/d/strict:1").stdout.decode().strip()
    strict = volt("run", volt.manifest(workload={"command": ["echo", "held"]}, security={"seccomp_profile": profile}))
    assert strict.stdout == b"held\n", strict.stderr
    (tmp_path / "bad.toml").write_text("[workload\n")
    assert b"bad.toml" in volt("push", tmp_path / "bad.toml", f"{there}:3").stderr
    assert volt("pull", f"{there}:3").returncode == 1
    (volt.folder / "etc/policy.toml").write_text('[images]\nregistries = ["registry.example"]\n')
    assert b"may not be used on this machine" in volt("pull", f"{there}:1").stderr


def test_of_an_index_the_best_variant_is_pulled_and_another_where_it_is_asked_for(registry, layout, volt):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    with requests.Session() as session:
        session.auth, session.verify, session.trust_env = ("me", "secret"), str(folder / "ca.pem"), False
        there = f"https://{host}/v2/a/one/manifests"
        plain = session.get(f"{there}/1", headers={"Accept": MANIFESTS[0]}).json()
        lines, digests = [], {}
        for name in ("amd64/v1", "amd64/v2", "amd64/v99", "arm/v6"):
            data = json.dumps({**plain, "annotations": {"for": name}}).encode()
            digests[name] = digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            assert session.put(f"{there}/{digest}", data, headers={"Content-Type": MANIFESTS[0]}).status_code == 201
            platform = dict(zip(("os", "architecture", "variant"), ("linux", *name.split("/")), strict=True))
            lines.append({"mediaType": MANIFESTS[0], "digest": digest, "size": len(data), "platform": platform})
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": lines})
        assert session.put(f"{there}/all", index, headers={"Content-Type": INDEXES[0]}).status_code == 201
    for platform, name in (("", "amd64/v2"), ("linux/amd64", "amd64/v1"), ("linux/arm/v7", "arm/v6")):
        pulled = volt("image", "pull", "--json", "--platform", platform, f"{host}/a/one:all")
        assert json.loads(pulled.stdout)["image"]["manifest"] == digests[name], pulled.stderr
    refused = volt("image", "pull", "--platform", "linux/s390x", f"{host}/a/one:all").stderr.decode()
    assert "it is there for linux/amd64/v1, linux/amd64/v2, linux/amd64/v99, linux/arm/v6" in refused


def test_nothing_is_pushed_without_a_name_a_registry_and_leave(registry, layout, volt):
    host, folder = registry
    tree = volt("image", "import", layout).stdout.decode().strip()
    assert b"has no name to be pushed by" in volt("image", "push", tree).stderr
    assert b"mine names no registry, and none is set" in volt("image", "push", tree, "mine:1").stderr
    assert b"is not who it says it is" in volt("image", "push", tree, f"{host}/b/three").stderr
    (volt.folder / "etc/config.toml").write_text(f'[registries."{host}"]\nca = "{folder}/ca.pem"\n')
    refused = volt("image", "push", tree, f"{host}/b/three")
    assert (refused.returncode, f"hint: volt login {host}" in refused.stderr.decode()) == (1, True)
    assert [*(volt.state / "state/downloads").iterdir()] == []


def test_nothing_is_had_from_who_is_not_trusted_or_does_not_know_us(registry, volt):
    host, folder = registry
    stranger = volt("image", "pull", f"{host}/a/one:1")
    assert (stranger.returncode, b"is not who it says it is" in stranger.stderr) == (1, True)
    assert known(volt, host, folder).returncode == 0
    wrong = volt("login", host, "-u", "me", "--password-stdin", input=b"wrong\n")
    assert (wrong.returncode, b"does not let us have" in wrong.stderr) == (1, True)
    credentials = volt.folder / "etc/credentials.json"
    assert credentials.stat().st_mode & 0o777 == 0o600
    assert volt("logout", host).returncode == 0
    refused = volt("image", "pull", f"{host}/a/one:1")
    assert f"hint: volt login {host}" in refused.stderr.decode()


def test_a_short_name_is_asked_for_where_the_settings_say_and_nowhere_else(registry, volt):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    lost = volt("image", "pull", "a/one:1")
    assert b"a/one names no registry, and none is set" in lost.stderr
    with Path(volt.folder / "etc/config.toml").open("a") as settings:
        settings.write(f'[images]\nregistry = "{host}"\n')
    assert volt("image", "pull", "a/one:1").returncode == 0
    assert b"has no a/none:1" in volt("image", "pull", "a/none:1").stderr


def test_a_launch_fetches_what_is_missing_and_asks_again_where_it_has_to(registry, volt):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    one = manifest(volt, image=f"{host}/a/one:1")
    for words in (("plan", one), ("run", "--pull", "never", one)):
        absent = volt(*words)
        assert (absent.returncode != 0, b"[no-image]" in absent.stderr) == (True, True), absent.stderr
    assert volt("run", one).stdout.decode().split() == SAYS
    assert volt("run", "--pull", "always", one).stdout.decode().split() == SAYS
    (volt.folder / "etc/config.toml").write_text("")
    assert volt("run", one).stdout.decode().split() == SAYS
    failed = volt("run", "--pull", "always", one)
    assert (failed.returncode, b"is not who it says it is" in failed.stderr) == (125, True)
    assert b"hint: write --pull missing, always or never" in volt("run", "--pull", "often", one).stderr


def test_what_the_policy_forbids_is_not_fetched_first(registry, volt):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    policy = volt.folder / "etc/policy.toml"
    policy.write_text('[storage]\nrootfs = ["host"]\n')
    refused = volt("run", manifest(volt, image=f"{host}/a/one:1"))
    assert refused.returncode == 125
    assert volt("image", "ls", "-q").stdout == b""
    policy.write_text('[storage]\nrootfs = ["image"]\n')
    assert volt("run", manifest(volt, image=f"{host}/a/one:1")).stdout.decode().split() == SAYS


def test_from_a_registry_that_the_policy_does_not_list_nothing_is_had_and_nothing_starts_that_was(registry, volt):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    policy, log, name = volt.folder / "etc/policy.toml", folder / "log", f"{host}/a/one:1"
    policy.write_text(f'[images]\nregistries = ["{host}/b"]\n')
    asked, named = log.stat().st_size, manifest(volt, image=name)
    pulled = volt("image", "pull", name)
    assert (pulled.returncode, f"images from {host}/a/one may not be used" in pulled.stderr.decode()) == (1, True)
    for words in (("run", named), ("run", "--pull", "always", named)):
        refused = volt(*words)
        assert (refused.returncode, b"policy.toml:2:14: " in refused.stderr) == (125, True), refused.stderr
    assert log.stat().st_size == asked

    policy.write_text(f'[images]\nregistries = ["{host}/a"]\n')
    assert volt("run", named).stdout.decode().split() == SAYS
    assert volt("image", "tag", name, "mine").returncode == 0
    locked = volt.folder / "locked.toml"
    locked.write_bytes(volt("lock", named).stdout)
    ways = [named, manifest(volt, image="mine"), locked]
    assert [volt("run", way).stdout.decode().split() for way in ways] == [SAYS] * 3
    policy.write_text("[images]\nregistries = []\n")
    assert [b"[beyond-policy]" in volt("run", way).stderr for way in ways] == [True] * 3
