"""Signatures as cosign leaves them in a registry, made with openssl: what no key of the policy has signed is not
pulled, and does not start."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
import requests

from tests.host.front import OLD
from tests.programs.test_layers import SAYS, do, layout, manifest
from tests.programs.test_registry import known, registry, volt

__all__ = ["layout", "registry", "volt"]  # fixtures

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"


class Signer:
    """Somebody with a key, who knows how to write into the registry."""

    def __init__(self, folder, host, trusted):
        folder.mkdir()
        self.folder, self.url = folder, f"https://{host}/v2/a/one"
        self.session = requests.Session()
        self.session.auth, self.session.verify = ("me", "secret"), str(trusted / "ca.pem")
        self.session.trust_env = False
        do("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "key")
        self.public = do("openssl", "pkey", "-in", folder / "key", "-pubout").stdout

    def image(self):
        """An image that nobody has signed: its version, and the digest of its manifest."""
        found = self.session.get(f"{self.url}/manifests/1", headers={"Accept": MANIFEST}).json()
        version = hashlib.sha256(str(self.folder).encode()).hexdigest()
        data = json.dumps({**found, "annotations": {"for": version}})
        self.name(version, data)
        return version, f"sha256:{hashlib.sha256(data.encode()).hexdigest()}"

    def name(self, tag, data):
        answer = self.session.put(f"{self.url}/manifests/{tag}", data, headers={"Content-Type": MANIFEST})
        assert answer.status_code == 201, answer.text

    def put(self, data):
        begun = self.session.post(f"{self.url}/blobs/uploads/")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert self.session.put(begun.headers["Location"], params={"digest": digest}, data=data).status_code == 201
        return {"digest": digest, "size": len(data)}

    def sign(self, where, digest):
        """Leave a signature that says `where`; the one that lay there before is gone."""
        kind = "cosign container image signature"
        said = {"identity": {"docker-reference": where}, "image": {"docker-manifest-digest": digest}, "type": kind}
        payload = self.folder / "payload"
        payload.write_text(json.dumps({"critical": said, "optional": None}))
        made = self.folder / "signature"
        do("openssl", "dgst", "-sha256", "-sign", self.folder / "key", "-out", made, payload)
        notes = {SIGNATURE: base64.b64encode(made.read_bytes()).decode()}
        layer = {"mediaType": PAYLOAD, **self.put(payload.read_bytes()), "annotations": notes}
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", **self.put(b"{}")}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        self.name(f"{digest.replace(':', '-')}.sig", json.dumps(document))


@pytest.fixture
def signer(registry, tmp_path):
    return Signer(tmp_path / "signer", *registry)


def asks(volt, place, *keys):
    (volt.folder / "etc/policy.toml").write_text(f"[images.signers]\n{json.dumps(place)} = {json.dumps(keys)}\n")


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
