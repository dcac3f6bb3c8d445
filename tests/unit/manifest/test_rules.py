"""Rules between fields, and what a mode ignores."""

import pytest

from tests.unit.manifest.world import COMPLETE, complaints, found, resolved, workload

NONE = '[network]\nmode = "none"\n'
HOST = '[network]\nmode = "host"\n'
CUSTOM = '[network]\nmode = "custom"\n'


def in_mode(mode, text):
    return complaints(f'[workload]\nname = "web"\nmode = "{mode}"\n{text}')


@pytest.mark.parametrize("name", ["name", "mode"])
@pytest.mark.parametrize("written", ["", '{} = ""'])
def test_a_name_and_a_mode_are_required(name, written):
    other = 'mode = "container"' if name == "name" else 'name = "web"'
    text = f"[workload]\n{other}\n{written.format(name)}"
    assert complaints(text) == [("missing-key", f"workload.{name}")]


def test_image_and_rootfs_may_both_be_there_or_neither():
    """Which of them is the root is for the plan to say."""
    assert complaints("") == []
    assert complaints('[workload]\nname = "web"\nmode = "container"\nimage = "a"\n[storage]\nrootfs = "host"') == []


@pytest.mark.parametrize("field", ['version = "6.1"', 'path = "/k"', 'modules = ["a"]', 'cmdline = "quiet"'])
def test_a_container_ignores_the_kernel_and_says_so(field):
    result = resolved(COMPLETE + f"[kernel]\n{field}")
    (note,) = result.findings
    assert (note.code, note.severity) == ("ignored", "note")
    assert result.workload is not None
    assert in_mode("hybrid-kvm", f"[kernel]\n{field}") == []


def test_emulation_has_a_version_and_no_kernel():
    text = '[kernel]\nversion = "6.1"\npath = "/k"\nmodules = ["a"]\ncmdline = "quiet"'
    assert in_mode("hybrid-emulated", text) == [
        ("wrong-mode", "kernel.path"),
        ("wrong-mode", "kernel.modules"),
        ("wrong-mode", "kernel.cmdline"),
    ]


@pytest.mark.parametrize("mode", ["container", "hybrid-kvm", "hybrid-emulated"])
def test_new_privileges_are_for_hybrid_native_alone(mode):
    text = "[security]\nno_new_privs = {}"
    assert in_mode(mode, text.format("false")) == [("wrong-mode", "security.no_new_privs")]
    assert in_mode(mode, text.format("true")) == []
    assert in_mode("hybrid-native", text.format("false")) == []


def test_a_policy_goes_with_the_custom_profile():
    policy = '[security]\nlandlock_policy = "/p.toml"\n'
    assert complaints(policy) == [("unused-policy", "security.landlock_policy")]
    assert complaints(policy + 'landlock_profile = "strict"') == [("unused-policy", "security.landlock_policy")]
    assert complaints(policy + 'landlock_profile = "custom"') == []
    assert complaints('[security]\nlandlock_profile = "custom"') == []


@pytest.mark.parametrize(
    ("soft", "limit", "wrong"),
    [("1G", "1G", True), ("2G", "1G", True), ("1G", "2G", False), ("60%", "50%", True), ("60%", "1G", False)],
)
def test_the_soft_limit_is_below_the_hard_one(soft, limit, wrong):
    text = f'[resources]\nmemory_soft = "{soft}"\nmemory_limit = "{limit}"'
    assert complaints(text) == ([("soft-above-limit", "resources.memory_soft")] if wrong else [])


@pytest.mark.parametrize("mode", [NONE, HOST])
def test_an_address_needs_a_network_of_its_own(mode):
    assert complaints(mode + 'address = "10.0.0.1"') == [("wrong-network-mode", "network.address")]
    assert complaints(CUSTOM + 'address = "10.0.0.1"') == []


def test_resolvers_need_a_network():
    assert complaints(NONE + 'dns = ["1.1.1.1"]') == [("wrong-network-mode", "network.dns")]
    assert complaints(HOST + 'dns = ["1.1.1.1"]') == []


@pytest.mark.parametrize("mode", [NONE, HOST, "[network]\n"])
def test_only_custom_has_a_named_network(mode):
    assert complaints(mode + 'name = "back"') == [("wrong-network-mode", "network.name")]
    assert complaints(CUSTOM + 'name = "back"') == []


def test_without_a_network_nothing_is_published():
    assert complaints(NONE + 'ports = ["80"]') == [("wrong-network-mode", "network.ports")]


def test_under_host_a_port_only_declares():
    assert complaints(HOST + 'ports = ["8080"]') == []
    assert complaints(HOST + 'ports = ["9000", "8080:8080"]') == [("published-under-host", "network.ports[1]")]
    assert complaints(HOST + 'ports = ["127.0.0.1::8080"]') == [("published-under-host", "network.ports[0]")]
    assert complaints(HOST + 'ports = ["1023"]') == [("privileged-port", "network.ports[0]")]


@pytest.mark.parametrize(
    ("ports", "twice"),
    [
        ('"8080:80", "8080:81"', True),
        ('"8080-8090:80-90", "8085:81"', True),
        ('"8080:80", "8080:80/udp"', False),
        ('"127.0.0.1:8080:80", "127.0.0.2:8080:80"', False),
        ('"127.0.0.1:8080:80", "8080:80"', True),
        ('"0.0.0.0:8080:80", "127.0.0.1:8080:80"', True),
        ('"[::]:8080:80", "127.0.0.1:8080:80"', False),
        ('"[::]:8080-8081:80-81", "[::1]:8081:80"', True),
        ('"80", "80"', False),
    ],
)
def test_a_host_port_is_published_once(ports, twice):
    assert complaints(f"[network]\nports = [{ports}]") == ([("port-twice", "network.ports[1]")] if twice else [])


def test_one_place_has_one_mount():
    text = '[storage]\ntmpfs = ["/a", "/b/", "/b"]\n[[storage.volumes]]\nhost = "/srv"\ncontainer = "/a"'
    assert complaints(text, existing={"/srv"}) == [
        ("mounted-twice", "storage.tmpfs[2]"),
        ("mounted-twice", "storage.volumes[0].container"),
    ]


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ('[network]\nmode = "custm"\nname = "back"', "network.mode"),
        ('[security]\nlandlock_profile = "custm"\nlandlock_policy = "/p"', "security.landlock_profile"),
        ('[workload]\nname = "web"\nmode = "kvm"\n[security]\nno_new_privs = false', "workload.mode"),
    ],
)
def test_a_value_that_is_wrong_makes_no_second_finding(text, only):
    assert [key for _, key in complaints(text)] == [only]


def test_rules_hold_across_the_files_of_a_chain():
    result = resolved('[network]\ndns = ["1.1.1.1"]', "\n" + COMPLETE + NONE)
    assert found(result) == [("wrong-network-mode", "a.toml:3:7")]


def test_what_is_absent_has_its_default():
    made = workload(COMPLETE)
    assert (made.host_name, made.writable, made.kept, made.security.capabilities) == ("web", True, True, None)
