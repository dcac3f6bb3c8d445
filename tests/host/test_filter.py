"""The filters on the running kernel: single calls, through every door, and real programs behind them."""

from __future__ import annotations

import errno
import json
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pyseccomp
import pytest

from tests.oci import compared, rule, table
from volt.host.profiles import shipped_profile
from volt.plan.capabilities import DEFAULT
from volt.plan.seccomp import compile_filter
from volt.plan.seccomp_bound import read_profile

SOURCE = Path(__file__).with_name("filtered.c")
X32 = 0x4000_0000
HIGH = 0xFFFF_FFFF_0000_0000
NEWUSER = 0x1000_0000
TIOCSTI, TIOCLINUX, TCGETS = 0x5412, 0x541C, 0x5401

pytestmark = pytest.mark.kernel
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 has these doors to the kernel")


class Filtered:
    """Calls and programs behind a filter."""

    def __init__(self, folder: Path, capabilities, text: bytes):
        self.program, self.filter = folder / "filtered", folder / "filter"
        machine = platform.machine()
        made = compile_filter(read_profile(text), capabilities=capabilities, architecture=machine, kernel=(6, 1))
        self.filter.write_bytes(made)
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
    return Filtered(tmp_path_factory.mktemp("payload"), DEFAULT, shipped_profile("seccomp", "default"))


@pytest.fixture(scope="module")
def admin(tmp_path_factory) -> Filtered:
    text = shipped_profile("seccomp", "default")
    return Filtered(tmp_path_factory.mktemp("admin"), ["SYS_ADMIN", "SYS_CHROOT"], text)


@pytest.fixture(scope="module")
def strict(tmp_path_factory) -> Filtered:
    return Filtered(tmp_path_factory.mktemp("strict"), DEFAULT, shipped_profile("seccomp", "strict"))


@pytest.fixture(scope="module")
def unconfined(tmp_path_factory) -> Filtered:
    return Filtered(tmp_path_factory.mktemp("unconfined"), DEFAULT, shipped_profile("seccomp", "unconfined"))


@pytest.fixture(scope="module")
def document(tmp_path_factory) -> Filtered:
    """A list of what is refused, in OCI's form, for this architecture and its 32-bit calls."""
    rules = [
        rule("personality", action="SCMP_ACT_ERRNO", errnoRet=errno.EBADF, args=compared("GE", 16)),
        rule("ptrace", action="SCMP_ACT_KILL_PROCESS"),
        rule("socket", action="SCMP_ACT_ERRNO", args=compared("EQ", 38)),
    ]
    architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]
    text = json.dumps(table(defaultAction="SCMP_ACT_ALLOW", syscalls=rules, architectures=architectures)).encode()
    return Filtered(tmp_path_factory.mktemp("document"), DEFAULT, text)


@pytest.fixture(scope="module")
def open_(tmp_path_factory) -> Filtered:
    """The counter-proof for what is refused: a filter that permits everything."""
    return Filtered(tmp_path_factory.mktemp("open"), (), json.dumps(table(defaultAction="SCMP_ACT_ALLOW")).encode())


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


# ── the other profiles


@pytest.mark.parametrize("call", ["ptrace", "mknod", "shmget", "personality", "keyctl", "setns", "mount"])
def test_strict_kills_what_no_list_names(strict, open_, call):
    """With arguments that the kernel itself refuses."""
    assert strict.call(call, 0xFFFF_FFFF, 0xFFFF_FFFF, 1, 1) == KILLED
    assert open_.call(call, 0xFFFF_FFFF, 0xFFFF_FFFF, 1, 1) != KILLED


def test_strict_answers_what_programs_try_and_do_without(strict):
    assert strict.call("getpid") > 1
    assert strict.call("clone3", 1, 88) == strict.call("io_uring_setup") == -errno.ENOSYS
    assert strict.call("socket", 16, 3, 0) == -errno.EAFNOSUPPORT
    assert strict.call("ioctl", 0, TIOCSTI) == -errno.ENOTTY


@x86
def test_under_strict_32_bit_and_x32_calls_kill(strict, payload):
    assert strict.call("getpid", door="compat") == KILLED
    assert strict.call(X32 | pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "getpid")) == KILLED
    assert payload.call("getpid", door="compat") > 1


# Arguments that end each call before it does anything, and then with another error than EPERM.
FLOOR_CALLS = {
    "init_module": (0, 0, 0),
    "finit_module": (0xFFFF_FFFF, 0, 0xFFFF),
    "delete_module": (0, 0),
    "kexec_load": (0, 0, 0, 0xFFFF_FFFF),
    "bpf": (0xFFFF, 0, 0),
    "reboot": (0, 0, 0, 0),
    "swapon": (0, 0),
    "swapoff": (0,),
    "open_by_handle_at": (0xFFFF_FFFF, 0, 0),
    "syslog": (0xFF, 0, 0),
}


@pytest.mark.parametrize("call", FLOOR_CALLS)
def test_unconfined_keeps_its_floor(unconfined, open_, call):
    assert unconfined.call(call, *FLOOR_CALLS[call]) == -errno.EPERM
    assert open_.call(call, *FLOOR_CALLS[call]) != -errno.EPERM


@pytest.mark.parametrize("high", [0, HIGH, 1 << 32])
def test_unconfined_types_into_no_terminal(unconfined, open_, high):
    assert unconfined.call("ioctl", 0, high | TIOCSTI) == -errno.EPERM
    assert unconfined.call("ioctl", 0, high | TIOCLINUX) == -errno.EPERM
    assert open_.call("ioctl", 0, high | TIOCSTI) == -errno.ENOTTY


def test_unconfined_permits_what_default_refuses(unconfined, payload):
    calls = [
        ("unshare", (NEWUSER,)),
        ("personality", (0x40000,)),
        ("userfaultfd", (0,)),
        ("keyctl", (1, 0)),
    ]
    for call, arguments in calls:
        assert unconfined.call(call, *arguments) >= 0, call
        assert payload.call(call, *arguments) < 0, call
    assert unconfined.call("clone3", 1, 88) == -errno.EFAULT


@pytest.mark.parametrize("flags", [0, 0x4000, 0xC0ED_0000, HIGH])
def test_unconfined_mounts_no_file_system_anew(unconfined, open_, flags):
    """The last is what the kernel reads as none: it cuts the magic number off, and the bits of propagation in it."""
    assert unconfined.call("mount", 0, 1, 1, flags, 0) == -errno.EPERM
    assert open_.call("mount", 0, 1, 1, flags, 0) == -errno.EFAULT
    assert unconfined.call("mount", 0, 1, 0, flags % 2**32 | 0x1000, 0) == -errno.EFAULT
    assert unconfined.call("fsopen", 1, 0) == -errno.EPERM
    assert open_.call("fsopen", 1, 0) == -errno.EFAULT


@x86
def test_under_unconfined_32_bit_calls_are_filtered_and_x32_kills(unconfined):
    assert unconfined.call("getpid", door="compat") > 1
    assert unconfined.call("ioctl", 0, TIOCSTI, door="compat") == -errno.EPERM
    assert unconfined.call("reboot", door="compat") == -errno.EPERM
    assert unconfined.call(X32 | pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "getpid")) == KILLED


def test_an_oci_document_is_kept_to_the_letter(document):
    assert document.call("personality", 0xF) == 0
    assert document.call("personality", 0x10) == document.call("personality", HIGH) == -errno.EBADF
    assert document.call("ptrace") == KILLED
    assert document.call("socket", 38, 5, 0) == -errno.EPERM
    assert document.call("socket", 2, 1, 0) > 2


@x86
def test_an_oci_document_is_not_got_round(document, open_):
    assert document.call("socketcall", 1, 0, door="compat") == -errno.EPERM
    assert document.call("socketcall", 3, 0, door="compat") == -errno.EFAULT
    assert document.call(X32 | pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "getpid")) == KILLED
    assert document.call("getpid", door="compat") > 1
    assert open_.call("getpid", door="compat") == KILLED, "it lists no other architecture"


@pytest.mark.parametrize(
    "server",
    [
        (sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "{folder}", "{port}"),
        ("busybox", "httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "{folder}"),
    ],
    ids=["python", "busybox"],
)
def test_a_web_server_runs_under_strict(strict, tmp_path, server):
    page = b"page " * 100_000
    (tmp_path / "page").write_bytes(page)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(folder=tmp_path, port=port) for word in server]
    with subprocess.Popen([strict.program, strict.filter, "exec", *words], stderr=subprocess.DEVNULL) as running:
        try:
            assert fetched(f"http://127.0.0.1:{port}/page") == page
            assert running.poll() is None
        finally:
            running.terminate()


def fetched(address: str) -> bytes:
    for _ in range(100):
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {address}")


def test_a_shell_that_starts_servers_runs_under_strict(strict, tmp_path):
    script = """
    mkdir in; echo text > in/file; chmod 640 in/file; cp -a in out; sed -i s/text/new/ out/file
    find out ! -user nobody -exec chown nobody {} +; ls -la out > listing; tail -n 1 out/file | tr -d '\\n'
    """
    assert output(strict.run("sh", "-ec", script, cwd=tmp_path)) == "new"


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
