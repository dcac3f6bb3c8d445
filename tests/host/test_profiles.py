"""security.seccomp_profile from inside: each word, a file of one's own, and a file that is none."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys

import pyseccomp
import pytest

from tests.host import front
from tests.oci import rule, table

NATIVE = pyseccomp.Arch.NATIVE
SIGSYS = 128 + signal.SIGSYS
# A call by its number: what it returns, or its errno, negative.
CALL = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
number, *arguments = (ctypes.c_long(int(word)) for word in sys.argv[1:])
result = libc.syscall(number, *arguments)
print(-ctypes.get_errno() if result == -1 else result)
"""


def asked(volt, profile, call, *arguments, **sections):
    """A call made by Python behind a profile: its result, or the run's status where that is not 0."""
    security = {"seccomp_profile": str(profile), **sections}
    number = pyseccomp.resolve_syscall(NATIVE, call)
    done = volt.run("python3", "-c", CALL, str(number), *map(str, arguments), security=security)
    return done.returncode or int(done.stdout)


@pytest.mark.kernel
def test_strict_kills(volt):
    assert asked(volt, "strict", "getpid") > 1
    assert asked(volt, "strict", "personality", 0xFFFF_FFFF) == SIGSYS
    assert asked(volt, "default", "personality", 0xFFFF_FFFF) == 0


def test_unconfined_permits_what_default_refuses(volt):
    assert asked(volt, "unconfined", "unshare", 0x1000_0000) == 0
    assert asked(volt, "default", "unshare", 0x1000_0000) == -errno.EPERM


@pytest.mark.parametrize("capabilities", [[], ["DAC_READ_SEARCH", "SYS_BOOT", "SYS_MODULE"]])
@pytest.mark.kernel
def test_the_floor_holds_under_unconfined_whatever_the_capabilities(volt, capabilities):
    """The kernel lets whoever has the capability inside come as far as the handle, which is at no address."""
    given = {"capabilities": capabilities}
    assert asked(volt, "unconfined", "open_by_handle_at", 0, 0, 0, **given) == -errno.EPERM
    assert asked(volt, "unconfined", "reboot", 0, 0, 0, 0, **given) == -errno.EPERM


def test_with_its_capability_default_permits_what_the_floor_holds(volt):
    assert asked(volt, "default", "reboot", 0, 0, 0, 0, capabilities=["SYS_BOOT"]) == -errno.EINVAL


@pytest.mark.kernel
def test_what_is_masked_stays_so_in_a_user_namespace_within(volt):
    """That this would notice a whole /proc below the root: tests/attack/test_init.py."""
    script = """
    unshare --user --map-root-user --mount --pid --fork sh -c '
        umount /proc/kallsyms; mount -t proc proc /proc; mount -t proc proc /tmp; cat /proc/kallsyms /tmp/kallsyms
        mount --rbind /etc /mnt && echo bound
    ' 2>&1; true
    """
    open_to_mounts = {"landlock_profile": "permissive"}  # where Landlock withholds files, nobody mounts anything
    out = volt.shell(script, security={"seccomp_profile": "unconfined", **open_to_mounts})
    assert "bound" in out, "it has all capabilities there"
    assert " T " not in out


KEYS = """
import ctypes, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl = (int(word) for word in sys.argv[1:3])
libc.syscall(keyctl, 1, 0)
assert libc.syscall(add_key, b"user", b"volt-test", b"secret", 6, -3) > 0
search = f"import ctypes; print(ctypes.CDLL(None).syscall({keyctl}, 10, -3, b'user', b'volt-test', 0))"
print(int(subprocess.check_output(["python3", "-c", search])) > 0)
print(subprocess.check_output([*sys.argv[3:], "--", "python3", "-c", search]).decode())
"""


@pytest.mark.kernel
def test_the_callers_keys_are_not_there_under_unconfined(volt):
    """Nor is a session key ring inherited: of all profiles this one alone permits to look."""
    numbers = [str(pyseccomp.resolve_syscall(NATIVE, call)) for call in ("add_key", "keyctl")]
    manifest = volt.manifest(security={"seccomp_profile": "unconfined"})
    launch = [sys.executable, "-m", "volt", "run", str(manifest)]
    argv = [sys.executable, "-c", KEYS, *numbers, *launch]
    done = subprocess.run(argv, env=volt.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["True", "-1"], done.stderr


def test_a_file_of_ones_own(volt, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    assert asked(volt, path, "personality", 0xFFFF_FFFF) == -errno.EBADF
    assert asked(volt, path, "getpid") > 1


OWN = """
format = 1
name = "own"
description = "everything but one call"
unlisted = "permit"
[[refuse]]
reason = "to be seen"
answer = "EBADF"
calls = "personality"
"""


def test_an_oci_document_beside_the_manifest(volt):
    document = table(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule("personality", action="SCMP_ACT_KILL_PROCESS")])
    (volt.folder / "seccomp.json").write_text(json.dumps(document))
    assert asked(volt, "./seccomp.json", "personality", 0xFFFF_FFFF) == SIGSYS
    assert asked(volt, "./seccomp.json", "getpid") > 1


def test_a_file_that_is_none_stops_the_start_and_names_line_and_place(volt):
    (volt.folder / "seccomp.json").write_text('{"defaultAction": "SCMP_ACT_NOTIFY", "wall": 1}')
    done = volt.run("true", security={"seccomp_profile": "./seccomp.json"})
    told = done.stderr.decode()
    assert done.returncode == 125
    assert "m1.toml:" in told
    assert "defaultAction: SCMP_ACT_NOTIFY asks an agent" in told
    assert "'wall' is not a key here" in told


def test_a_refusal_that_libseccomp_cannot_make_stops_the_start(volt):
    document = table(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule("brand_new_call", action="SCMP_ACT_ERRNO")])
    (volt.folder / "seccomp.json").write_text(json.dumps(document))
    done = volt.run("true", security={"seccomp_profile": "./seccomp.json"})
    assert done.returncode == 125
    assert "it refuses brand_new_call, which libseccomp does not know here" in done.stderr.decode()


def test_a_plan_says_what_libseccomp_does_not_know(volt):
    document = table(defaultAction="SCMP_ACT_ERRNO", syscalls=[rule("read", "brand_new_call")])
    (volt.folder / "seccomp.json").write_text(json.dumps(document))
    manifest = volt.manifest(workload={"command": ["true"]}, security={"seccomp_profile": "./seccomp.json"})
    note = "note: security.seccomp_profile: libseccomp does not know brand_new_call: answered as what no list names"
    for _ in range(2):  # made, and kept
        assert note in volt("plan", manifest).stdout.decode()


def test_a_cached_plan_depends_on_the_file(tmp_path, busybox):
    one = front.Front(tmp_path, front.Installation(tmp_path))
    profile = tmp_path / "own.toml"
    profile.write_text(OWN.replace("personality", "getcwd"))
    root = front.small_root(tmp_path / "root", busybox)
    storage = {"rootfs": str(root), "writable_layer": "tmpfs"}
    workload = {"command": ["sh", "-c", "/bin/pwd >/dev/null && echo known || echo unknown"]}
    one.manifest(workload=workload, storage=storage, security={"seccomp_profile": "./own.toml"})
    front.let_age()
    assert one.planned("run", "m1.toml").stdout == b"unknown\n"
    assert one.cached("run", "m1.toml").stdout == b"unknown\n"
    profile.write_text(OWN)
    assert not one.hits("run", "m1.toml")
    assert one.planned("run", "m1.toml").stdout == b"known\n"
