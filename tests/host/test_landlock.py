"""Landlock from inside: what each profile withholds, and that without the profile the same probe succeeds."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.conftest import OLDER
from tests.host import front
from volt.host.syscalls import landlock_abi

ABI = landlock_abi()
NONE = {"landlock_profile": "permissive"}  # files and ports are free


def needs(abi):
    return pytest.mark.skipif(abi > ABI, reason=OLDER[abi])


pytestmark = [needs(1), pytest.mark.kernel]

# Words that each name an attempt: prints the name of the errno, or "done".
PROBE = """
import errno, fcntl, os, socket, sys
def tcp(act, port):
    with socket.socket() as one:
        getattr(one, act)(("127.0.0.1", int(port)))
def abstract(name):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(chr(0) + name)
def ioctl(path):
    with open(path, "rb") as file:
        fcntl.ioctl(file, 0x5401, bytes(64))
ACTS = {
    "write": lambda path: open(path, "w").write("x"),
    "append": lambda path: open(path, "a").write("x"),
    "read": lambda path: open(path).read(),
    "list": os.listdir,
    "folder": os.mkdir,
    "fifo": os.mkfifo,
    "link": lambda path: os.symlink("x", path),
    "remove": os.unlink,
    "truncate": lambda path: os.truncate(path, 0),
    "rename": lambda pair: os.rename(*pair.split(",")),
    "bind": lambda port: tcp("bind", port),
    "connect": lambda port: tcp("connect", port),
    "abstract": abstract,
    "ioctl": ioctl,
    "signal": lambda pid: os.kill(int(pid), 0),
    "run": lambda path: os.posix_spawn(path, [path], {}),
}
for word in sys.argv[1:]:
    act, _, what = word.partition("=")
    try:
        ACTS[act](what)
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


class Inside:
    """Probes of one workload."""

    def __init__(self, volt, folder):
        self.volt = volt
        self.folder = folder

    def policy(self, text):
        """The custom profile of this text."""
        path = self.folder / "policy.toml"
        path.write_text(text)
        return {"landlock_profile": "custom", "landlock_policy": str(path)}

    def __call__(self, security, *attempts, **kinds):
        done = self.volt.run("python3", "-c", PROBE, *attempts, security=security, **kinds)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().split()


@pytest.fixture
def inside(volt, tmp_path):
    return Inside(volt, tmp_path)


def profile(name):
    return {"landlock_profile": name}


# ── files

WRITABLE = """
abi = 1
[[ruleset]]
handled_access_fs = ["abi.all"]
[[path_beneath]]
parent = ["/"]
allowed_access = ["abi.read_execute"]
[[path_beneath]]
parent = ["/tmp"]
allowed_access = ["abi.read_write"]
"""
WRITES = ("write=/srv/x", "folder=/srv/y", "fifo=/srv/z", "link=/srv/l", "append=/etc/passwd")


def test_nothing_is_written_outside_the_rules(inside):
    assert inside(inside.policy(WRITABLE), *WRITES, "write=/tmp/x", "read=/etc/passwd") == ["EACCES"] * 5 + ["done"] * 2
    assert inside(NONE, *WRITES) == ["done"] * 5


def test_a_payload_that_is_another_user_is_in_the_same_domain(inside):
    user = {"user": "1234:1234"}
    attempts = ("write=/var/tmp/x", "write=/tmp/x")
    assert inside(inside.policy(WRITABLE), *attempts, workload=user) == ["EACCES", "done"]
    assert inside(NONE, *attempts, workload=user) == ["done", "done"]


def test_what_the_payload_starts_is_in_it_too(inside):
    """Whatever session or group it makes for itself."""
    script = "setsid sh -c 'echo x > /srv/x' || (sh -c 'echo x > /srv/y' & wait $!) || echo refused"
    security = inside.policy(WRITABLE)
    assert inside.volt.shell(script, security=security) == "refused\n"
    assert inside.volt.shell(script, security=NONE) == ""


def test_nothing_is_read_outside_the_rules(inside):
    security = inside.policy(WRITABLE.replace('["/"]', '["/usr", "/lib64", "/etc/ld.so.cache"]'))
    assert inside(security, "read=/etc/passwd", "list=/etc", "list=/usr") == ["EACCES", "EACCES", "done"]
    assert inside(NONE, "read=/etc/passwd", "list=/etc") == ["done", "done"]


def test_nothing_but_links_and_sockets_is_made_among_the_devices_by_default(inside):
    """/dev is writable memory: no mount is in the way. A device node proves nothing, for nobody inside can make one."""
    attempts = ("fifo=/dev/f", "folder=/dev/d", "write=/dev/r", "link=/dev/l", "write=/dev/null")
    storage = {"writable_layer": "none"}
    assert inside({}, *attempts, storage=storage) == ["EACCES"] * 3 + ["done"] * 2
    assert inside(NONE, *attempts, storage=storage) == ["done"] * 5


@pytest.fixture
def volumes(tmp_path):
    """A writable and a read-only one, of two folders: Landlock knows a folder by its inode, wherever it is mounted."""
    for name in ("data", "assets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text("#!/bin/sh\n")
        (tmp_path / name / "tool").chmod(0o755)
    return [
        {"host": str(tmp_path / "data"), "container": "/data", "owner": "root"},
        {"host": str(tmp_path / "assets"), "container": "/assets", "readonly": True},
    ]


@pytest.mark.parametrize("name", ["default", "strict"])
def test_volumes_and_tmpfs_extend_a_profile(inside, volumes, name):
    storage = {"writable_layer": "none", "tmpfs": ["/cache"], "volumes": volumes}
    attempts = ("write=/data/x", "folder=/cache/y", "read=/assets/tool", "write=/assets/x", "write=/dev/shm/x")
    found = inside(profile(name), *attempts, storage=storage)
    assert found == ["done", "done", "done", "EROFS", "done"]


def test_strict_runs_what_cannot_be_changed_and_nothing_else(inside, volumes):
    storage = {"volumes": volumes}
    attempts = ("run=/usr/bin/true", "run=/assets/tool", "run=/data/tool")
    assert inside(profile("strict"), *attempts, storage=storage) == ["done", "done", "EACCES"]
    assert inside({}, *attempts, storage=storage) == ["done"] * 3


EXECUTED_THERE = """
abi = 1
[[path_beneath]]
parent = ["/usr", "/bin", "/lib", "/lib64", "${workdir}"]
allowed_access = ["execute"]
"""


def test_strict_runs_nothing_that_is_written_where_the_command_starts(inside, volumes):
    """A policy that gives its folder the right whatever lies there does."""
    start = {"workload": {"workdir": "/data"}, "storage": {"volumes": volumes}}
    attempts = ("write=/data/made", "run=/data/tool")
    assert inside(profile("strict"), *attempts, **start) == ["done", "EACCES"]
    assert inside(inside.policy(EXECUTED_THERE), *attempts, **start) == ["done"] * 2


def test_strict_runs_the_commands_own_folder_where_nothing_is_written(volt, busybox, tmp_path):
    subprocess.run(["cp", "-a", busybox, tmp_path / "root"], check=True)
    (tmp_path / "root/app").mkdir()
    shutil.copy2(tmp_path / "root/bin/busybox", tmp_path / "root/app/true")

    def ended(name, **layer):
        own = {"workload": {"workdir": "/app"}, "storage": {"rootfs": str(tmp_path / "root"), **layer}}
        return volt.run("./true", security=profile(name), **own).returncode

    assert ended("strict", writable_layer="none") == 0
    assert ended("strict", writable_layer="tmpfs") == 126
    assert ended("default", writable_layer="tmpfs") == 0


def test_strict_says_126_of_a_command_where_data_lies(volt, volumes):
    done = volt.run("/data/tool", security=profile("strict"), storage={"volumes": volumes})
    assert done.returncode == 126
    assert b"cannot run '/data/tool': Permission denied" in done.stderr


@needs(2)
def test_a_file_is_not_moved_to_another_folder_without_the_right(inside):
    policy = WRITABLE.replace("abi = 1", "abi = 2")
    attempts = ("folder=/tmp/a", "write=/tmp/f", "rename=/tmp/f,/tmp/a/f")
    assert inside(inside.policy(policy), *attempts) == ["done"] * 3
    without = policy.replace('"abi.read_write"', '"v1.read_write"').replace('"abi.read_execute"', '"v1.read_execute"')
    assert inside(inside.policy(without), *attempts) == ["done", "done", "EXDEV"]


@needs(3)
def test_a_file_is_not_cut_short_without_the_right(inside):
    """write_file alone is to append: what is there stays."""
    policy = WRITABLE.replace("abi = 1", "abi = 3")
    attempts = ("append=/tmp/f", "truncate=/tmp/f", "write=/tmp/f")
    assert inside(inside.policy(policy), *attempts) == ["done"] * 3
    without = inside.policy(policy.replace('"abi.read_write"', '"v2.read_write"'))
    assert inside(without, *attempts) == ["done", "EACCES", "EACCES"]


@needs(5)
def test_a_device_takes_no_commands_without_the_right(inside):
    """/dev/null knows none: that it says so is what is withheld."""
    policy = WRITABLE.replace("abi = 1", "abi = 5")
    assert inside(inside.policy(policy), "ioctl=/dev/null") == ["EACCES"]
    assert inside(inside.policy(policy.replace('"/tmp"', '"/tmp", "/dev"')), "ioctl=/dev/null") == ["ENOTTY"]
    assert inside({}, "ioctl=/dev/null") == ["ENOTTY"]


def test_standard_input_can_be_opened_again(inside):
    """It lies in another mount namespace, where no rule's path leads."""
    script = "cat /dev/stdin; cat < /proc/self/fd/0"
    for name in ("default", "strict"):
        assert inside.volt.shell(script, security=profile(name), call={"stdin": -3}) == ""


# ── ports

HOST = {"mode": "host"}


@contextmanager
def free_ports(count):
    """Ports that nobody uses, above those that programs get by themselves."""
    found = []
    for port in range(61001, 65500):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            break
    yield found


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@needs(4)
@pytest.mark.parametrize(
    ("name", "undeclared", "elsewhere"),
    [
        pytest.param("strict", "EACCES", "EACCES", marks=needs(6)),
        ("default", "EACCES", "done"),
        ("permissive", "done", "done"),
    ],
)
def test_ports_in_the_hosts_network(inside, listening, name, undeclared, elsewhere):
    with free_ports(2) as (declared, other):
        network = {**HOST, "ports": [str(declared)]}
        attempts = (f"bind={declared}", f"bind={other}", "bind=0", f"connect={listening}")
        found = inside(profile(name), *attempts, network=network)
    assert found == ["done", undeclared, undeclared, elsewhere]


@needs(4)
@pytest.mark.parametrize(("name", "bound"), [("strict", "EACCES"), ("default", "done"), ("permissive", "done")])
def test_ports_in_a_network_namespace_of_its_own(inside, name, bound):
    assert inside(profile(name), "bind=8080", "bind=0") == [bound, bound]


# ── scopes


@pytest.fixture
def reachable():
    """The name of an abstract socket of the host's."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0volt-test-of-landlock")
        server.listen()
        yield "abstract=volt-test-of-landlock"


@needs(6)
@pytest.mark.parametrize(("name", "found"), [("strict", "EPERM"), ("default", "EPERM"), ("permissive", "done")])
def test_abstract_sockets_of_the_host(inside, reachable, name, found):
    assert inside(profile(name), reachable, network=HOST) == [found]


@needs(6)
def test_a_scope_closes_what_it_names_alone(inside, reachable):
    def scoped(name):
        return inside.policy(f'[[ruleset]]\nscoped = ["{name}"]\n')

    assert inside(scoped("signal"), reachable, "signal=1", network=HOST) == ["done", "done"]
    assert inside(scoped("abstract_unix_socket"), reachable, "signal=1", network=HOST) == ["EPERM", "done"]


@needs(6)
@pytest.mark.parametrize("name", ["default", "strict"])
def test_processes_inside_are_no_strangers_to_each_other(volt, name):
    """The init is in the domain too: else a payload could not even ask for it."""
    script = "setsid sleep 60 & kill -0 1 && kill $! && wait $!; echo $?"
    assert volt.shell(script, security=profile(name)) == "143\n"


def test_the_domain_is_entered_once_and_can_be_narrowed_from_inside(inside):
    """landlock_restrict_self(2) of the payload's own works: what it starts is below it."""
    script = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
made = libc.syscall(444, ctypes.create_string_buffer(struct.pack("Q", 2)), ctypes.c_size_t(8), 0)
libc.prctl(38, 1, 0, 0, 0)
assert libc.syscall(446, made, 0) == 0, os.strerror(ctypes.get_errno())
try:
    open("/tmp/x", "w")
except PermissionError:
    print("narrowed")
"""
    done = inside.volt.run("python3", "-c", script)
    assert done.stdout == b"narrowed\n", done.stderr


# ── paths of rules


def outcome(volt, tmp_path, security, *command, manifest=None, **kinds):
    file = tmp_path / "outcome.json"
    path = manifest or volt.manifest(security=security, **kinds)
    done = volt("run", path, "--outcome", file, "--", *command)
    return done, json.loads(file.read_text())


MISSING = WRITABLE + '[[path_beneath]]\nparent = ["/nowhere/at/all"]\nallowed_access = ["write_file"]\n'


def test_a_required_path_that_is_not_there_ends_the_start(inside, volt, tmp_path):
    done, found = outcome(volt, tmp_path, inside.policy(MISSING), "true")
    assert (done.returncode, found["by"], found["step"], found["error"]) == (125, "volt", "allow-beneath", "ENOENT")
    assert "/nowhere/at/all" in found["message"]


def test_a_path_of_a_use_rule_that_is_not_there_is_passed_over_and_told(inside, volt, tmp_path):
    done, found = outcome(volt, tmp_path, inside.policy(f'{MISSING}enforce = "use"\n'), "true")
    assert (done.returncode, found["skipped"]) == (0, ["/nowhere/at/all"])


def test_many_paths_that_are_not_there_are_told_as_far_as_there_is_room(inside, volt, tmp_path):
    paths = [f"/nowhere/{n:060}" for n in range(100)]
    rule = f'[[path_beneath]]\nparent = {json.dumps(paths)}\nallowed_access = ["write_file"]\nenforce = "use"\n'
    done, found = outcome(volt, tmp_path, inside.policy(WRITABLE + rule), "true")
    assert done.returncode == 0
    assert found["skipped"][-1] == "..."
    assert found["skipped"][:-1] == paths[: len(found["skipped"]) - 1]
    assert len(found["skipped"]) > 20


LINKED = WRITABLE.replace('"/tmp"', '"/tmp", "/var/lib/x", "/var/run"').replace("abi = 1", f"abi = {min(ABI, 3)}")


@pytest.fixture(params=["host", "folder"])
def kept(request, volt, inside, busybox, tmp_path):
    """A workload with a kept layer, and a policy with links on its paths: the image's /var/run, the payload's own."""
    root = "host"
    if request.param == "folder":
        root = front.small_root(tmp_path / "root", busybox)
        (root / "var").mkdir()
        (root / "var/run").symlink_to("/run")
    security = inside.policy(LINKED)
    sections = {"workload": {"name": "linked"}, "storage": {"rootfs": str(root), "writable_layer": "overlay"}}
    yield volt.manifest(security=security, **sections), volt.manifest(security=NONE, **sections)
    volt.shell("true", manifest=volt.manifest(security=NONE, **sections), options=("--fresh",))


def test_a_link_of_the_image_is_followed_also_in_a_kept_layer(volt, kept):
    walled, free = kept
    volt.shell("mkdir -p /var/lib/x", manifest=free)
    assert (
        volt.shell(
            "echo x > /run/x && echo x > /var/lib/x/y && cat /run/x; echo x > /srv/x || echo no", manifest=walled
        )
        == "x\nno\n"
    )


def test_a_link_that_a_payload_left_is_not_followed(volt, tmp_path, kept):
    walled, free = kept
    volt.shell("mkdir -p /var/lib; ln -sfn /srv /var/lib/x", manifest=free)
    done, found = outcome(volt, tmp_path, None, "true", manifest=walled)
    assert (done.returncode, found["step"]) == (125, "allow-beneath")
    assert "/var/lib/x: a link on the way may be a payload's" in found["message"]


def test_the_images_link_that_a_payload_has_turned_is_not_followed(volt, tmp_path, kept):
    walled, free = kept
    volt.shell("mkdir -p /var/lib/x; ln -sfn /srv /var/run", manifest=free)
    done, found = outcome(volt, tmp_path, None, "true", manifest=walled)
    assert (done.returncode, found["step"]) == (125, "allow-beneath")
    assert "/var/run" in found["message"]


def test_a_link_in_a_writable_volume_is_not_followed_but_in_a_read_only_one(inside, volt, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to("/srv")
    rule = '[[path_beneath]]\nparent = ["/data/link"]\nallowed_access = ["write_file", "make_reg"]\n'
    security = inside.policy(WRITABLE + rule)
    volume = {"host": str(tmp_path / "data"), "container": "/data", "owner": "root"}
    done, found = outcome(volt, tmp_path, security, "true", storage={"volumes": [volume]})
    assert (done.returncode, found["step"]) == (125, "allow-beneath")
    script = ("sh", "-c", "echo x > /srv/x")
    volume = {**volume, "readonly": True}
    done, found = outcome(volt, tmp_path, security, *script, storage={"volumes": [volume]})
    assert done.returncode == 0, done.stderr


# ── the face


def test_what_is_wrong_with_a_policy_is_told_with_its_lines(inside, volt):
    security = inside.policy('[[ruleset]]\nscoped = ["signla"]\n[[path_beneath]]\nparent = ["x"]\n')
    done = volt("plan", volt.manifest(security=security), "--json", "--", "true")
    found = json.loads(done.stdout)["findings"]
    assert [(one["code"], one["line"], one["file"].rpartition("/")[2]) for one in found] == [
        ("unknown-right", 2, "policy.toml"),
        ("bad-landlock-policy", 3, "policy.toml"),
        ("bad-landlock-policy", 4, "policy.toml"),
    ]


def test_a_policy_that_is_not_there_is_told_where_it_is_named(volt):
    security = {"landlock_profile": "./absent.toml"}
    done = volt("plan", volt.manifest(security=security), "--", "true")
    assert b"cannot be read: No such file or directory [bad-landlock-policy]" in done.stderr
    assert b"landlock_profile" in done.stderr


def test_a_changed_policy_is_another_plan(tmp_path, busybox):
    one = front.Front(tmp_path, front.Installation(tmp_path))
    policy = tmp_path / "policy.toml"
    policy.write_text(WRITABLE)
    root = front.small_root(tmp_path / "root", busybox)
    security = {"landlock_profile": "custom", "landlock_policy": "policy.toml"}
    one.manifest(security=security, storage={"rootfs": str(root), "writable_layer": "tmpfs"})
    words = ("run", "m1.toml", "--", "sh", "-c", "echo x > /srv/x && echo written || echo refused")
    front.let_age()
    assert one.planned(*words).stdout == b"refused\n"
    assert one.cached(*words).stdout == b"refused\n"
    policy.write_text(WRITABLE.replace('"/tmp"', '"/tmp", "/srv"'))
    assert not one.hits(*words)
    assert one.planned(*words).stdout == b"written\n"


def test_strict_in_the_hosts_network_starts_where_the_kernel_can_hold_it_and_is_refused_by_name_elsewhere(volt):
    manifest = volt.manifest(security=profile("strict"), network=HOST)
    done = volt("run", manifest, "--", "true")
    if ABI >= 6:
        assert done.returncode == 0
        return
    assert done.returncode == 125
    for words in (b"abstract_unix_socket (Linux 6.12)", b"--allow-unenforced landlock"):
        assert words in done.stderr
    assert volt("run", manifest, "--allow-unenforced", "landlock", "--", "true").returncode == 0


# ── programs


@pytest.mark.parametrize("name", ["default", "strict"])
def test_python_with_processes_threads_and_sockets(volt, name):
    script = """
import os, socket, subprocess, tempfile, threading
print(subprocess.run(["sh", "-c", "echo process | tr a-z A-Z"], capture_output=True, text=True).stdout.strip())
worker = threading.Thread(target=lambda: print("thread", flush=True))
worker.start()
worker.join()
one, other = socket.socketpair()
one.send(b"pair")
print(other.recv(9).decode())
server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
with tempfile.TemporaryDirectory() as folder:
    server.bind(f"{folder}/s")
    server.listen()
    client.connect(f"{folder}/s")
    print("path")
import multiprocessing
with multiprocessing.Pool(2) as pool:
    print(sum(pool.map(abs, [-1, -2])))
print(os.cpu_count() > 0)
"""
    done = volt.run("python3", "-c", script, security=profile(name))
    assert done.stdout.decode().split() == ["PROCESS", "thread", "pair", "path", "3", "True"], done.stderr.decode()


@pytest.mark.parametrize(("name", "ended"), [("default", 0), ("strict", 126)])
def test_a_compiler_works_and_what_it_makes_runs_where_programs_may(volt, name, ended):
    script = "cd /tmp && echo 'int main(void) { return 0; }' > a.c && gcc -o a a.c && test -x a && ./a"
    done = volt.run("sh", "-c", script, security=profile(name))
    assert done.returncode == ended, done.stderr.decode()


def test_the_probes_themselves_notice_where_nothing_is_withheld(tmp_path):
    """On the host, outside of any workload."""
    (tmp_path / "f").write_text("long")
    attempts = (f"truncate={tmp_path}/f", f"fifo={tmp_path}/p", "ioctl=/dev/null", "bind=0", "run=/bin/true")
    done = subprocess.run([sys.executable, "-c", PROBE, *attempts], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["done", "done", "ENOTTY", "done", "done"]
