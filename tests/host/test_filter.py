"""The default filter on the running kernel: single calls, through every door, and real programs behind it."""

from __future__ import annotations

import errno
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pyseccomp
import pytest

from volt.host.profiles import shipped_profile
from volt.plan.capabilities import DEFAULT
from volt.plan.seccomp import compile_filter, parse_profile

SOURCE = Path(__file__).with_name("filtered.c")
X32 = 0x4000_0000
HIGH = 0xFFFF_FFFF_0000_0000
NEWUSER = 0x1000_0000
TIOCSTI, TIOCLINUX, TCGETS = 0x5412, 0x541C, 0x5401

pytestmark = pytest.mark.kernel
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 has these doors to the kernel")


class Filtered:
    """Calls and programs behind a filter."""

    def __init__(self, folder: Path, capabilities):
        self.program, self.filter = folder / "filtered", folder / "filter"
        profile = parse_profile(shipped_profile("seccomp", "default"))
        self.filter.write_bytes(compile_filter(profile, capabilities=capabilities, architecture=platform.machine()))
        flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, "-o", self.program, SOURCE], check=True)

    def call(self, name: str | int, *arguments: int, door="native") -> int:
        """What the call returns, an error as its negative number; the signal, negative, if it kills."""
        arch = pyseccomp.Arch.X86 if door == "compat" else pyseccomp.Arch.NATIVE
        number = name if isinstance(name, int) else pyseccomp.resolve_syscall(arch, name)
        argv = [self.program, self.filter, door, str(number), *(hex(argument) for argument in arguments)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode * 1000 if done.returncode else int(done.stdout)

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        argv = [self.program, self.filter, "exec", *command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def payload(tmp_path_factory) -> Filtered:
    return Filtered(tmp_path_factory.mktemp("payload"), DEFAULT)


@pytest.fixture(scope="module")
def admin(tmp_path_factory) -> Filtered:
    return Filtered(tmp_path_factory.mktemp("admin"), ["SYS_ADMIN", "SYS_CHROOT"])


KILLED = -signal.SIGSYS * 1000


# ── single calls ────────────────────────────────────────────────────────────────────────────────


def test_ordinary_calls_go_through(payload):
    assert payload.call("getpid") > 1
    assert payload.call("umask", 0o22) >= 0


@x86
def test_x32_calls_kill(payload):
    assert payload.call(X32 | pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "getpid")) == KILLED


@pytest.mark.parametrize("number", [600, 1000, 0x3FFF_FFFF])
def test_calls_that_nobody_knows_are_not_implemented(payload, number):
    assert payload.call(number) == -errno.ENOSYS


MOUNTS = ["mount", "umount2", "pivot_root", "fsopen", "open_tree", "move_mount", "mount_setattr"]


@pytest.mark.parametrize("call", MOUNTS)
def test_mounts_are_refused_and_with_the_capability_are_not(payload, admin, call):
    """A descriptor and pointers that do not exist: the kernel itself then says EBADF or EFAULT."""
    assert payload.call(call, 0xFFFF_FFFF, 1, 1, 1, 1) == -errno.EPERM
    assert admin.call(call, 0xFFFF_FFFF, 1, 1, 1, 1) != -errno.EPERM


@pytest.mark.parametrize("request_", [TIOCSTI, TIOCLINUX])
@pytest.mark.parametrize("high", [0, HIGH, 1 << 32])
def test_typing_into_a_terminal_is_refused_whatever_the_high_half(payload, request_, high):
    assert payload.call("ioctl", 0, high | request_) == -errno.EPERM
    assert payload.call("ioctl", 0, high | TCGETS) == -errno.ENOTTY


def test_no_new_user_namespace_by_any_call(payload, admin):
    assert payload.call("clone", NEWUSER | signal.SIGCHLD) == -errno.EPERM
    assert payload.call("unshare", NEWUSER) == -errno.EPERM
    assert payload.call("clone3", 1, 88) == -errno.ENOSYS
    assert payload.call("unshare", 0x400) == 0
    assert admin.call("unshare", NEWUSER) == 0
    assert admin.call("clone3", 1, 88) == -errno.EFAULT


def test_personalities(payload):
    assert payload.call("personality", 0xFFFF_FFFF) == 0
    assert payload.call("personality", 0x40000) == -errno.EPERM


def test_families_of_sockets(payload):
    assert all(payload.call("socket", family, kind, 0) > 2 for family, kind in ((1, 1), (2, 1), (10, 2), (16, 3)))
    for family in (17, 38, 40, 29, 31, HIGH | 38):
        assert payload.call("socket", family, 3, 0) == -errno.EAFNOSUPPORT
    assert payload.call("socket", 16, 3, 9) == -errno.EAFNOSUPPORT


@pytest.mark.parametrize("call", ["io_uring_setup", "keyctl", "add_key"])
def test_parts_of_the_kernel_that_look_missing(payload, call):
    assert payload.call(call) == -errno.ENOSYS


def test_landlock_stays_usable(payload):
    """Flag 1 asks for the ABI, a positive number; landlock_create_ruleset(2)."""
    assert payload.call("landlock_create_ruleset", 0, 0, 1) > 0


@x86
def test_32_bit_calls_from_64_bit_code_are_filtered_too(payload):
    through = [
        ("getpid", ()),
        ("mount", (0, 0, 0, 0, 0)),
        ("clone", (NEWUSER,)),
        ("unshare", (NEWUSER,)),
        ("clone3", (1, 88)),
        ("keyctl", ()),
        ("ioctl", (0, TIOCSTI)),
        ("ioctl", (0, TCGETS)),
        (359, (38, 5, 0)),
        (359, (2, 1, 0)),
        ("socketcall", (1, 0)),
        ("socketcall", (8, 0)),
        ("socketcall", (3, 0)),
        (1000, ()),
    ]
    got = [payload.call(call, *arguments, door="compat") for call, arguments in through]
    assert got[0] > 1
    assert got[9] > 2
    perm, nosys, family = -errno.EPERM, -errno.ENOSYS, -errno.EAFNOSUPPORT
    assert got[1:9] == [perm, perm, perm, nosys, nosys, perm, -errno.ENOTTY, family]
    assert got[10:] == [family, family, -errno.EFAULT, nosys]


# ── real programs ───────────────────────────────────────────────────────────────────────────────


def output(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_with_pipes_and_children(payload):
    assert output(payload.run("sh", "-c", "for i in 3 1 2; do echo $i; done | sort | tr -d '\\n'")) == "123"


def test_what_is_refused_has_its_usual_message(payload, tmp_path):
    assert "ermission denied" in payload.run("mount", "-t", "tmpfs", "none", tmp_path).stderr
    assert "not permitted" in payload.run("unshare", "--user", "true").stderr


def test_python_with_threads_children_and_sockets(payload):
    script = """
import asyncio, concurrent.futures, multiprocessing, socket, subprocess, tempfile, threading
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert sum(pool.map(lambda n: n * n, range(100))) == 328350
with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
assert subprocess.run(["sh", "-c", "cat"], input=b"x", capture_output=True).stdout == b"x"
with tempfile.NamedTemporaryFile() as file:
    file.write(b"y"); file.flush(); file.seek(0); assert file.read() == b"y"
async def main():
    async def hello(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close()
    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hi\\n"); assert await reader.readline() == b"hi\\n"
    process = await asyncio.create_subprocess_exec("true"); assert await process.wait() == 0
asyncio.run(main())
a, b = socket.socketpair(); a.send(b"z"); assert b.recv(1) == b"z"
socket.getaddrinfo("localhost", 80)
print("done")
"""
    done = payload.run(sys.executable, "-c", f"if __name__ == '__main__':\n{_indented(script)}")
    assert output(done) == "done\n"


def _indented(script: str) -> str:
    return "\n".join(f"    {line}" for line in script.splitlines())


def test_a_compiler_and_what_it_made(payload, tmp_path):
    (tmp_path / "a.c").write_text('#include <stdio.h>\nint main(void){return puts("made")<0;}\n')
    output(payload.run("gcc", "-O2", "-o", "a", "a.c", cwd=tmp_path))
    assert output(payload.run("./a", cwd=tmp_path)) == "made\n"


def test_packages_are_built_installed_and_removed(payload, tmp_path):
    control = tmp_path / "p/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text("Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@m>\nDescription: d\n")
    (tmp_path / "p/hello").write_text("hello\n")
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()
    output(payload.run("dpkg-deb", "--build", "p", "p.deb", cwd=tmp_path))
    output(payload.run("dpkg", f"--root={root}", "--install", "p.deb", cwd=tmp_path))
    assert (root / "hello").read_text() == "hello\n"
    output(payload.run("dpkg", f"--root={root}", "--remove", "p"))
    assert not (root / "hello").exists()


def test_apt_reads_and_simulates(payload):
    assert "Installed" in output(payload.run("apt-cache", "policy", "dpkg"))
    output(payload.run("apt-get", "--simulate", "upgrade"))


def test_files_as_tar_keeps_them(payload, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("text")
    output(payload.run("sh", "-c", "tar -czf a.tgz in && mkdir out && tar -xzf a.tgz -C out", cwd=tmp_path))
    assert (tmp_path / "out/in/file").read_text() == "text"


@pytest.mark.parametrize(
    "command",
    [
        ("git", "init", "-q", "."),
        ("perl", "-e", "fork || exit 0; wait; exit $?"),
        ("ps", "ax"),
        ("find", "/etc", "-maxdepth", "1"),
        ("strace", "-f", "-o", "/dev/null", "true"),
        ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "id"),
        ("stat", "-f", "/"),
        ("getent", "passwd", "root"),
    ],
    ids=lambda command: command[0],
)
def test_programs_of_every_day(payload, tmp_path, command):
    output(payload.run(*command, cwd=tmp_path))
