"""What a policy refuses: for each bound one workload that it lets pass, and one that it does not."""

from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.plan.test_check import FACTS, GOOD
from volt.manifest.policy import BOUNDS
from volt.model.facts import Call, ImageFact, PathFact, ProfileText
from volt.model.modes import Mode, NetworkMode
from volt.model.policy import Policy, Signers
from volt.model.sizes import Size
from volt.model.steps import CAPABILITIES
from volt.model.workload import Kernel, Network, Resources, Security, Storage, Volume, Workload
from volt.plan.bounds import ASK, check_policy, check_resources
from volt.plan.capabilities import DEFAULT

GIGA = 2**30
FOLDERS = ("/srv", "/srv/data", "/srv/database", "/etc", "/", "/srv/data/deep")


def leading(**links):
    """The facts of a machine where each path leads to itself, but for those links."""
    real = {path: path for path in FOLDERS} | {f"/{name.replace('_', '/')}": where for name, where in links.items()}
    return replace(FACTS, memory=8 * GIGA, paths={path: PathFact("folder", real=to) for path, to in real.items()})


FOUND = leading(srv_link="/etc", srv_inner="/srv/data")


def findings(workload, policy, call=None, facts=FOUND):
    facts = replace(facts, policy=policy, image=image_of(workload, policy))
    return tuple(check_policy(workload, facts, call or Call()))


def beyond(workload, policy, call=None, facts=FOUND):
    """The key of the manifest and the key of the policy, of each finding."""
    found = findings(workload, policy, call, facts)
    assert {finding.code for finding in found} <= {"beyond-policy"}
    return [(finding.key, finding.policy.key if finding.policy else finding.key.partition("[")[0]) for finding in found]


def secured(**values):
    return replace(GOOD, security=Security(**values))


def limited(**values):
    return replace(GOOD, resources=Resources(**values))


def mounted(host, **values):
    return replace(GOOD, storage=Storage(rootfs="host", volumes=(Volume(host, "/data", **values),)))


def rooted(root):
    return replace(GOOD, storage=Storage(rootfs=root))


def joined(mode, name=None):
    return replace(GOOD, network=Network(mode=mode, name=name))


def pulled(*origins):
    """A workload with an image from there."""
    return replace(GOOD, image=f"from {' '.join(map(repr, origins))}")


def image_of(workload, policy):
    """The fact of an image that `pulled` has named, or of one that none of the keys for a registry has signed."""
    kind, _, where = (workload.image or "").partition(" ")
    if kind == "unsigned" and policy and policy.image_signers is not None:
        return ImageFact("workload.image", origins=("",), unsigned=(where,))
    if kind != "from":
        return None
    return ImageFact("workload.image", origins=tuple(one.strip("'") for one in workload.image.split(" ")[1:] if one))


def loading(*names, mode=Mode.HYBRID_NATIVE):
    return replace(GOOD, mode=mode, kernel=Kernel(modules=names))


def env(path):
    return replace(GOOD, env_file=path)


WAIVED = Call(waived=("resources",))
ELEVEN = tuple(name for name in CAPABILITIES if name in DEFAULT)

STORED, OTHER = (f"cas://sha256:{digit * 64}" for digit in "12")

# Key of the policy → the policy; what it lets pass; what it does not, and the key of the manifest that is told.
CASES = {
    "allow_unenforced": (Policy(allow_unenforced=()), [GOOD], []),
    "workload.env_file": (
        Policy(env_file=("/srv/data",)),
        [GOOD, env("/srv/data"), env("/srv/data/deep"), env("/srv/data/missing")],
        [(env(path), "workload.env_file") for path in ("/etc", "/srv/database", "/srv/inner", "/srv")],
    ),
    "kernel.modules": (
        Policy(kernel_modules=("loop", "wireguard")),
        [GOOD, loading("wireguard", "loop"), loading("dummy", mode=Mode.CONTAINER)],
        [(loading("loop", "dummy"), "kernel.modules[1]")],
    ),
    "security.capabilities": (
        Policy(capabilities=ELEVEN[:10]),
        [secured(capabilities=()), secured(capabilities=ELEVEN[:10])],
        [
            (GOOD, "security.capabilities"),
            (secured(capabilities=("CHOWN", "SYS_ADMIN")), "security.capabilities[1]"),
        ],
    ),
    "security.seccomp_profile": (
        Policy(seccomp_profile=("strict", "/srv/data", STORED)),
        [secured(seccomp_profile=one) for one in ("strict", "/srv/data/deep", STORED)],
        [
            (workload, "security.seccomp_profile")
            for workload in (
                GOOD,
                *(secured(seccomp_profile=one) for one in ("default", "unconfined", "/etc/x.toml", OTHER)),
            )
        ],
    ),
    "security.landlock_profile": (
        Policy(landlock_profile=("default", "/srv/data")),
        [GOOD, secured(landlock_profile="custom", landlock_policy="/srv/data/deep")],
        [
            (secured(landlock_profile="permissive"), "security.landlock_profile"),
            (secured(landlock_profile="/srv/link"), "security.landlock_profile"),
            (secured(landlock_profile="custom"), "security.landlock_profile"),
            (secured(landlock_profile="custom", landlock_policy="/etc/x.toml"), "security.landlock_policy"),
        ],
    ),
    "resources.memory_limit": (
        Policy(memory_limit=Size(4 * GIGA)),
        [limited(memory_limit=Size(4 * GIGA)), limited(memory_limit=Size(None, 50.0))],
        [
            (workload, "resources.memory_limit")
            for workload in (GOOD, limited(memory_limit=Size(4 * GIGA + 1)), limited(memory_limit=Size(None, 51.0)))
        ],
    ),
    "resources.pids_max": (
        Policy(pids_max=100),
        [limited(pids_max=100)],
        [(GOOD, "resources.pids_max"), (limited(pids_max=101), "resources.pids_max")],
    ),
    "network.mode": (
        Policy(network_mode=("none",)),
        [GOOD],
        [(joined(NetworkMode.HOST), "network.mode"), (joined(None), "network.mode")],
    ),
    "network.name": (
        Policy(network_name=("lan",)),
        [GOOD, joined(NetworkMode.CUSTOM, "lan"), joined(NetworkMode.BRIDGE)],
        [(joined(NetworkMode.CUSTOM, "vault"), "network.name")],
    ),
    "storage.rootfs": (
        Policy(rootfs=("host", "/srv/data")),
        [rooted("host"), rooted("/srv/data"), rooted("/srv/data/deep"), rooted(None)],
        [(rooted(root), "storage.rootfs") for root in ("/", "/etc", "/srv", "/srv/link", "cas://sha256:0")]
        + [(replace(rooted(None), image="debian"), "workload.image")],
    ),
    "images.registries": (
        Policy(image_registries=("registry.example/team", "localhost:5000")),
        [GOOD, pulled("registry.example/team"), pulled("localhost:5000/a/b"), pulled("evil.example/a", ""), pulled("")],
        [
            (pulled(*origins), "workload.image")
            for origins in (
                ("registry.example/teams/a",),
                ("registry.example/other",),
                ("localhost:50001/a",),
                ("localhost/a",),
                (),
            )
        ],
    ),
    "images.signers": (
        Policy(image_signers=(Signers("registry.example", ("KEY",)),)),
        [GOOD, pulled("registry.example/a"), pulled("")],
        [(replace(pulled("registry.example/a"), image="unsigned registry.example"), "workload.image")],
    ),
    "storage.volumes.host": (
        Policy(volume_host=("/srv",)),
        [mounted("/srv/data"), mounted("/srv/database", readonly=True), mounted("/srv/inner"), GOOD],
        [(mounted(path, readonly=True), "storage.volumes[0].host") for path in ("/etc", "/", "/srv/link")],
    ),
    "storage.volumes.writable": (
        Policy(volume_writable=("/srv/data",)),
        [mounted("/srv/data"), mounted("/srv/data/deep"), mounted("/etc", readonly=True)],
        [(mounted(path), "storage.volumes[0].host") for path in ("/etc", "/srv", "/srv/database", "/srv/link")],
    ),
    "storage.volumes.owner": (
        Policy(volume_owner=()),
        [mounted("/srv")],
        [(mounted("/srv", owner_root=True), "storage.volumes[0].owner")],
    ),
}


def test_every_bound_has_its_case():
    assert set(CASES) == set(BOUNDS)
    assert {bound.attribute for bound in BOUNDS.values()} == {one.name for one in fields(Policy)} - {"quotable"}


@pytest.mark.parametrize("bound", CASES)
def test_what_lies_within_a_bound_passes(bound):
    policy, good, _ = CASES[bound]
    assert [beyond(workload, policy) for workload in good] == [[]] * len(good)


@pytest.mark.parametrize("bound", CASES)
def test_what_lies_beyond_a_bound_is_refused_with_both_keys_and_a_way_out(bound):
    policy, _, bad = CASES[bound]
    for workload, key in bad:
        assert beyond(workload, policy) == [(key, bound)]
        assert all(finding.hint for finding in findings(workload, policy))


@pytest.mark.parametrize("bound", [bound for bound in CASES if bound != "kernel.modules"])
def test_what_no_policy_bounds_passes(bound):
    _, good, bad = CASES[bound]
    for workload in (*good, *(one for one, _ in bad)):
        assert beyond(workload, None) == beyond(workload, Policy()) == []


@pytest.mark.parametrize("policy", [None, Policy(), Policy(kernel_modules=())])
def test_no_module_is_loaded_where_no_policy_lists_it_and_what_to_write_is_told_once(policy):
    told = findings(loading("dummy", "loop"), policy)
    assert [(finding.code, finding.key) for finding in told] == [
        ("beyond-policy", "kernel.modules[0]"),
        ("beyond-policy", "kernel.modules[1]"),
    ]
    for finding in told:
        assert 'in /etc/volt/policy.toml, below [kernel]: modules = ["dummy", "loop"]' in finding.hint
        assert bool(finding.policy) == (policy == Policy(kernel_modules=()))
    assert findings(loading("dummy", mode=Mode.CONTAINER), policy) == ()


def test_of_the_modules_that_a_policy_lists_the_hint_keeps_all():
    (finding,) = findings(loading("dummy"), Policy(kernel_modules=("loop",)))
    assert 'modules = ["loop", "dummy"]' in finding.hint


def test_a_waiver_of_the_command_line_is_bounded_too():
    assert beyond(GOOD, Policy(allow_unenforced=()), WAIVED) == [("", "allow_unenforced")]
    assert beyond(GOOD, Policy(allow_unenforced=("resources",)), WAIVED) == beyond(GOOD, Policy(), WAIVED) == []


def test_owner_root_may_be_allowed_by_name():
    assert beyond(mounted("/srv", owner_root=True), Policy(volume_owner=("root",))) == []


def test_in_the_hosts_network_the_capability_that_nobody_gets_there_is_not_missed():
    most = Policy(capabilities=tuple(name for name in ELEVEN if name != "NET_BIND_SERVICE"))
    assert beyond(joined(NetworkMode.HOST), most) == []
    assert beyond(GOOD, most) == [("security.capabilities", "security.capabilities")]


def test_everything_is_told_at_once():
    policy = Policy(seccomp_profile=(), landlock_profile=(), pids_max=1, network_mode=(), volume_host=(), rootfs=())
    assert len(beyond(mounted("/srv"), policy)) == 6


def test_a_volume_for_reading_and_for_writing_has_two_bounds():
    policy = Policy(volume_host=("/srv",), volume_writable=("/srv/data",))
    assert beyond(mounted("/srv/database", readonly=True), policy) == []
    assert [bound for _, bound in beyond(mounted("/srv/database"), policy)] == ["storage.volumes.writable"]
    assert len(beyond(mounted("/etc"), policy)) == 2


def test_a_link_out_of_an_allowed_folder_is_told_with_where_it_leads():
    (finding,) = findings(mounted("/srv/link", readonly=True), Policy(volume_host=("/srv",)))
    assert "leads to /etc" in finding.message


@pytest.mark.parametrize("kind", ["seccomp", "landlock"])
def test_of_a_profile_the_file_that_was_read_counts_wherever_its_path_leads_by_now(kind):
    workload, policy = secured(**{f"{kind}_profile": "/srv/link"}), Policy(**{f"{kind}_profile": ("/srv",)})
    read = ProfileText("/srv/link", "what counts", real="/etc/x.toml")
    (finding,) = findings(workload, policy, facts=replace(FACTS, **{kind: read}))
    assert "leads to /etc/x.toml" in finding.message
    assert findings(workload, policy, facts=replace(FACTS, **{kind: replace(read, real="/srv/x")})) == ()


def test_a_link_into_an_allowed_folder_is_refused_as_it_is_written():
    facts = leading(home_link="/srv/data")
    assert beyond(mounted("/home/link", readonly=True), Policy(volume_host=("/srv",)), facts=facts) != []


def test_an_allowed_folder_that_is_a_link_allows_nothing_beyond_it():
    facts = leading(srv="/etc")
    assert beyond(mounted("/srv", readonly=True), Policy(volume_host=("/srv",)), facts=facts) != []


def test_a_path_that_goes_up_again_lies_nowhere():
    assert beyond(mounted("/srv/../etc", readonly=True), Policy(volume_host=("/srv",))) != []


def test_of_a_policy_that_the_caller_cannot_read_no_word_is_told():
    policy = Policy(rootfs=("/secret",), capabilities=("SYS_ADMIN",), pids_max=7, volume_writable=("/secret",))
    policy = replace(policy, kernel_modules=("secret",))
    workload = replace(mounted("/srv"), security=Security(capabilities=("CHOWN",)))
    workload = replace(workload, mode=Mode.HYBRID_NATIVE, kernel=Kernel(modules=("dummy",)))
    told = findings(workload, replace(policy, quotable=False))
    assert [finding.hint for finding in told] == [ASK] * 5
    assert not any(word in finding.message for finding in told for word in ("secret", "SYS_ADMIN", "7"))
    assert any("secret" in finding.hint for finding in findings(workload, policy))


def test_new_limits_of_a_running_workload_are_bounded_and_the_others_left():
    policy = Policy(memory_limit=Size(GIGA), pids_max=10)
    assert [one.key for one in check_resources(Resources(pids_max=11), GIGA, policy, ["pids_max"])] == [
        "resources.pids_max"
    ]
    assert [one.key for one in check_resources(Resources(), GIGA, policy, ["memory_limit", "io_weight"])] == [
        "resources.memory_limit"
    ]
    assert [*check_resources(Resources(pids_max=9), GIGA, policy, ["pids_max", "cpu_weight"])] == []


# ── a wider policy


PLACES = st.sampled_from([*FOUND.paths, "/srv/elsewhere"])
CAPS = st.sampled_from(["CHOWN", "KILL", "SYS_ADMIN"])
PROFILES = st.sampled_from(["strict", "default", "permissive", "unconfined"]) | PLACES
ROOTS = st.just("host") | PLACES
REGISTRIES = st.sampled_from(["registry.example", "registry.example/team", "localhost:5000"])
NAMES = ("lan", "vault")
MODULES = st.sampled_from(["dummy", "loop"])
SIZES = st.integers(1, 5).map(Size)
ELEMENTS = {
    "env_file": PLACES,
    "kernel_modules": MODULES,
    "capabilities": CAPS | st.sampled_from(ELEVEN),
    "seccomp_profile": PROFILES,
    "landlock_profile": PROFILES,
    "network_mode": st.sampled_from(NetworkMode),
    "network_name": st.sampled_from(NAMES),
    "rootfs": ROOTS,
    "image_registries": REGISTRIES,
    "volume_host": PLACES,
    "volume_writable": PLACES,
    "volume_owner": st.just("root"),
    "allow_unenforced": st.just("resources"),
}
POLICIES = st.builds(
    Policy,
    **{name: st.none() | st.lists(each, max_size=4).map(tuple) for name, each in ELEMENTS.items()},
    memory_limit=st.none() | SIZES,
    pids_max=st.none() | st.integers(1, 5),
)
WORKLOADS = st.builds(
    Workload,
    name=st.just("web"),
    mode=st.sampled_from([GOOD.mode, Mode.HYBRID_NATIVE]),
    kernel=st.builds(Kernel, modules=st.lists(MODULES, max_size=2).map(tuple)),
    image=st.none() | REGISTRIES.map(lambda one: pulled(f"{one}/a").image),
    env_file=st.none() | PLACES,
    security=st.builds(
        Security,
        landlock_profile=st.none() | PROFILES,
        seccomp_profile=st.none() | PROFILES,
        capabilities=st.none() | st.lists(CAPS, max_size=2).map(tuple),
    ),
    resources=st.builds(Resources, memory_limit=st.none() | SIZES, pids_max=st.none() | st.integers(1, 5)),
    network=st.builds(Network, st.none() | st.sampled_from(NetworkMode), st.none() | st.sampled_from(NAMES)),
    storage=st.builds(
        Storage,
        rootfs=ROOTS,
        volumes=st.lists(
            st.builds(Volume, PLACES, st.just("/data"), readonly=st.booleans(), owner_root=st.booleans()), max_size=2
        ).map(tuple),
    ),
)


def wider(draw, policy):
    """The policy with more allowed by each key, or with keys less."""
    changed = {}
    for name in (one.name for one in fields(Policy) if one.name not in ("quotable", "image_signers")):
        value = getattr(policy, name)
        if name == "kernel_modules":  # None allows the least
            changed[name] = (*(value or ()), *draw(st.lists(MODULES, max_size=2)))
        elif value is None or draw(st.booleans()):
            changed[name] = None
        elif name in ELEMENTS:
            changed[name] = (*value, *draw(st.lists(ELEMENTS[name], max_size=2)))
        elif name == "pids_max":
            changed[name] = value + draw(st.integers(0, 3))
        else:
            changed[name] = Size(value.bytes + draw(st.integers(0, 3)))
    return replace(policy, **changed)


@given(WORKLOADS, POLICIES, st.data())
def test_whatever_a_policy_lets_pass_every_wider_one_does(workload, policy, data):
    refused = beyond(workload, policy, WAIVED)
    assert set(beyond(workload, wider(data.draw, policy), WAIVED)) <= set(refused)


@given(WORKLOADS, POLICIES, st.sampled_from(["readonly", "owner_root"]))
def test_asking_for_less_is_never_refused_for_it(workload, policy, name):
    assume(workload.storage.volumes)
    less = tuple(replace(one, **{name: name == "readonly"}) for one in workload.storage.volumes)
    asked = replace(workload, storage=replace(workload.storage, volumes=less))
    assert set(beyond(asked, policy)) <= set(beyond(workload, policy))


def test_images_are_allowed_by_one_word():
    policy = Policy(rootfs=("image", "/srv/data"))
    for workload in (rooted("cas://sha256:0"), replace(rooted(None), image="debian"), rooted("/srv/data")):
        assert beyond(workload, policy) == []
    for root in ("/srv", "host"):
        assert beyond(rooted(root), policy) == [("storage.rootfs", "storage.rootfs")]
