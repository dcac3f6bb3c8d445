"""The kernel's own surface from inside: calls, files, devices, ids. Each attempt is made again without its wall."""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
import struct

import pyseccomp
import pytest

from tests.attack import walls
from tests.attack.conftest import PROBE
from tests.attack.plans import VOLT_FAILED, changed
from tests.conftest import OLDER
from volt.api import HostUnfit
from volt.api.landlock import policy_of
from volt.api.planning import planned, resolved
from volt.host.syscalls import landlock_abi
from volt.model.binary import encode
from volt.model.facts import Call
from volt.model.filter import Filter
from volt.model.landlock import FILES, bits
from volt.model.steps import ClaimUids, FilterCalls, MakeRuleset
from volt.model.values import replace
from volt.plan.assemble import make_plan

ABI = landlock_abi()
NATIVE, COMPAT = pyseccomp.Arch.NATIVE, pyseccomp.Arch.X86
NEWUSER = 0x1000_0000
REFUSED = ("EACCES", "EPERM", "EROFS")  # by whichever wall comes first

pytestmark = pytest.mark.kernel
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 has these doors to the kernel")


def needs(abi):
    return pytest.mark.skipif(abi > ABI, reason=OLDER[abi])


def call(name, *arguments):
    """An attempt at a system call, for probe.py."""
    return "call=" + ",".join(map(str, (pyseccomp.resolve_syscall(NATIVE, name), *arguments)))


# ── calls

# A call, how it is refused, and what the kernel itself says of its arguments.
CALLS = {
    call("clone3", 1, 88): ("ENOSYS", {"EFAULT"}),
    call("io_uring_setup", 1, 1): ("ENOSYS", {"EFAULT", "EPERM", "ENOSYS"}),  # also where it is switched off
    call("keyctl", 0, -3, 1): ("ENOSYS", {"done"}),
    call("add_key", 1, 1, 1, 1, -3): ("ENOSYS", {"EFAULT"}),
    call("mount", 1, 1, 1, 0, 1): ("EPERM", {"EFAULT"}),
    call("fsopen", 1, 0): ("EPERM", {"EPERM", "EFAULT"}),  # needs a capability before all else
    call("unshare", NEWUSER): ("EPERM", {"done"}),
    call("personality", 0x40000): ("EPERM", {"done"}),
}


def test_calls_that_no_payload_needs(probe):
    assert dict(zip(CALLS, probe(*CALLS), strict=True)) == {name: refused for name, (refused, _) in CALLS.items()}
    found = dict(zip(CALLS, probe(*CALLS, without=[walls.no_filter, walls.no_landlock]), strict=True))
    assert {name: said for name, said in found.items() if said not in CALLS[name][1]} == {}
    assert found != {name: refused for name, (refused, _) in CALLS.items()}


def test_nothing_is_typed_into_a_terminal(probe):
    """TIOCSTI. Newer kernels refuse it too, by EIO."""
    assert probe("type") == ["EPERM"]
    assert probe("type", without=[walls.no_filter])[0] in ("done", "EIO")


@pytest.fixture
def door(attack, image, doors):
    """A system call by one of the kernel's doors, in a program that became another if `again`: what comes of it."""
    image.copy(doors)

    def through(*words, without=(), again=False):
        argv = ("/doors", *(("again",) if again else ()), *map(str, words))
        ended = attack(*argv, without=without, storage=image.storage())
        return int(ended.out) if ended.out else ended.status

    return through


@x86
def test_calls_as_32_bit_programs_make_them(door):
    words = ("compat", pyseccomp.resolve_syscall(COMPAT, "keyctl"), 0, -3, 1)
    assert door(*words) == -errno.ENOSYS
    assert door(*words, without=[walls.no_filter]) > 0


@x86
def test_calls_of_the_x32_architecture(door):
    """Which a kernel without it does not know."""
    words = ("x32", pyseccomp.resolve_syscall(NATIVE, "getpid"))
    assert door(*words) == 128 + signal.SIGSYS
    assert door(*words, without=[walls.no_filter]) != 128 + signal.SIGSYS


def test_a_filter_survives_another_exec(door):
    words = ("native", pyseccomp.resolve_syscall(NATIVE, "keyctl"), 0, -3, 1)
    assert door(*words, again=True) == -errno.ENOSYS
    assert door(*words, again=True, without=[walls.no_filter]) > 0


def test_a_filter_that_the_kernel_refuses_starts_nothing(attack):
    plan = attack.plan("echo", "started")
    refused = attack.perform(changed(plan, FilterCalls, filter=struct.pack("<HBBI", 0xFFFF, 0, 0, 0)))
    assert (refused.status, refused.out) == (VOLT_FAILED, "")
    assert "filter" in refused.err


# ── Landlock

RULES = """
abi = {abi}
[[ruleset]]
handled_access_fs = ["abi.all"]
{more}
[[path_beneath]]
parent = ["/"]
allowed_access = ["v1.read_execute"]
[[path_beneath]]
parent = ["/srv/in"]
allowed_access = ["v1.read_write"]
"""


@pytest.fixture
def ruled(probe, tmp_path):
    """Attempts behind rules of this ABI, in the host's network namespace; then without Landlock."""

    def attempts(abi, *words, more="", network="none"):
        (tmp_path / "policy.toml").write_text(RULES.format(abi=abi, more=more))
        sections = {
            "security": {"landlock_profile": "custom", "landlock_policy": str(tmp_path / "policy.toml")},
            "storage": {"tmpfs": ["/srv/in", "/srv/out:mode=1777"]},
            "network": {"mode": network},
        }
        return probe(*words, **sections), probe(*words, without=[walls.no_landlock], **sections)

    return attempts


@needs(1)
def test_files_outside_the_rules(ruled):
    attempts = ("new=/srv/out/f", "folder=/srv/out/d", "link=x,/srv/out/l", "append=/etc/passwd", "new=/srv/in/f")
    behind, open_ = ruled(1, *attempts)
    assert behind == ["EACCES"] * 4 + ["done"]
    assert open_ == ["done"] * 5


@needs(2)
def test_a_rename_into_another_folder(ruled):
    behind, open_ = ruled(2, "folder=/srv/in/d", "new=/srv/in/f", "rename=/srv/in/f,/srv/in/d/f")
    assert behind == ["done", "done", "EXDEV"]
    assert open_ == ["done"] * 3


@needs(3)
def test_a_file_cut_short(ruled):
    behind, open_ = ruled(3, "new=/srv/in/f", "truncate=/srv/in/f")
    assert behind == ["done", "EACCES"]
    assert open_ == ["done"] * 2


@needs(5)
def test_a_command_to_a_device(ruled):
    """/dev/null knows none, and says so where it is asked."""
    behind, open_ = ruled(5, "ioctl=/dev/null")
    assert (behind, open_) == (["EACCES"], ["ENOTTY"])


@needs(4)
def test_a_port_of_the_hosts(ruled):
    """Which nobody has bound, so that nobody is disturbed: 0 stands for whichever is free."""
    behind, open_ = ruled(4, "bind=0", more='handled_access_net = ["bind_tcp"]', network="host")
    assert (behind, open_) == (["EACCES"], ["done"])


@needs(6)
def test_an_abstract_socket_of_the_hosts(ruled, listening):
    behind, open_ = ruled(6, f"abstract={listening}", more='scoped = ["abstract_unix_socket"]', network="host")
    assert (behind, open_) == (["EPERM"], ["done"])


@pytest.fixture
def listening():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0volt-attacked")
        server.listen()
        yield "volt-attacked"


def test_an_abstract_socket_is_not_there_in_a_network_of_its_own(probe, listening):
    """On every kernel: the network namespace is this wall."""
    assert probe(f"abstract={listening}") == ["ECONNREFUSED"]
    open_ = [walls.no_private_network, *([walls.no_landlock] if ABI else [])]
    assert probe(f"abstract={listening}", without=open_) == ["done"]


def test_a_right_that_the_kernel_does_not_know_starts_nothing(attack):
    """What a plan made for a newer kernel is on an older one: a bit that no kernel has."""
    plan = attack.plan("echo", "started", security={"landlock_profile": "default"})
    (made,) = (step for step in plan.init if isinstance(step, MakeRuleset))
    known = struct.pack("<Q", bits(made.files, FILES))
    newer = struct.pack("<Q", bits(made.files, FILES) | 1 << 62)
    image = encode(plan)
    assert attack.perform(image).out == "started\n"
    at = image.index(known)
    refused = attack.perform(image[:at] + newer + image[at + 8 :])
    assert (refused.status, refused.out) == (VOLT_FAILED, "")
    assert "make-ruleset" in refused.err


def test_an_older_kernel_is_refused_by_name_where_a_right_is_required(attack, volt):
    """Planned for a kernel of Landlock ABI 1: `strict` in the host's network needs more."""
    manifest = volt.manifest(security={"landlock_profile": "strict"}, network={"mode": "host"})
    workload = resolved(manifest, None, None, None).workload
    facts = planned(volt.manifest(security={"landlock_profile": "permissive"}), None, None, Call(command=("true",)))[1]
    older = replace(facts, landlock_abi=1, landlock=policy_of(workload, None))

    def plan(**call):
        return make_plan(
            workload, older, Call(command=("true",), **call), lambda _: Filter(walls.PERMIT_ALL, walls.PERMIT_ALL)
        )

    with pytest.raises(HostUnfit, match="abstract_unix_socket"):
        plan()
    assert plan(waived=("landlock",)).notes, "waived by name, and said"


# ── devices


def test_device_nodes_of_an_image(attack, image):
    """/dev/zero's number, which does no harm, where the image's author put it."""
    os.mknod(image.root / "node", 0o20666, os.makedev(1, 5))
    (image.root / "node").chmod(0o666)
    words = ("sh", "-c", "head -c 1 /node | wc -c")
    plan = attack.plan(*words, storage=image.storage(), security={"landlock_profile": "permissive"})
    assert attack.perform(plan).words == ["0"]
    assert attack.perform(walls.without_attribute("nodev")(plan)).words == ["1"]


def test_device_nodes_are_made_by_nobody_inside(probe):
    """Not with the capability either: it counts for the workload's own user namespace alone. Where there is none,
    a node can be made: of /dev/zero, in the workload's own memory."""
    attempt = ("node=/srv/node,1,5",)
    assert probe(*attempt)[0] in REFUSED
    given = [walls.no_filter, walls.no_landlock, walls.all_capabilities("MKNOD")]
    assert probe(*attempt, without=given) == ["EPERM"]
    assert probe(*attempt, without=[*given, walls.no_user_namespace]) == ["done"]


# ── files of the kernel's


def test_settings_of_the_kernel(probe):
    """One of its own network namespace's: any other without a wall would do harm. What root may write there takes
    NET_ADMIN, a second wall."""
    attempt = "put=/proc/sys/net/ipv4/ip_forward,1"
    admin = [walls.all_capabilities("NET_ADMIN"), walls.no_landlock]
    assert probe(attempt)[0] in REFUSED
    assert probe(attempt, without=admin) == ["EROFS"]
    assert probe(attempt, without=[walls.no_protected_paths]) == ["EACCES"]
    assert probe(attempt, without=[*admin, walls.no_protected_paths]) == ["done"]


MASKED = ("/proc/timer_list", "/proc/interrupts")  # of those that every kernel has; as root's, or as everybody's


def test_masked_files_say_nothing(probe):
    """Reading does no harm; what acts on a write, as sysrq-trigger does, is masked by the same step."""
    attempts = [f"full={path}" for path in MASKED]
    assert set(probe(*attempts)) <= {"ENODATA", "ENOENT"}
    assert "done" in probe(*attempts, without=[walls.no_masks])


def test_what_acts_on_a_write_is_masked_too(attack):
    """What is written there is lost in /dev/null: the path is not the kernel's file any more."""
    words = ("sh", "-c", "test -e /proc/sysrq-trigger || exit 0; test -c /proc/sysrq-trigger || echo the kernel\\'s")
    assert attack(*words).out == ""
    assert attack(*words, without=[walls.no_masks]).status == 0


# ── ids


def last_range(plan):
    """Of all ranges of ids it wants the last one alone."""

    def last(step):
        return {"base": step.base + (step.count - 1) * 65536, "count": 1, "first": 0}

    return changed(plan, ClaimUids, last)


def test_two_workloads_never_have_the_same_ids(attack):
    """One range, wanted by two at once; without the claim both have it, and so each other's files and processes."""
    script = ("sh", "-c", "read line < /proc/self/uid_map; echo $line; read end")
    one, other = (last_range(attack.plan(*script)) for _ in range(2))
    with attack.running(one) as ids:
        refused = attack.perform(other)
        assert (refused.status, "no range of uids is free" in refused.err) == (VOLT_FAILED, True)
        assert attack.perform(walls.no_claimed_ids(other)).out == ids


def test_a_probe_that_meets_no_wall_is_done(attack):
    """The probe itself, behind none of the walls that are no namespace."""
    open_ = [walls.no_filter, walls.no_landlock, walls.no_masks]
    assert attack("python3", "-c", PROBE, "new=/srv/x", without=open_).words == ["done"]
