"""volt audit: a workload is what its plan says; and where one of its walls is missing, audit says which.

A wall is taken away by launching another plan than the one that the run is compared with: the product has no switch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import OLDER
from tests.host.conftest import CGROUPS
from volt import api
from volt.api.auditing import compared
from volt.api.looking import running
from volt.api.planning import planned
from volt.errors import StateError
from volt.host.facts import folders
from volt.host.syscalls import landlock_abi
from volt.launch import handover
from volt.model.steps import (
    AttachInside,
    BoundCapabilities,
    Execute,
    FilterCalls,
    FilterInit,
    KeepCapabilities,
    MakeCgroup,
    MakeRuleset,
    Mask,
    NoNewPrivileges,
    Open,
    OpenTerminal,
    ProtectInit,
    ProtectPath,
    RestrictSelf,
    SealFile,
    SetCapabilities,
    SetControl,
    SetIdentity,
    SetLimit,
    SetMount,
)
from volt.model.text import text
from volt.model.values import replace
from volt.runs.processes import tree_of

# Those of what a kernel or systemd-nspawn decides; the others hold on each as on this one.
kernel = pytest.mark.kernel

SECONDS = 20


# ── plans, altered


def without(section, kind, **fields):
    """The plan less the steps of a kind, or less those that have these fields."""

    def alter(plan):
        steps = getattr(plan, section)
        kept = tuple(
            step
            for step in steps
            if not (isinstance(step, kind) and all(getattr(step, name) == value for name, value in fields.items()))
        )
        assert len(kept) < len(steps)
        return replace(plan, **{section: kept})

    return alter


def with_(section, kind, **fields):
    """The plan with other fields in each step of a kind."""

    def alter(plan):
        steps = getattr(plan, section)
        assert any(isinstance(step, kind) for step in steps)
        changed = (replace(step, **fields) if isinstance(step, kind) else step for step in steps)
        return replace(plan, **{section: tuple(changed)})

    return alter


def nspawn(word=None, *, drop=None):
    """systemd-nspawn with one word more in its environment, or one option less."""

    def alter(plan):
        last = plan.guard[-1]
        argv = tuple(each for each in last.argv if not (drop and str(each[0]).startswith(drop)))
        assert word or len(argv) < len(last.argv)
        env = (*last.env, text(word)) if word else last.env
        return replace(plan, guard=(*plan.guard[:-1], replace(last, argv=argv, env=env)))

    return alter


def less_volume_safety(plan):
    """The volume without nosuid."""
    host = (
        replace(step, attrs=("nodev",)) if isinstance(step, SetMount) and step.mount.startswith("volume") else step
        for step in plan.host
    )
    return replace(plan, host=tuple(host))


def leak(plan, *, to_payload):
    """/etc of the host is handed on: to the payload, or to the init alone, whose program knows nothing of it."""
    last = plan.guard[-1]
    env = tuple(text(str(each[0]).replace(*counted(last))) for each in last.env)
    guard = (*plan.guard[:-1], replace(last, env=env, descriptors=(*last.descriptors, "leak")))
    plan = replace(plan, host=(*plan.host[:-1], Open(path=text("/etc"), to="leak"), plan.host[-1]), guard=guard)
    if not to_payload:
        return plan
    plan = replace(plan, inherited=(*plan.inherited, "leak"))
    return with_("payload", Execute, descriptors=("leak",))(plan)


def counted(last):
    count = len(last.descriptors)
    return f"LISTEN_FDS={count}", f"LISTEN_FDS={count + 1}"


def more(step):
    """The plan with one step more of the init: what is planned, and was not done."""
    return lambda plan: replace(plan, init=(step, *plan.init))


def control(plan):
    """A limit that every cgroup has, without any controller."""
    made = next(step for step in plan.host if isinstance(step, MakeCgroup))
    step = SetControl(path=(*made.path, "/cgroup.max.descendants"), value=text("5"))
    return replace(plan, host=(*plan.host[:-1], step, plan.host[-1]))


def filter_of(plan):
    return next(step.filter for step in plan.payload if isinstance(step, FilterCalls))


def as_it_is(plan):
    return plan


# ── running


class Planned:
    """A sleeping workload with a volume, limits and a user of its own, and what it is compared with."""

    def __init__(self, volt, busybox, folder, call=api.Call(), **sections):  # noqa: B008 a value, never changed
        share = folder / "share"
        share.mkdir(exist_ok=True)
        os.chown(share, 1000, 1000)
        storage = {
            "rootfs": str(busybox),
            "writable_layer": "tmpfs",
            "volumes": [{"host": str(share), "container": "/data"}],
            **sections.pop("storage", {}),
        }
        given = {"workload": {}, "limits": {"nofile": "64:128"}, **sections, "storage": storage}
        given["workload"] = {"command": ["sleep", "60"], **given["workload"]}
        self.manifest = volt.manifest(**given)
        self.plan, self.facts = planned(self.manifest, None, None, call)

    @contextmanager
    def running(self, launched):
        null = (api.DEVNULL, api.DEVNULL, subprocess.PIPE)
        process = handover.spawn(self.facts.program, launched, null, ())
        try:
            yield started(process, self.plan.name)
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)

    def missing(self, launch=as_it_is, compare=as_it_is, meanwhile=None):
        """The names of the points that do not hold, of a run of one plan compared with another."""
        with self.running(launch(self.plan)) as record:
            if meanwhile:
                meanwhile(record)
            found = compared(record, compare(self.plan))
        return {point.name for point in found.points if not point.holds}


def started(process, name):
    """The run's record, once its command runs."""
    deadline = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, process.stderr.read().decode()
        try:
            record = running(folders(), name)
            payload = tree_of(record).inside[0]
            if Path(f"/proc/{payload}/comm").read_text().strip() == "sleep":
                return record
        except (StateError, OSError):
            assert time.monotonic() < deadline
        time.sleep(0.02)


def namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def numbers_of_processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())


def settles(holds):
    """Until the init has reaped what has ended."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def scratch():
    """Where set-uid programs count: Debian 13 mounts /tmp nosuid, and a volume from there is so whatever is planned."""
    with tempfile.TemporaryDirectory(prefix="volt-audit-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def one(volt, busybox, scratch, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    return lambda **sections: Planned(volt, busybox, scratch, **sections)


SECTIONS = {
    "default": {},
    "user": {"workload": {"user": "user"}},
    "no capabilities": {"security": {"capabilities": []}},
    "strict": {"security": {"landlock_profile": "strict", "seccomp_profile": "strict"}},
    "host network": {"network": {"mode": "host"}},
}


@kernel
@pytest.mark.parametrize("kind", SECTIONS)
def test_what_was_launched_is_what_its_plan_says(one, kind):
    assert one(**SECTIONS[kind]).missing() == set()


NO_CAPABILITIES = {"security": {"capabilities": []}}

# What is launched, and the points that then do not hold.
LAUNCHED = {
    "bounding set": (without("payload", BoundCapabilities), {"capabilities.bounding"}),
    "init's capabilities": (without("init", KeepCapabilities), {"init.capabilities"}),
    "dumpable init": (without("init", ProtectInit), {"init.dumpable"}),
    "ipc namespace": (nspawn("SYSTEMD_NSPAWN_SHARE_NS_IPC=1"), {"namespace.ipc"}),
    "uts namespace": (nspawn("SYSTEMD_NSPAWN_SHARE_NS_UTS=1"), {"namespace.uts"}),
    "cgroup namespace": (nspawn("SYSTEMD_NSPAWN_USE_CGNS=0"), {"namespace.cgroup"}),
    "nosuid of a volume": (less_volume_safety, {"mount /data"}),
    "volume": (without("init", AttachInside, path=text("/data")), {"mount /data"}),
    "limit": (without("payload", SetLimit), {"limits.nofile"}),
    "init's descriptors": (lambda plan: leak(plan, to_payload=False), {"init.descriptors"}),
    "payload's descriptors": (lambda plan: leak(plan, to_payload=True), {"descriptors"}),
}


@pytest.mark.parametrize("wall", LAUNCHED)
def test_a_wall_that_was_left_out_is_named(one, wall):
    launch, points = LAUNCHED[wall]
    assert one().missing(launch) == points


# What a run is compared with, that it was not launched with.
COMPARED = {
    "mask": (more(Mask(path=text("/proc/uptime"))), {"mask /proc/uptime", "read /proc/uptime"}),
    "mask of a folder": (more(Mask(path=text("/proc/tty"))), {"mask /proc/tty"}),
    "read-only path": (more(ProtectPath(path=text("/srv"))), {"read-only /srv"}),
    "control of the cgroup": (control, {"resources.cgroup.max.descendants"}),
}


@pytest.mark.parametrize("wall", COMPARED)
def test_a_wall_that_is_only_planned_is_named_and_holds_when_it_is_there(one, wall):
    alter, points = COMPARED[wall]
    own = one()
    assert own.missing(compare=alter) == points
    assert own.missing(alter, alter) == set()


def both(change, calls, init):
    """A change of the payload's filter, and of the init's, behind which the payload is too."""
    return lambda plan: change("init", FilterInit, **init)(change("payload", FilterCalls, **calls)(plan))


def test_no_new_privs_that_is_not_set(one):
    """Of the payload it is the init's doing already. Without it no filter can be installed: all are missing then."""
    less = without("payload", NoNewPrivileges)
    assert one().missing(less) == set()
    neither = both(without, {}, {})
    missing = one().missing(lambda plan: neither(without("init", NoNewPrivileges)(less(plan))))
    assert missing >= {"no_new_privs", "init.no_new_privs", "seccomp", "init.seccomp"}


def test_no_new_privs_that_the_init_alone_has_not(one):
    """It has the capability that installs a filter without."""
    assert one().missing(without("init", NoNewPrivileges)) == {"init.no_new_privs"}


def test_a_filter_that_is_not_there(one):
    missing = one().missing(both(without, {}, {}))
    assert missing >= {"seccomp", "init.seccomp", "seccomp keyctl", "seccomp clone3"}


def test_one_filter_of_two_that_is_not_there(one):
    """The payload has two, its init's and its own: the one that is left refuses what both refuse."""
    own = one()
    assert own.missing(without("payload", FilterCalls)) == {"seccomp"}
    assert own.missing(without("init", FilterInit)) == {"seccomp", "init.seccomp"}


@kernel
def test_another_filter_than_the_planned_one_shows_from_inside_alone(one):
    other = filter_of(one(security={"seccomp_profile": "unconfined"}).plan)
    missing = one().missing(both(with_, {"filter": other}, {"filter": other}))
    assert missing >= {"seccomp keyctl", "seccomp clone3", "seccomp personality"}
    assert not missing & {"seccomp", "init.seccomp"}


def test_a_filter_that_kills(one):
    """What tries is killed, and only that: the payload sleeps on."""
    own = one(security={"seccomp_profile": "strict", "capabilities": []})
    with own.running(own.plan) as record:
        found = {point.name: point for point in compared(record, own.plan).points}
        settles(lambda: len(tree_of(record).inside) == 1)
    assert found["seccomp ptrace"].found == "killed by signal 31"
    assert all(point.holds for point in found.values())
    default = filter_of(one(**NO_CAPABILITIES).plan)
    assert "seccomp mount" in own.missing(with_("payload", FilterCalls, filter=default))


@kernel
@pytest.mark.skipif(landlock_abi() < 1, reason=OLDER[1])
def test_landlock_that_was_not_entered(one):
    scopes = {"landlock signal", "landlock abstract_unix_socket"} if landlock_abi() >= 6 else set()
    assert one().missing(without("init", RestrictSelf)) == {"landlock make_char /dev/shm"} | scopes


@kernel
@pytest.mark.skipif(landlock_abi() < 6, reason=OLDER[6])
def test_scopes_that_landlock_does_not_close(one):
    """One by one: the other stays closed."""
    own = one()
    for left, point in (("signal", "abstract_unix_socket"), ("abstract_unix_socket", "signal")):
        assert own.missing(with_("init", MakeRuleset, scopes=(left,))) == {f"landlock {point}"}


@kernel
@pytest.mark.skipif(landlock_abi() < 6, reason=OLDER[6])
def test_scopes_are_tried_by_any_user_and_leave_no_process_behind(one):
    own = one(workload={"user": "user"})
    with own.running(own.plan) as record:
        before = tree_of(record)
        points = {point.name: point.holds for point in compared(record, own.plan).points}
        assert points["landlock signal"]
        assert points["landlock abstract_unix_socket"]
        settles(lambda: tree_of(record) == before)
        inside = os.readlink(f"/proc/{before.init}/ns/pid")
        assert [pid for pid in numbers_of_processes() if namespace(pid) == inside] == sorted(
            (before.init, *before.inside)
        )


@kernel
@pytest.mark.skipif(landlock_abi() < 4, reason=OLDER[4])
def test_ports_that_landlock_does_not_withhold(one):
    own = one(security={"landlock_profile": "strict"})
    points = own.missing(without("init", RestrictSelf))
    assert {point.partition(" ")[2].partition(" ")[0] for point in points} >= {"bind_tcp", "connect_tcp"}


def test_env_files_stay_with_the_init_for_sessions_and_no_more_than_there_are(one, tmp_path):
    (tmp_path / "values").write_text("A=1\n")
    given = one(workload={"env_file": str(tmp_path / "values")})
    assert given.missing() == set()
    assert given.missing(compare=without("host", SealFile)) == {"init.descriptors"}


def test_a_terminal_stays_open_with_the_init_where_the_payload_has_one(one):
    given = one(call=api.Call(terminal=0b110))
    assert given.missing() == set()
    assert given.missing(compare=without("init", OpenTerminal)) == {"init.descriptors"}


def test_a_session_leaves_nothing_behind(one):
    own = one()
    with own.running(own.plan) as record:
        before = tree_of(record)
        assert compared(record, own.plan).holds
        settles(lambda: tree_of(record) == before)


def test_an_init_that_does_not_answer_is_an_error_and_the_payload_lives_on(one):
    own = one()
    with own.running(own.plan) as record:
        tree = tree_of(record)
        os.kill(tree.init, signal.SIGSTOP)
        try:
            with pytest.raises(StateError, match="does not answer"):
                compared(record, own.plan)
        finally:
            os.kill(tree.init, signal.SIGCONT)
        assert compared(record, own.plan).holds


@pytest.mark.parametrize(
    ("field", "point"), [({"uid": 7}, "user"), ({"gid": 7}, "groups"), ({"groups": (text("7"),)}, "groups")]
)
def test_a_payload_with_other_ids(one, field, point):
    """Where it has no capability to change them; root of its own namespace may."""
    own = one(**NO_CAPABILITIES)
    assert own.missing(with_("payload", SetIdentity, **field)) == {point}


def test_a_payload_with_ambient_capabilities(one):
    more_caps = with_("payload", SetCapabilities, caps=("KILL",), ambient=("KILL",))
    bounded = with_("payload", BoundCapabilities, caps=("KILL",))
    points = {f"capabilities.{name}" for name in ("bounding", "permitted", "effective", "ambient", "inheritable")}
    assert one(**NO_CAPABILITIES).missing(lambda plan: bounded(more_caps(plan))) == points


def test_a_payload_in_the_hosts_network(one):
    assert one(**NO_CAPABILITIES).missing(nspawn(drop="--private-network")) == {"namespace.net"}


def test_a_root_that_is_writable(one):
    writable = one()
    fixed = one(storage={"writable_layer": "none"}).plan
    assert "root" in writable.missing(compare=lambda _: replace(fixed, name=writable.plan.name))


@kernel
def test_a_payload_outside_its_cgroup(one):
    def move(record):
        (CGROUPS[0] / "cgroup.procs").write_text(str(tree_of(record).inside[0]))

    assert one().missing(meanwhile=move) == {"cgroup"}


# ── the verb


@pytest.fixture
def sleeping(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    manifest = volt.manifest(workload={"command": ["true"]})
    name = api.plan(manifest).name
    process = volt.start("run", manifest, "--", "sh", "-c", "sleep 60 & exec sleep 60", stderr=subprocess.PIPE)
    try:
        yield started(process, name)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


@kernel
def test_every_point_in_words_and_as_json(volt, sleeping):
    brief, every = volt("audit", sleeping.name), volt("audit", sleeping.name, "--all")
    assert (brief.returncode, every.returncode) == (0, 0)
    assert len(brief.stdout.splitlines()) == 1
    lines = every.stdout.decode().splitlines()
    assert "holds          no_new_privs: set" in lines
    document = json.loads(volt("audit", sleeping.name, "--json").stdout)
    assert (document["version"], document["run"], document["holds"]) == (1, sleeping.id, True)
    assert len(document["points"]) == len(lines) - 1


def test_a_point_that_does_not_hold_is_the_exit_status(volt, one, monkeypatch):
    """The plan that the run was started with is compared: so the wall is taken away while it runs."""
    own = one()
    with own.running(own.plan) as record:
        payload = tree_of(record).inside[0]
        (CGROUPS[0] / "cgroup.procs").write_text(str(payload))
        done = volt("audit", record.name)
    assert done.returncode == 1
    assert done.stdout.decode().startswith("does not hold  cgroup: planned volt-")
