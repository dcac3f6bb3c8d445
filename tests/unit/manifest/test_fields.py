"""The form of each field: what is accepted, what it becomes, and the code of what is refused."""

import pytest

from tests.unit.manifest.world import COMPLETE, complaints, resolved, workload
from volt.manifest.fields import SECTIONS, VOLUME
from volt.model.modes import Mode, NetworkMode, WritableLayerMode
from volt.model.sizes import Duration, Size
from volt.model.steps import NO_LIMIT
from volt.model.workload import Port, Ready, Tmpfs, User


def value(key, written, **world):
    """What the field becomes."""
    section, name = key.split(".")
    made = workload(whole(key, written), **world)
    return getattr(made if section == "workload" else getattr(made, section), name)


def whole(key, written):
    section, name = key.split(".")
    if key in ("workload.name", "workload.mode"):
        other = 'mode = "container"' if name == "name" else 'name = "web"'
        return f"[workload]\n{other}\n{name} = {written}"
    return COMPLETE + (f"{name} = {written}" if section == "workload" else f"[{section}]\n{name} = {written}")


STORED = f"cas://sha256:{'1' * 64}"
GOOD = [
    ("workload.name", '"a"', "a"),
    ("workload.name", f'"{"a" * 63}"', "a" * 63),
    ("workload.name", '"0-9"', "0-9"),
    ("workload.mode", '"hybrid-kvm"', Mode.HYBRID_KVM),
    ("workload.image", '"debian"', "debian"),
    ("workload.image", '"localhost:5000/a/b-c:1.0"', "localhost:5000/a/b-c:1.0"),
    ("workload.image", f'"a@sha256:{"0" * 64}"', f"a@sha256:{'0' * 64}"),
    ("workload.command", '["a", ""]', ("a", "")),
    ("workload.env", "{ A_1 = '' }", {"A_1": ""}),
    ("workload.user", '"web"', User("web")),
    ("workload.user", '"1000:100"', User(1000, 100)),
    ("workload.user", '"web:data"', User("web", "data")),
    ("workload.user", '"65535"', User(65535)),
    ("workload.workdir", '"/a//b/"', "/a/b"),
    ("workload.hostname", '"A.example"', "A.example"),
    ("workload.platform", '"linux/arm/v7"', "linux/arm/v7"),
    ("workload.boot", "false", False),
    ("workload.labels", "{ 'a.b/c d' = 'x' }", {"a.b/c d": "x"}),
    ("kernel.version", '">=6.1"', ">=6.1"),
    ("kernel.version", '"6.12.48+deb13-amd64"', "6.12.48+deb13-amd64"),
    ("kernel.modules", '["fuse", "snd-hda-intel", "8021q", "X_y"]', ("fuse", "snd_hda_intel", "8021q", "X_y")),
    ("security.landlock_profile", '"strict"', "strict"),
    ("security.seccomp_profile", '"/a.json"', "/a.json"),
    *((f"security.{kind}_profile", f'"{STORED}"', STORED) for kind in ("landlock", "seccomp")),
    ("security.capabilities", '["CAP_NET_ADMIN", "net_admin", "Kill"]', ("NET_ADMIN", "NET_ADMIN", "KILL")),
    ("security.read_only_rootfs", "true", True),
    ("resources.memory_limit", '"1.5GiB"', Size(3 * 2**29)),
    ("resources.memory_limit", '"512m"', Size(2**29)),
    ("resources.memory_limit", '" 2 kb "', Size(2048)),
    ("resources.memory_limit", '"25%"', Size(None, 25.0)),
    ("resources.memory_limit", '"8E"', Size(2**63)),
    ("resources.cpu_weight", "10000", 10000),
    ("resources.cpu_set", '"0-2, 5,1"', (0, 1, 2, 5)),
    ("resources.pids_max", "1", 1),
    ("network.mode", '"none"', NetworkMode.NONE),
    ("network.address", '"10.0.0.7/24"', "10.0.0.7/24"),
    ("network.address", '"FD00::07"', "fd00::7"),
    ("network.dns", '["1.1.1.1", "::1"]', ("1.1.1.1", "::1")),
    ("network.ports", '["80"]', (Port(80),)),
    ("network.ports", '["8080:80/udp"]', (Port(80, 8080, protocol="udp"),)),
    ("network.ports", '["127.0.0.1:8080:80"]', (Port(80, 8080, "127.0.0.1"),)),
    ("network.ports", '["[::1]:8080:80"]', (Port(80, 8080, "::1"),)),
    ("network.ports", '["[::1]:80", "127.0.0.1::81"]', (Port(80, None, "::1"), Port(81, None, "127.0.0.1"))),
    ("network.ports", '["9000-9001:90-91"]', (Port(90, 9000), Port(91, 9001))),
    ("network.ports", '["90-91"]', (Port(90), Port(91))),
    ("storage.rootfs", '"cas://sha256:0"', "cas://sha256:0"),
    ("storage.writable_layer", '"tmpfs"', WritableLayerMode.TMPFS),
    ("storage.tmpfs", '["/a:size=64M,mode=0700", "/b"]', (Tmpfs("/a", Size(2**26), 0o700), Tmpfs("/b"))),
    ("storage.shm_size", '"1G"', Size(2**30)),
    ("log.max_files", "3", 3),
    ("service.restart", '"on-failure"', "on-failure"),
    ("service.restart_sec", '"1h30m"', Duration(5_400_000)),
    ("service.ready", '"notify"', Ready("notify")),
    ("service.ready", '"tcp:8080"', Ready("tcp", 8080)),
    ("service.ready", '"http:80/up?a=%20"', Ready("http", 80, "/up?a=%20")),
    ("service.ready", '"file:/run//./app.ready"', Ready("file", text="/run/app.ready")),
    ("service.ready", '"log: ready: to serve "', Ready("log", text=" ready: to serve ")),
    ("service.ready_timeout", '"500ms"', Duration(500)),
    ("service.stop_signal", '"sigterm"', "TERM"),
    ("service.after", '["db"]', ("db",)),
    ("health.on_failure", '"restart"', "restart"),
]

BAD = {
    "workload.name": ("bad-name", ['"Web"', '"-a"', '"a-"', '"a.b"', f'"{"a" * 64}"', '"é"', '"a\\n"']),
    "workload.mode": ("bad-mode", ['"Container"', '"vm"']),
    "workload.image": ("bad-image", ['"A"', '"a:"', '"a@sha256:00"', '"a b"', '"a@md5:0"']),
    "workload.env": ("bad-variable-name", ['{ "" = "" }', '{ "A B" = "" }', '{ "1" = "" }', '{ "A=B" = "" }']),
    "workload.user": ("bad-user", ['"65536"', '"a b"', '":1"', '"1:"', '"1:2:3"', '"-1"', f'"{"9" * 5000}"']),
    "workload.workdir": ("bad-workdir", ['"srv"', '"./srv"']),
    "workload.hostname": ("bad-hostname", ['"a_b"', '"a..b"', f'"{"a" * 64}.b"', '"-"']),
    "workload.platform": ("bad-platform", ['"Linux/ARM"', '"windows/amd64"']),
    "workload.labels": ("bad-label", ['{ "" = "" }', '{ "a\\nb" = "" }', f'{{ {"a" * 257} = "" }}']),
    "workload.description": ("bad-text", ['"\\u0000"']),
    "workload.command": ("bad-text", ['["\\u0000"]']),
    "workload.env_file": ("bad-text", ['"\\u0000"']),
    "kernel.version": ("bad-kernel", ['"newest"', '"6.x"', '">="']),
    "security.landlock_profile": ("bad-landlock-profile", ['"strickt"', '"policy.toml"']),
    "security.seccomp_profile": ("bad-seccomp-profile", ['"permissive"', '"custom"']),
    "security.capabilities": ("bad-capability", ['["ROOT"]', '["CAP_"]', '["CAP_CAP_KILL"]', '["CAP_KILL "]']),
    "resources.memory_limit": (
        "bad-size",
        ['"4X"', '"-1"', '"1,5G"', '"0%"', '"101%"', '"9E"', '"G"', '"1 0"', f'"{"9" * 9999}"', '"٣"', '"1e3"'],
    ),
    "resources.cpu_weight": ("out-of-range", ["10001", "-1", "0x" + "f" * 900]),
    "resources.cpu_set": ("bad-cpu-set", ['"a"', '"3-1"', '"0-"', '","', '"8192"', f'"{"9" * 5000}"', '"-1"']),
    "resources.pids_max": ("out-of-range", ["-1", "4194305"]),
    "network.mode": ("bad-network-mode", ['"brige"']),
    "network.address": ("bad-address", ['"10.0.0"', '"10.0.0.1/33"', '"example.org"', '"fe80::1%eth0/64/1"']),
    "network.dns": ("bad-address", ['["10.0.0.1/8"]', '["dns"]']),
    "network.ports": (
        "bad-port",
        [
            '["0"]',
            '["65536"]',
            '["80:"]',
            '["::1:80:80"]',
            '["[127.0.0.1]:80:80"]',
            '["80/icmp"]',
            '["1-3:1-2"]',
            '["3-1"]',
            '["-"]',
            '["a:80"]',
            '["[::1"]',
            '["127.0.0.1:80"]',
            f'["{"9" * 5000}"]',
            '["٣"]',
        ],
    ),
    "storage.rootfs": ("bad-rootfs", ['"cas://"']),
    "storage.writable_layer": ("bad-writable-layer", ['"disk"']),
    "storage.tmpfs": (
        "bad-tmpfs",
        ['["cache"]', '["/a:size=x"]', '["/a:mode=9"]', '["/a:odd=1"]', '["/proc"]', '["/"]'],
    ),
    "log.rate": ("bad-size", ['"fast"']),
    "log.max_files": ("out-of-range", ["-1"]),
    "service.restart": ("bad-restart", ['"sometimes"']),
    "service.restart_sec": ("bad-duration", ['"1"', '"1d"', '"1m1h"', '"-1s"', '"1.5s"', f'"{"9" * 30}h"']),
    "service.ready": (
        "bad-ready",
        [
            *('"8080"', '"tcp"', '"tcp:0"', '"tcp:65536"', '"tcp:80/"', '"tcp:-1"', '"tcp: 80"', '"tcp:٣"', '"TCP:80"'),
            *(
                '"http:80"',
                '"http:/up"',
                '"http://localhost:80/up"',
                '"http:80/a b"',
                '"http:80/\\u000d\\n"',
                '"http:80/ü"',
            ),
            *('"file:"', '"file:run"', '"file:/"', '"file:/a/../b"', f'"file:/{"x" * 1024}"'),
            *(
                '"log:"',
                '"log:a\\nb"',
                '"log:\\u001b[m"',
                f'"log:{"ü" * 128}"',
                '"notify:"',
                '"notify:x"',
                '"soon"',
                '":"',
            ),
        ],
    ),
    "service.stop_signal": ("bad-signal", ['"STOPP"', '"15"']),
    "service.requires": ("bad-name", ['["DB"]']),
    "health.interval": ("bad-duration", ['"soon"']),
    "health.retries": ("out-of-range", ["-1"]),
    "health.on_failure": ("bad-on-failure", ['"pray"']),
}


@pytest.mark.parametrize(("key", "written", "meaning"), GOOD)
def test_a_good_value_is_parsed_once(key, written, meaning):
    assert value(key, written) == meaning


@pytest.mark.parametrize(
    ("key", "written", "code"), [(key, written, code) for key, (code, all_) in BAD.items() for written in all_]
)
def test_a_bad_value_is_one_finding_with_its_code_and_key(key, written, code):
    ((found, where),) = complaints(whole(key, written))
    assert (found, where.startswith(key)) == (code, True)
    (finding,) = resolved(whole(key, written)).findings
    assert len(finding.message) < 200
    assert finding.message.isprintable()


FIELDS = [f"{section}.{name}" for section, table in SECTIONS.items() for name in table]


@pytest.mark.parametrize("key", FIELDS)
@pytest.mark.parametrize("written", ["1.5", "1979-05-27", "[[]]", "{ a = [] }"])
def test_a_value_of_another_type_is_one_finding(key, written):
    ((code, where),) = complaints(whole(key, written))
    assert (code, where.startswith(key)) == ("wrong-type", True)


def test_true_is_no_number():
    assert complaints(whole("resources.pids_max", "true")) == [("wrong-type", "resources.pids_max")]


@pytest.mark.parametrize("section", [*SECTIONS, "limits"])
def test_a_section_is_a_table(section):
    text = f"{section} = 3\n" + ("" if section == "workload" else COMPLETE)
    assert [(finding.code, finding.key) for finding in resolved(text).findings] == [("wrong-type", section)]


@pytest.mark.parametrize("key", ["landlock_profile", "landlock_policy", "seccomp_profile"])
@pytest.mark.parametrize("written", ["cas://", "cas://sha256:12", f"{STORED}0", f"cas://{'1' * 64}", f"{STORED[:-1]}A"])
def test_what_is_no_digest_of_the_store_names_no_profile(key, written):
    assert complaints(whole(f"security.{key}", f'"{written}"')) == [("bad-digest", f"security.{key}")]


def test_every_bad_element_of_a_list_is_reported():
    assert complaints('[network]\nports = ["a", "80", "b"]') == [
        ("bad-port", "network.ports[0]"),
        ("bad-port", "network.ports[2]"),
    ]


@pytest.mark.parametrize(
    ("written", "meaning"),
    [
        ("nofile = 10", (10, 10)),
        ('nofile = "10:20"', (10, 20)),
        ('memlock = "64M:infinity"', (2**26, NO_LIMIT)),
        ('stack = "unlimited"', (NO_LIMIT, NO_LIMIT)),
    ],
)
def test_a_limit_is_soft_and_hard(written, meaning):
    assert list(workload(COMPLETE + f"[limits]\n{written}").limits.values()) == [meaning]


@pytest.mark.parametrize(
    "written",
    ['nofile = "20:10"', "nofiles = 1", "nofile = -2", 'nofile = "10%"', 'nofile = ":"', "nofile = 0x" + "f" * 900],
)
def test_a_bad_limit_is_a_finding(written):
    ((code, key),) = complaints(f"[limits]\n{written}")
    assert (code, key.startswith("limits.nofile")) == ("bad-limit", True)


@pytest.mark.parametrize(
    "key", ["network.ports", "network.dns", "storage.tmpfs", "security.capabilities", "service.after"]
)
def test_an_element_of_a_list_is_never_empty(key):
    assert complaints(whole(key, '[""]')) == [("empty-element", f"{key}[0]")]


def volume(written):
    return complaints("[storage]\nvolumes = [" + written + "]", existing={"/srv"})


GOOD_VOLUME = 'host = "/srv", container = "/data"'


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ('readonly = "yes"', ("wrong-type", "readonly")),
        ('as = "a b"', ("bad-user", "as")),
        ('ids = "all"', ("bad-ids", "ids")),
        ('owner = "me"', ("bad-owner", "owner")),
        ('as_user = "web"', ("unknown-key", "as_user")),
    ],
)
def test_each_key_of_a_volume_has_its_form(more, finding):
    assert volume(f"{{ {GOOD_VOLUME}, {more} }}") == [(finding[0], f"storage.volumes[0].{finding[1]}")]
    assert set(VOLUME) == {"host", "container", "readonly", "as", "ids", "owner"}


@pytest.mark.parametrize(
    "inside", ["/", "//", "/.", "/proc", "/proc/1", "/sys/x", "/dev", "/dev/pts", "/a/../b", "data"]
)
def test_some_places_are_no_mount_points(inside):
    assert volume(f'{{ host = "/srv", container = "{inside}" }}') == [
        ("bad-mount-point", "storage.volumes[0].container")
    ]


@pytest.mark.parametrize("inside", ["/dev/shm", "/dev/shm/x", "/process", "/data/proc"])
def test_others_are(inside):
    assert volume(f'{{ host = "/srv", container = "{inside}" }}') == []


@pytest.mark.parametrize("written", ['"/srv:/data"', "3", "[]"])
def test_a_volume_is_a_table(written):
    assert volume(written) == [("wrong-type", "storage.volumes[0]")]


def test_a_volume_has_two_ends():
    assert volume('{ host = "" }') == [
        ("missing-key", "storage.volumes[0].host"),
        ("missing-key", "storage.volumes[0].container"),
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[nettwork]", "did you mean 'network'?"),
        ("[network]\nprots = []", "did you mean 'ports'?"),
        ("[network]\nxyz = 1", "known here: mode, name, address, dns, ports"),
        ('[network]\nmode = "hots"', 'write "host"'),
        ('[security]\nseccomp_profile = "defualt"', 'write "default"'),
    ],
)
def test_a_slip_is_answered_with_the_nearest_name(text, hint):
    (finding,) = resolved(COMPLETE + text).findings
    assert finding.hint == hint
