"""systemd-nspawn's command line and surroundings, derived from the workload and the facts."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS, GOOD
from volt.backends import container
from volt.model.modes import NetworkMode, WritableLayerMode
from volt.model.steps import NO_LIMIT, Attach, Execute, MakeCgroup, MakeFile, MakeFolder
from volt.model.text import RUN, show, text
from volt.model.workload import Network, Storage


def words(texts):
    return [show(one) for one in texts]


def options(workload=GOOD, facts=FACTS, bounding=("CHOWN",)):
    return words(container.options(workload, facts, bounding))


def test_what_is_the_same_for_every_workload():
    assert {
        "--directory=/run/root",
        "--register=no",
        "--keep-unit",
        "--console=pipe",
        "--resolv-conf=off",
        "--private-users={uids}:65536",
        "--private-users-ownership=off",
    } <= set(options())
    assert not [word for word in options() if word.startswith(("--read-only", "--bind", "--volatile", "--boot"))]


def test_its_names():
    named = options(replace(GOOD, hostname="www.example.org"))
    assert {"--machine=web", "--hostname=www.example.org"} <= set(named)
    assert "--hostname=web" in options()


def test_only_the_hosts_network_is_not_private():
    assert "--private-network" in options()
    assert "--private-network" not in options(replace(GOOD, network=Network(mode=NetworkMode.HOST)))


def test_capabilities_that_the_payload_may_have_are_within_nspawns_bound():
    assert "--capability=CAP_CHOWN,CAP_NET_RAW" in options(bounding=("CHOWN", "NET_RAW"))
    assert not [word for word in options(bounding=()) if word.startswith("--capability")]


@pytest.mark.parametrize(
    ("limits", "own", "expected"),
    [
        ({}, {"nofile": (1, 2)}, []),
        ({"nofile": (10, 5000)}, {"nofile": (1024, 4096)}, ["--rlimit=RLIMIT_NOFILE=5000"]),
        ({"nofile": (10, 20)}, {"nofile": (1024, 4096)}, ["--rlimit=RLIMIT_NOFILE=4096"]),
        ({"core": (0, 0)}, {"core": (0, NO_LIMIT)}, ["--rlimit=RLIMIT_CORE=infinity"]),
        ({"as": (1, 2), "core": (3, 4)}, {}, ["--rlimit=RLIMIT_AS=2", "--rlimit=RLIMIT_CORE=4"]),
    ],
)
def test_hard_limits_are_as_high_as_the_payloads_and_never_lower_than_ours(limits, own, expected):
    found = options(replace(GOOD, limits=limits), replace(FACTS, limits=own))
    assert [word for word in found if word.startswith("--rlimit")] == expected


def start(workload=GOOD):
    part = container.start_part(workload, FACTS, ("program", "control", "inside", "stdin"), ("CHOWN",))
    (execute,) = [step for step in part.guard if isinstance(step, Execute)]
    return execute


def test_nspawn_gets_an_environment_that_we_wrote():
    environment = dict(line.split("=", 1) for line in words(start().env))
    assert environment["SYSTEMD_SECCOMP"] == "0"
    assert (environment["LISTEN_FDS"], environment["LISTEN_PID"]) == ("4", "1")
    assert not start().defaults
    assert not start().env_files


@pytest.mark.parametrize(("layer", "own_tmp"), [("overlay", True), ("tmpfs", True), ("none", False)])
def test_only_a_writable_root_keeps_its_tmp(layer, own_tmp):
    workload = replace(GOOD, storage=Storage(rootfs="/srv/root", writable_layer=WritableLayerMode(layer)))
    assert ("SYSTEMD_NSPAWN_TMPFS_TMP=0" in words(start(workload).env)) is own_tmp


def test_nspawn_ends_as_our_init_from_its_sealed_descriptor():
    argv = words(start().argv)
    assert argv[0] == "/usr/bin/systemd-nspawn"
    assert argv[argv.index("--") + 1 :] == ["/proc/self/fd/3", "init", "4", "5"]
    assert start().descriptors[0] == "program"
    assert start().stdio == ("null", "null", "messages")


def cgroup(root, own):
    return container.cgroup_part(replace(FACTS, cgroup_root=root), text(own, "/volt-", RUN))


@pytest.mark.parametrize(
    ("root", "own", "path"),
    [
        ("/sys/fs/cgroup", "", "/sys/fs/cgroup/volt-{run}"),
        ("/sys/fs/cgroup", "/a/b", "/sys/fs/cgroup/a/b/volt-{run}"),
        ("/sys/fs/cgroup/unified", "", "/sys/fs/cgroup/unified/volt-{run}"),
    ],
)
def test_the_runs_cgroup_is_made_where_it_was_decided(root, own, path):
    (made,) = [step for step in cgroup(root, own).host if isinstance(step, MakeCgroup)]
    assert show(made.path) == path


@pytest.mark.parametrize("root", ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"])
def test_nspawn_finds_the_runs_cgroup_where_it_looks_and_its_moves_go_nowhere(root):
    guard = cgroup(root, "/a").guard
    made = [show(step.path) for step in guard if isinstance(step, (MakeFile, MakeFolder))]
    cover = "/sys/fs/cgroup/a/volt-{run}"
    assert made == [
        f"{cover}/cgroup.controllers",
        f"{cover}/payload",
        f"{cover}/payload/cgroup.procs",
        f"{cover}/supervisor",
        f"{cover}/supervisor/cgroup.procs",
    ]
    attached = [(step.mount, show(step.path)) for step in guard if isinstance(step, Attach)]
    view = [("cgroup-view", "/sys/fs/cgroup")] if root != "/sys/fs/cgroup" else []
    assert attached == [*view, ("cgroup-cover", cover)]
