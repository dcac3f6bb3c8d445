"""Signatures as cosign leaves them in a registry, made with openssl: what no key of the policy has signed is not
pulled, and does not start."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import time
from subprocess import PIPE

import pytest
import requests
import tomli_w

from tests.host.conftest import leaving_nothing
from tests.host.front import OLD
from tests.programs.test_layers import SAYS, do, layout, manifest
from tests.programs.test_registry import Machine, known, registry, volt

__all__ = ["layout", "registry", "volt"]  # fixtures

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT, SIGNS = "application/vnd.in-toto+json", "https://sigstore.dev/cosign/sign/v1"
# With what this machine has taken before in the place of the machine's.
TAKEN = 'mkdir -p /var/lib/volt && mount --bind "$0" /var/lib/volt && exec "$@"'


class Signer:
    """Somebody with a key, who knows how to write into the registry."""

    def __init__(self, folder, host, trusted):
        folder.mkdir()
        self.images = 0
        self.folder, self.url = folder, f"https://{host}/v2/a/one"
        self.session = requests.Session()
        self.session.auth, self.session.verify = ("me", "secret"), str(trusted / "ca.pem")
        self.session.trust_env = False
        do("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "key")
        self.public = do("openssl", "pkey", "-in", folder / "key", "-pubout").stdout

    def image(self):
        """An image that nobody has signed: its version, and the digest of its manifest."""
        found = self.session.get(f"{self.url}/manifests/1", headers={"Accept": MANIFEST}).json()
        version = hashlib.sha256(f"{self.folder} {self.images}".encode()).hexdigest()
        self.images += 1
        data = json.dumps({**found, "annotations": {"for": version}})
        self.name(version, data)
        return version, f"sha256:{hashlib.sha256(data.encode()).hexdigest()}"

    def move(self, tag, version):
        """Have a name stand for what another stands for."""
        self.name(tag, self.session.get(f"{self.url}/manifests/{version}", headers={"Accept": MANIFEST}).content)

    def name(self, tag, data, kind=MANIFEST):
        answer = self.session.put(f"{self.url}/manifests/{tag}", data, headers={"Content-Type": kind})
        assert answer.status_code == 201, answer.text

    def put(self, data):
        begun = self.session.post(f"{self.url}/blobs/uploads/")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert self.session.put(begun.headers["Location"], params={"digest": digest}, data=data).status_code == 201
        return {"digest": digest, "size": len(data)}

    def sign(self, where, digest, optional=None):
        """Leave a signature that says `where`; the one that lay there before is gone."""
        kind = "cosign container image signature"
        said = {"identity": {"docker-reference": where}, "image": {"docker-manifest-digest": digest}, "type": kind}
        payload = json.dumps({"critical": said, "optional": optional}).encode()
        layer = {"mediaType": PAYLOAD, **self.put(payload), "annotations": {SIGNATURE: self.signed(payload)}}
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", **self.put(b"{}")}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        self.name(f"{digest.replace(':', '-')}.sig", json.dumps(document))

    def signed(self, data):
        made, over = self.folder / "signature", self.folder / "over"
        over.write_bytes(data)
        do("openssl", "dgst", "-sha256", "-sign", self.folder / "key", "-out", made, over)
        return base64.b64encode(made.read_bytes()).decode()

    def hang(self, digest, *statements):
        """Leave bundles with statements, as cosign 3 does where the registry knows no referrers, in the place of
        others; a statement is a type of predicate and annotations."""
        lines = [self.bundle(digest, about, notes) for about, notes in statements]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": lines}
        self.name(digest.replace(":", "-"), json.dumps(document), INDEX)

    def bundle(self, digest, about, notes):
        subject = {"digest": {"sha256": digest.removeprefix("sha256:")}, "annotations": notes}
        statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], "predicateType": about}
        payload = json.dumps({**statement, "predicate": {}}).encode()
        whole = b"DSSEv1 %d %b %d %b" % (len(STATEMENT), STATEMENT.encode(), len(payload), payload)
        envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": STATEMENT}
        envelope["signatures"] = [{"sig": self.signed(whole)}]
        known = {"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "x"}}, "dsseEnvelope": envelope}
        layer = {"mediaType": BUNDLE, **self.put(json.dumps(known).encode())}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", **self.put(b"{}")}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": config}
        document |= {"layers": [layer], "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1}}
        data = json.dumps(document)
        found = f"sha256:{hashlib.sha256(data.encode()).hexdigest()}"
        self.name(found, data)
        return {"mediaType": MANIFEST, "digest": found, "size": len(data), "artifactType": BUNDLE}


@pytest.fixture
def signer(registry, tmp_path):
    return Signer(tmp_path / "signer", *registry)


def asks(volt, place, *keys, **more):
    table = tomli_w.dumps({"images": {"signers": {place: {"keys": [*keys], **more} if more else [*keys]}}})
    (volt.folder / "etc/policy.toml").write_text(table)


class Remembering(Machine):
    """A machine that remembers what it has taken, apart from this one."""

    def command(self, arguments):
        taken = self.folder / "lib"
        taken.mkdir(exist_ok=True)
        before = ["unshare", "--mount", "sh", "-c", TAKEN, str(taken)]
        return [*before, *super().command(arguments)]


@pytest.fixture
def remembering(tmp_path):
    with leaving_nothing(Remembering(tmp_path)) as one:
        yield one


def test_a_registry_that_goes_back_to_an_older_signed_version_is_refused(registry, remembering, signer):
    volt, (host, folder) = remembering, registry
    assert known(volt, host, folder).returncode == 0
    asks(volt, f"{host}/a", signer.public, newest=True)
    (old, first), (new, second) = signer.image(), signer.image()
    signer.sign(f"{host}/a/one", first, {"timestamp": 1700000000})
    signer.sign(f"{host}/a/one", second, {"timestamp": "1700000100"})
    name = f"{host}/a/one:moving"
    for version in (old, new, new):
        signer.move("moving", version)
        assert volt("image", "pull", name).returncode == 0
    signer.move("moving", old)
    volt.environment["VOLT_ROOT"] = f"{volt.folder}/other"  # moves nothing of what the policy is about
    refused = volt("image", "pull", name).stderr.decode()
    assert f"{name} was signed 2023-11-14 22:13:20 UTC, and one signed 2023-11-14 22:15:00 UTC was taken" in refused
    assert volt("image", "pull", f"{host}/a/one@{first}").returncode == 0, "by its digest nobody but the caller chooses"
    signer.sign(f"{host}/a/one", first)
    assert "is signed without a time" in volt("image", "pull", name).stderr.decode()
    asks(volt, f"{host}/a", signer.public)
    assert volt("image", "pull", name).returncode == 0, "the policy does not ask"


SLOW = """
import sys
from volt import api

begun = []

def waits(what, *_):
    if what == "unpacking" and not begun:
        begun.append(print("begun", flush=True))
        sys.stdin.readline()

try:
    api.pull_image(sys.argv[1], progress=waits)
except api.VoltError as error:
    print(error)
"""


def test_a_pull_that_began_before_a_newer_one_was_taken_does_not_bring_the_older_one_back(
    registry, remembering, signer
):
    volt, (host, folder) = remembering, registry
    assert known(volt, host, folder).returncode == 0
    asks(volt, f"{host}/a", signer.public, newest=True)
    (old, first), (new, second) = signer.image(), signer.image()
    signer.sign(f"{host}/a/one", first, {"timestamp": 1700000000})
    signer.sign(f"{host}/a/one", second, {"timestamp": 1700000100})
    name = f"{host}/a/one:slow"
    signer.move("slow", old)
    words = [*volt.command(())[:-2], "-c", SLOW, name]
    with subprocess.Popen(words, env=volt.environment, stdin=PIPE, stdout=PIPE, text=True) as slow:
        assert slow.stdout.readline() == "begun\n"
        signer.move("slow", new)
        assert volt("image", "pull", name, timeout=20).returncode == 0
        said, _ = slow.communicate("\n", timeout=60)
    assert f"{name} was signed 2023-11-14 22:13:20 UTC, and one signed 2023-11-14 22:15:00 UTC was taken" in said
    assert second in volt("image", "inspect", name).stdout.decode()


def test_what_could_not_be_taken_keeps_out_nothing(registry, remembering, signer):
    volt, (host, folder) = remembering, registry
    assert known(volt, host, folder).returncode == 0
    asks(volt, f"{host}/a", signer.public, newest=True)
    version, digest = signer.image()
    signer.sign(f"{host}/a/one", digest, {"timestamp": 1700000000})
    config = {"mediaType": "application/vnd.oci.empty.v1+json", **signer.put(b"{}")}
    odd = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
    signer.name("odd", odd)
    digest = f"sha256:{hashlib.sha256(odd.encode()).hexdigest()}"
    signer.sign(f"{host}/a/one", digest, {"timestamp": 1700000100})
    assert b"it is no image but an artifact" in volt("image", "pull", f"{host}/a/one:odd").stderr
    signer.move("odd", version)
    assert volt("image", "pull", f"{host}/a/one:odd").returncode == 0


def test_a_manifest_goes_back_to_no_older_one_either(registry, remembering, signer):
    volt, (host, folder) = remembering, registry
    assert known(volt, host, folder).returncode == 0
    asks(volt, f"{host}/a", signer.public, newest=True)
    name, base = f"{host}/a/one:base", volt.folder / "base.toml"
    for number, status in ((2, 0), (1, 1), (3, 0)):
        base.write_text(f'[env]\nNUMBER = "{number}"\n')
        sent = json.loads(volt("push", base, name, "--json").stdout)["pushed"]
        signer.sign(f"{host}/a/one", sent["manifest"], {"timestamp": 1700000000 + number})
        done = volt("pull", name)
        assert (done.returncode, b"was taken before" in done.stderr) == (status, bool(status)), done.stderr


def test_a_bundle_that_hangs_on_an_image_counts_as_far_as_it_is_understood(registry, volt, signer):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    asks(volt, f"{host}/a", signer.public)
    version, digest = signer.image()
    name = f"{host}/a/one:{version}"
    signer.hang(digest, ("https://slsa.dev/provenance/v1", {}), (SIGNS, {}))
    refused = volt("image", "pull", name).stderr.decode()
    assert "is signed by none of its 2 signatures" in refused
    assert "about 'https://slsa.dev/provenance/v1'" in refused
    assert "one names no repository" in refused
    asks(volt, f"{host}/a", signer.public, any_repository=True)
    assert volt("image", "pull", name).returncode == 0
    asks(volt, f"{host}/a", signer.public)
    one = manifest(volt, image=name)
    assert b"[beyond-policy]" in volt("run", one).stderr, "what was pulled is held against the policy again"
    signer.hang(digest, (SIGNS, {"docker-reference": f"{host}/a/one"}))
    assert volt("run", "--pull", "always", one).stdout.decode().split() == SAYS
    assert volt("run", one).stdout.decode().split() == SAYS


def test_a_plan_that_was_kept_is_good_as_long_as_the_name_is_there_that_was_signed(registry, volt, signer):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    asks(volt, f"{host}/a", signer.public)
    version, digest = signer.image()
    signer.sign(f"{host}/a/one", digest)
    assert volt("image", "pull", f"{host}/a/one:{version}").returncode == 0
    locked = volt.folder / "locked.toml"
    locked.write_bytes(volt("lock", manifest(volt, image=f"{host}/a/one:{version}")).stdout)
    time.sleep(OLD)
    assert [volt("run", locked).stdout.decode().split() for _ in range(2)] == [SAYS] * 2
    assert volt("image", "rm", f"{host}/a/one:{version}").returncode == 0
    assert b"[beyond-policy]" in volt("run", locked).stderr


def test_from_a_mirror_comes_what_is_signed_for_the_registry_and_the_policy_lists_both(registry, volt, signer):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    with (volt.folder / "etc/config.toml").open("a") as settings:
        settings.write(f'[registries."registry.example"]\nmirror = "{host}"\n')
    asks(volt, "registry.example/a", signer.public)
    version, digest = signer.image()
    name = f"registry.example/a/one:{version}"
    signer.sign(f"{host}/a/one", digest)
    assert volt("image", "pull", name).returncode == 1, "signed for the mirror"
    signer.sign("registry.example/a/one", digest)
    done = volt("image", "pull", "--json", name)
    image = json.loads(done.stdout)["image"]
    assert (image["source"], len(image["signatures"])) == ("registry.example/a/one", 1)
    assert volt("run", manifest(volt, image=name)).stdout.decode().split() == SAYS
    (volt.folder / "etc/policy.toml").write_text('[images]\nregistries = ["registry.example"]\n')
    assert f"images from {host}/a/one may not be used" in volt("image", "pull", name).stderr.decode()


def test_without_a_signature_that_counts_nothing_is_pulled_and_what_was_pulled_before_does_not_start(
    registry, volt, signer, tmp_path
):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    (version, digest), other = signer.image(), Signer(tmp_path / "other", host, folder)
    name = f"{host}/a/one:{version}"
    before = volt("image", "pull", name)
    assert f"{name} is unsigned" in before.stderr.decode()
    assert b'signed_by = "unsigned' in volt("image", "inspect", name).stdout
    one = manifest(volt, image=name)
    (volt.folder / "locked.toml").write_bytes(volt("lock", one).stdout)
    assert volt("run", one).stdout.decode().split() == SAYS

    asks(volt, f"{host}/a", signer.public)
    for way in (one, volt.folder / "locked.toml"):
        refused = volt("run", way)
        assert (refused.returncode, b"the policy of this machine: images.signers" in refused.stderr) == (125, True)
    assert b"is signed by no signature" in volt("image", "pull", name).stderr
    other.sign(f"{host}/a/one", digest)
    assert b"is signed by none of its 1 signatures" in volt("image", "pull", name).stderr
    signer.sign(f"{host}/a/another", digest)
    assert b"is signed by none of its 1 signatures" in volt("image", "pull", name).stderr
    assert volt("run", "--pull", "always", one).returncode == 125

    signer.sign(f"{host}/a/one:1", digest)
    assert volt("image", "pull", name).stderr == b""
    assert b'signed_by = ["sha256:' in volt("image", "inspect", name).stdout
    for way in (one, volt.folder / "locked.toml", one):
        assert volt("run", way).stdout.decode().split() == SAYS
    asks(volt, f"{host}/a", other.public)
    assert b"[beyond-policy]" in volt("run", one).stderr, "a key that is taken away counts no more"
