"""The policy as a text: every key read, every problem told at once with its line, nothing ignored."""

import re
from pathlib import Path

import pytest

from volt.manifest.chain import WITHHELD
from volt.manifest.policy import BOUNDS, read_policy
from volt.model.findings import Bound, Finding, Place
from volt.model.policy import Policy, Signers
from volt.model.sizes import Size

TOP = Path(__file__).parents[3]
FILE = "/etc/volt/policy.toml"
KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"
WHOLE = """
allow_unenforced = ["resources"]

[workload]
env_file = ["/srv/env"]

[kernel]
modules = ["loop", "snd-hda-intel"]

[security]
capabilities = ["CHOWN", "cap_net_admin"]
seccomp_profile = ["strict", "/etc/volt/seccomp/", "STORED"]
landlock_profile = ["default", "permissive"]

[resources]
memory_limit = "2G"
pids_max = 100

[network]
mode = ["none", "bridge"]
name = ["lan"]

[storage]
rootfs = ["host", "/var/lib//roots/."]

[images]
registries = ["registry.example", "localhost:5000/team/base"]

[images.signers]
"registry.example/team" = ['''
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA
-----END PUBLIC KEY-----
''']
"localhost:5000" = []
"registry.example/base" = { keys = [], newest = true, any_repository = true }

[storage.volumes]
host = ["/srv"]
writable = []
owner = ["root"]
"""

STORED = f"cas://sha256:{'1' * 64}"
WHOLE = WHOLE.replace("STORED", STORED)


def read(text, **options):
    return read_policy(FILE, text.encode(), **options)


def wrong(text):
    """Code, key and line of each problem of a policy that is none."""
    found = read(text)
    assert found.policy is None
    return [(finding.code, finding.key, finding.place.line) for finding in found.findings]


def test_every_key_is_read():
    found = read(WHOLE)
    assert found.findings == ()
    assert found.policy == Policy(
        env_file=("/srv/env",),
        kernel_modules=("loop", "snd_hda_intel"),
        capabilities=("CHOWN", "NET_ADMIN"),
        seccomp_profile=("strict", "/etc/volt/seccomp", STORED),
        landlock_profile=("default", "permissive"),
        network_mode=("none", "bridge"),
        network_name=("lan",),
        rootfs=("host", "/var/lib/roots"),
        image_registries=("registry.example", "localhost:5000/team/base"),
        image_signers=(
            Signers("registry.example/team", (KEY,)),
            Signers("localhost:5000", ()),
            Signers("registry.example/base", (), newest=True, any_repository=True),
        ),
        volume_host=("/srv",),
        volume_writable=(),
        volume_owner=("root",),
        memory_limit=Size(2**31),
        pids_max=100,
        allow_unenforced=("resources",),
    )
    assert all(key.rpartition(".")[2] in WHOLE for key in BOUNDS)


def test_what_is_absent_bounds_nothing():
    assert read("").policy == Policy()
    assert read("[storage.volumes]\n").policy == Policy()


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("registries = []", "unknown-key", "registries"),
        ("kernel.module = []", "unknown-key", "kernel.module"),
        ('kernel.modules = ["/lib/loop.ko"]', "bad-module", "kernel.modules[0]"),
        ('kernel.modules = ["..."]', "bad-module", "kernel.modules[0]"),
        ("[storage]\nvolume = {}", "unknown-key", "storage.volume"),
        ("[storage.volumes]\nhosts = []", "unknown-key", "storage.volumes.hosts"),
        ('"network.mode" = ["host"]', "unknown-key", '"network.mode"'),
        ("network = 1", "wrong-type", "network"),
        ("storage.volumes = []", "wrong-type", "storage.volumes"),
        ('[network]\nmode = "none"', "wrong-type", "network.mode"),
        ("[network]\nmode = [1]", "wrong-type", "network.mode[0]"),
        ('[network]\nmode = ["nat"]', "bad-bound", "network.mode[0]"),
        ('[network]\nmode = ["/srv"]', "bad-bound", "network.mode[0]"),
        ('[network]\nmode = [""]', "bad-bound", "network.mode[0]"),
        ('[network]\nname = ["Lan"]', "bad-bound", "network.name[0]"),
        ('[storage]\nrootfs = ["srv"]', "bad-bound", "storage.rootfs[0]"),
        ('[images]\nregistries = ["team"]', "bad-bound", "images.registries[0]"),
        ('[images]\nregistries = ["https://a.example"]', "bad-bound", "images.registries[0]"),
        ('[images]\nregistries = ["a.example/"]', "bad-bound", "images.registries[0]"),
        ('[images.signers]\n"a.example" = ["/key.pem"]', "bad-bound", 'images.signers."a.example"[0]'),
        ("[images.signers]\nteam = []", "bad-bound", "images.signers.team"),
        ('[images.signers."a.example"]\nkeys = ["/key.pem"]', "bad-bound", 'images.signers."a.example".keys[0]'),
        ('[images.signers]\n"a.example" = { newest = true }', "bad-bound", 'images.signers."a.example"'),
        ('[images.signers."a.example"]\nkeys = []\nnewest = 1', "wrong-type", 'images.signers."a.example".newest'),
        ('[images.signers."a.example"]\nkeys = []\nnewer = true', "unknown-key", 'images.signers."a.example".newer'),
        ('[images]\nsigners = ["a.example"]', "wrong-type", "images.signers"),
        ('[storage]\nrootfs = ["/srv/../etc"]', "bad-bound", "storage.rootfs[0]"),
        ('[storage.volumes]\nhost = ["${HOME}"]', "bad-bound", "storage.volumes.host[0]"),
        ('[storage.volumes]\nowner = ["ada"]', "bad-bound", "storage.volumes.owner[0]"),
        ('[security]\ncapabilities = ["ALL"]', "bad-capability", "security.capabilities[0]"),
        ('[security]\nlandlock_profile = ["custom"]', "bad-bound", "security.landlock_profile[0]"),
        ('[security]\nseccomp_profile = ["cas://sha256:12"]', "bad-bound", "security.seccomp_profile[0]"),
        ('[security]\nseccomp_profile = ["stric"]', "bad-bound", "security.seccomp_profile[0]"),
        ('[resources]\nmemory_limit = ""', "bad-size", "resources.memory_limit"),
        ("[resources]\nmemory_limit = 0", "wrong-type", "resources.memory_limit"),
        ("[resources]\npids_max = 0", "out-of-range", "resources.pids_max"),
        ("[resources]\npids_max = true", "wrong-type", "resources.pids_max"),
        ('allow_unenforced = ["a,b"]', "bad-bound", "allow_unenforced[0]"),
        ('allow_unenforced = ["..."]\n[network]\nmode = ["..."]', "bad-bound", "network.mode[0]"),
    ],
)
def test_what_is_not_understood_is_an_error_with_its_line(text, code, key):
    assert wrong(text) == [(code, key, len(text.split("\n")))]
    (finding,) = read(text).findings
    assert finding.hint
    assert finding.source == text.split("\n")[-1]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"network = [", "bad-toml"),
        (b"# caf\xe9", "not-utf-8"),
        (b"#" * (2**20 + 1), "too-large"),
        (b"a." * 70 + b"a = 1", "too-deep"),
    ],
)
def test_what_is_no_toml_is_told_as_for_a_manifest(data, code):
    found = read_policy(FILE, data)
    assert (found.policy, [finding.code for finding in found.findings]) == (None, [code])
    assert found.findings[0].place.file == FILE


def test_every_problem_is_told_at_once():
    text = 'registry = 1\n[network]\nmode = ["nat", "none", "net"]\n[resources]\npids_max = -1\n'
    assert [line for _, _, line in wrong(text)] == [1, 3, 3, 5]


def documents():
    """The example, and what the how-to shows."""
    shown = (TOP / "docs/how-to/bound-manifests.md").read_text()
    return [
        (TOP / "examples/policy.toml").read_text(),
        *re.findall(r"^```toml\n(.*?)^```", shown, re.DOTALL | re.MULTILINE),
    ]


@pytest.mark.parametrize("text", documents())
def test_what_the_documentation_shows_is_a_policy(text):
    found = read(text)
    assert found.findings == ()
    assert found.policy != Policy()


def test_a_finding_gets_the_line_of_its_bound():
    beyond = Finding("beyond-policy", "network.mode", "m", policy=Bound("network.mode"))
    (located,) = read(WHOLE).locate((beyond,))
    assert located.policy == Bound("network.mode", Place(FILE, 20, 8), 'mode = ["none", "bridge"]')
    other = Finding("no-root", "storage", "m")
    assert read(WHOLE).locate((other,)) == (other,)


def test_of_a_policy_that_the_caller_cannot_read_the_line_is_named_and_not_quoted():
    beyond = Finding("beyond-policy", "network.mode", "m", policy=Bound("network.mode"))
    hidden = read(WHOLE, quotable=False)
    assert hidden.policy is not None
    assert not hidden.policy.quotable
    assert hidden.locate((beyond,))[0].policy == Bound("network.mode", Place(FILE, 20, 8))
    (finding,) = read('secret = "x"', quotable=False).findings
    assert (finding.message, finding.key, finding.hint, finding.source) == (WITHHELD, "", "", "")
    (finding,) = read("secret = ", quotable=False).findings
    assert (finding.message, finding.source) == (WITHHELD, "")
