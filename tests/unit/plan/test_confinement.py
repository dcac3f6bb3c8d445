"""The payload's confinement: the order that security.md gives, and what is masked."""

from dataclasses import replace

from tests.unit.plan.test_check import FACTS, GOOD
from volt.model.steps import (
    NO_LIMIT,
    BoundCapabilities,
    ChangeFolder,
    FilterCalls,
    Mask,
    NoNewPrivileges,
    ProtectPath,
    SetCapabilities,
    SetIdentity,
    SetLimit,
)
from volt.model.text import show
from volt.plan.confinement import MASKED, PROTECTED, inside_part, limits, payload_part, raised_limits
from volt.plan.users import Identity

ROOT = Identity(0, 0, (0,), "root", "/root")
LIMITED = replace(GOOD, limits={"nofile": (10, 5000), "core": (0, 0), "memlock": (1, NO_LIMIT)})


def test_from_fork_to_exec_in_this_order():
    steps = payload_part(LIMITED, ROOT, b"filter").payload
    assert [type(step) for step in steps] == [
        *(SetLimit,) * 3,
        BoundCapabilities,
        SetIdentity,
        SetCapabilities,
        NoNewPrivileges,
        ChangeFolder,
        FilterCalls,
    ]


def test_a_payload_is_who_it_is_where_it_is_told():
    who = Identity(1000, 1001, (44, 1001), "web", "/srv/web")
    steps = payload_part(replace(GOOD, workdir="/srv/web"), who, b"filter").payload
    (identity,) = [step for step in steps if isinstance(step, SetIdentity)]
    assert (identity.uid, identity.gid, [show(group) for group in identity.groups]) == (1000, 1001, ["44", "1001"])
    assert [show(step.path) for step in steps if isinstance(step, ChangeFolder)] == ["/srv/web"]
    assert [show(step.path) for step in payload_part(GOOD, who, b"").payload if isinstance(step, ChangeFolder)] == ["/"]


def test_limits_are_exact_in_the_payload():
    assert [(step.resource, step.soft, step.hard) for step in limits(LIMITED, *LIMITED.limits)] == [
        ("core", 0, 0),
        ("memlock", 1, NO_LIMIT),
        ("nofile", 10, 5000),
    ]


def test_only_what_is_above_our_own_is_raised_before_and_the_soft_limit_stays():
    facts = replace(FACTS, limits={"nofile": (1024, 4096), "core": (0, NO_LIMIT), "memlock": (8, 8)})
    assert [(step.resource, step.soft, step.hard) for step in raised_limits(LIMITED, facts)] == [
        ("memlock", 8, NO_LIMIT),
        ("nofile", 1024, 5000),
    ]


def test_what_the_kernel_shows_of_others_is_masked_before_anything_runs():
    steps = inside_part(FACTS).init
    assert [show(step.path) for step in steps if isinstance(step, Mask)] == list(MASKED)
    assert [show(step.path) for step in steps if isinstance(step, ProtectPath)] == list(PROTECTED)
    assert {"/proc/keys", "/proc/kcore", "/proc/kallsyms", "/proc/sysrq-trigger"} <= set(MASKED)
    assert not set(MASKED) & set(PROTECTED)


# What Docker 28 and podman 5 mask, and what they make read-only: daemon/pkg/oci/defaults.go and
# pkg/specgen/generate/config_linux.go.
PEERS_MASK = """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi
    /proc/timer_list /proc/timer_stats /sys/dev/block /sys/devices/virtual/powercap /sys/firmware /sys/fs/selinux
""".split()
PEERS_PROTECT = "/proc/asound /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()


def test_what_docker_and_podman_cover_is_covered():
    assert sorted({*PEERS_MASK} - {*MASKED}) == []
    assert sorted({*PEERS_PROTECT} - {*MASKED, *PROTECTED}) == []


def test_each_processors_count_of_its_heat_is_masked():
    folders = tuple(f"/sys/devices/system/cpu/cpu{n}/thermal_throttle" for n in (0, 1))
    masked = [show(step.path) for step in inside_part(replace(FACTS, heat=folders)).init if isinstance(step, Mask)]
    assert masked == [*MASKED, *folders]
