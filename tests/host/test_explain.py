"""What `volt explain` says is so: a probe behind the same plan tries each claim, and finds neither more nor less."""

from __future__ import annotations

import json
import os
import socket

import pytest

from tests.host.explained import PROBE, Compared, attempts
from tests.host.networks import own_machine
from tests.host.test_landlock import free_ports, needs
from volt import api
from volt.api import planning
from volt.api.explaining import explained
from volt.launch import handover
from volt.model.explanation import LANDLOCK, MOUNTS, PathClaim, SharedClaim
from volt.model.steps import (
    AllowBeneath,
    AllowOpened,
    AllowPorts,
    BoundCapabilities,
    Execute,
    FilterCalls,
    FilterInit,
    MakeFilesystem,
    MakeRuleset,
    Mask,
    NoNewPrivileges,
    RestrictSelf,
    SetCapabilities,
    SetIdentity,
    SetLimit,
    SetMount,
)
from volt.model.text import text
from volt.model.values import replace
from volt.plan.seccomp import call_numbers

pytestmark = [needs(1), pytest.mark.kernel]

HOST = {"mode": "host"}
# What a workload asks for, over a root of the host's programs, a read-only and a writable volume and a tmpfs.
WORKLOADS = {
    "default": {"storage": {"writable_layer": "none"}},
    "layer in memory": {},
    "kept layer": {"storage": {"writable_layer": "overlay"}},
    "read-only": {"security": {"read_only_rootfs": True}},
    "permissive": {"security": {"landlock_profile": "permissive", "seccomp_profile": "unconfined"}},
    "strict": {"security": {"landlock_profile": "strict"}, "storage": {"writable_layer": "none"}},
    "strict with a layer": {"security": {"landlock_profile": "strict"}},
    "strict calls": {"security": {"seccomp_profile": "strict"}},
    "host network": {"network": HOST},
    "capabilities": {"security": {"capabilities": ["NET_ADMIN", "NET_RAW", "CHOWN", "SYS_CHROOT"]}},
    "no capabilities": {"security": {"capabilities": []}},
    "user": {"workload": {"user": "1234:1234"}, "limits": {"nofile": "100:200"}},
}


class Explained:
    """One workload's plan, what is said of it, and the probe that it runs."""

    def __init__(self, volt, volumes, port):
        self.volt, self.volumes = volt, volumes
        self.ports = (port, port + 1, 80, 8080)
        network = os.readlink("/proc/self/ns/net")
        self.host = {"pid": os.getpid(), "abstract": f"volt-explain-{os.getpid()}", "network": network}

    def plan(self, sections, command=("true",)):
        storage = {"tmpfs": ["/cache"], "volumes": self.volumes, **sections.get("storage", {})}
        workload = {"command": list(command), **sections.get("workload", {})}
        network = {"ports": [str(self.ports[0])], **HOST} if sections.get("network") == HOST else {}
        network = network or sections.get("network", {})
        manifest = self.volt.manifest(**{**sections, "storage": storage, "workload": workload, "network": network})
        return planning.planned(manifest, None, None, api.Call())

    def probed(self, sections, alter=lambda plan: plan):
        """What is said of the plan, beside what a probe finds behind the plan, or behind an altered one."""
        plan, facts = self.plan(sections)
        self.said = explained(plan, facts)
        numbers = call_numbers(facts.architecture)
        tried = attempts(self.said, numbers, self.ports, self.host)
        plan, facts = self.plan(sections, ("python3", "-c", PROBE, tried))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"\0{self.host['abstract']}")
            server.listen()
            stdio = (api.DEVNULL, api.PIPE, api.PIPE)
            process = handover.spawn(facts.program, alter(plan), stdio, ())
            output, errors = process.communicate(timeout=50)
        assert process.returncode == 0, errors.decode()
        found = json.loads(output)
        return Compared(self.said, found["found"], found["own"], numbers, self.host)


@pytest.fixture
def volumes(tmp_path):
    for name in ("data", "assets"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("file", "old", "tool"):
            (folder / file).write_text("#!/bin/sh\n")
            (folder / file).chmod(0o755)
    return [
        {"host": str(tmp_path / "data"), "container": "/data", "owner": "root"},
        {"host": str(tmp_path / "assets"), "container": "/assets", "readonly": True},
    ]


@pytest.fixture
def one(volt, volumes, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    with free_ports(1) as (port,):
        return Explained(volt, volumes, port)


# Paths of rules at which nothing is, so that nothing can be tried.
MISSING = ("/lib32", "/libx32", "/nix/store", "/opt")


def untried(compared):
    """Claims that no outcome is on, of the kinds that this probe tries wholly."""
    return [
        claim
        for claim in compared.claims
        if claim not in compared.proven
        and claim.kind in ("path", "hidden", "reach", "capability", "identity")
        and not (isinstance(claim, PathClaim) and claim.path.startswith((*MISSING, "/proc/", "/dev/pts")))
    ]


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_said_is_what_a_probe_finds(one, name):
    compared = one.probed(WORKLOADS[name])
    assert compared.differences() == []
    assert untried(compared) == []


def test_what_is_said_of_a_bridge_is_what_a_probe_finds(volt, volumes, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    with own_machine(), free_ports(1) as (port,):
        one = Explained(volt, volumes, port)
        compared = one.probed({"network": {"mode": "bridge"}, "security": {"capabilities": []}})
        assert compared.differences() == []
        assert untried(compared) == []
        assert compared.found["bind 80"] == "done"


@needs(6)
def test_what_is_said_of_strict_in_the_hosts_network_is_what_a_probe_finds(one):
    compared = one.probed({"security": {"landlock_profile": "strict"}, "network": HOST})
    assert compared.differences() == []
    assert compared.found[f"bind {one.ports[0]}"] == "done"
    assert compared.found[f"bind {one.ports[1]}"] == "EACCES"


def test_every_kind_of_claim_is_tried(one):
    """On some workload, both ways where there are two."""
    user = one.probed(WORKLOADS["user"])
    assert user.differences() == []
    assert {claim.kind for claim in user.claims} - {claim.kind for claim in user.proven} == {"shared"}
    calls = {answer for claim in user.proven if claim.kind == "call" for answer in claim.answers}
    assert {"runs", "EPERM", "ENOSYS"} <= calls
    paths = [claim for claim in user.proven if isinstance(claim, PathClaim)]
    assert {right for claim in paths for right in claim.allowed} >= {"read", "list", "write", "make", "execute"}
    assert {right for claim in paths for right in claim.refused} >= {"write", "make", "execute"}


@pytest.mark.parametrize(("owner", "root"), [(0, True), (1000, False)])
def test_who_writes_as_the_hosts_root_is_said(one, tmp_path, owner, root):
    """The file that the probe makes in the volume has that owner on the host."""
    os.chown(tmp_path / "data", owner, owner)
    if not root:
        del one.volumes[0]["owner"]
    one.probed(WORKLOADS["default"])
    (said,) = (claim for claim in one.said.claims() if isinstance(claim, SharedClaim) and claim.inside == "/data")
    assert (said.host, said.readonly, said.root) == (str(tmp_path / "data"), False, root)
    assert ((tmp_path / "data/volt-made").stat().st_uid == 0) == root


# ── that it can fail: another plan is performed than the one that is explained


def without(*kinds):
    """The plan less all steps of these kinds."""

    def alter(plan):
        init, payload = (
            tuple(step for step in steps if not isinstance(step, kinds)) for steps in (plan.init, plan.payload)
        )
        return replace(plan, init=init, payload=payload)

    return alter


def changed(kind, change):
    """The plan with every step of a kind changed."""

    def alter(plan):
        def each(steps):
            return tuple(change(step) if isinstance(step, kind) else step for step in steps)

        return replace(
            plan, host=each(plan.host), guard=each(plan.guard), init=each(plan.init), payload=each(plan.payload)
        )

    return alter


def less(step, field, *names):
    return replace(step, **{field: tuple(name for name in getattr(step, field) if name not in names)})


LANDLOCK_STEPS = (MakeRuleset, AllowBeneath, AllowOpened, AllowPorts, RestrictSelf)
PRIVATE = text("--private-network")
ALTERED = {
    "no Landlock": ("default", without(*LANDLOCK_STEPS), "make /dev: done, claimed refused"),
    "a volume that is writable": (
        "permissive",
        changed(SetMount, lambda step: less(step, "attrs", "ro") if "volume" in step.mount else step),
        "write /assets/file: done, claimed refused",
    ),
    "a volume that is read-only": (
        "default",
        changed(SetMount, lambda step: replace(step, attrs=("ro",)) if "volume" in step.mount else step),
        "write /data/file: EROFS, claimed possible",
    ),
    "shared memory that is executed": (
        "default",
        changed(MakeFilesystem, lambda step: less(step, "attrs", "noexec") if step.to == "shm" else step),
        "noexec /dev/shm: done, claimed refused",
    ),
    "no masks": ("default", without(Mask), "hidden /proc/"),
    "no filter": ("default", without(FilterCalls, FilterInit), "setns: EBADF, claimed EPERM"),
    "fewer capabilities": (
        "default",
        changed(SetCapabilities, lambda step: less(step, "caps", "KILL")),
        "effective capabilities: 800405db",
    ),
    "a larger bounding set": ("no capabilities", without(BoundCapabilities), "bounding capabilities"),
    "another user": (
        "default",
        changed(SetIdentity, lambda step: replace(step, uid=7)),
        "identity: (7, 0, [0], 1)",
    ),
    "privileges that can be gained": (
        "default",
        without(NoNewPrivileges, FilterCalls, FilterInit),
        "identity: (0, 0, [0], 0)",
    ),
    "the host's network": (
        "no capabilities",
        changed(Execute, lambda step: replace(step, argv=tuple(word for word in step.argv if word != PRIVATE))),
        "network: done",
    ),
    "another limit": (
        "user",
        changed(SetLimit, lambda step: replace(step, soft=99) if step.soft == 100 else step),
        "nofile: 99:200",
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_plan_that_differs_from_what_is_said_is_noticed(one, name):
    workload, alter, difference = ALTERED[name]
    found = one.probed(WORKLOADS[workload], alter).differences()
    assert [words for words in found if words.startswith(difference)], found


@needs(4)
def test_a_port_that_is_not_given_is_noticed(one):
    found = one.probed(WORKLOADS["host network"], without(AllowPorts)).differences()
    assert f"bind {one.ports[0]}: EACCES, claimed possible" in found


def test_without_landlock_only_what_it_holds_alone_is_to_be_had(one):
    compared = one.probed(WORKLOADS["default"], without(*LANDLOCK_STEPS))
    found = [words.partition(":")[0].split(" ") for words in compared.differences()]
    claims = {compared.path_claim({"script": "execute"}.get(act, act), path) for act, path in found}
    statements = [statement for section in one.said.sections for statement in section.statements]
    assert claims
    assert {one.walls for one in statements if claims & {*one.claims}} == {(LANDLOCK,)}


@needs(3)
def test_what_two_walls_hold_holds_without_one(one):
    """The read-only volume, mounted writable: Landlock is still there."""
    alter = changed(SetMount, lambda step: less(step, "attrs", "ro") if "volume" in step.mount else step)
    compared = one.probed(WORKLOADS["default"], alter)
    assert compared.differences() == []
    claim = compared.path_claim("write", "/assets/file")
    (said,) = (one for section in one.said.sections for one in section.statements if claim in one.claims)
    assert said.walls == (LANDLOCK, MOUNTS)
