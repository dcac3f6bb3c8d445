"""With only its mode changed a manifest's command sees and does the same as a unit of a booted Debian; what is not the
same is listed here, and in docs/modes.toml. tests/unit/test_modes.py holds all of it against plans."""

import json
import os
import tomllib

import pytest

from tests.booting import PATIENCE, inside, state_of
from tests.programs.conftest import IN_BOTH_MODES, OWNER

# What a command can see of its manifest, as JSON.
LOOK = r"""
import ctypes, errno, grp, json, os, pwd, resource, socket, sys

def tried(path, text=""):
    try:
        with open(path, "a") as file:
            file.write(text)
        return "written"
    except OSError as error:
        return errno.errorcode[error.errno]

def options(path):
    lines = [line.split() for line in open("/proc/self/mountinfo")]
    found = [line for line in lines if line[4] == path][-1]
    return sorted({*found[5].split(",")} & {"ro", "nosuid", "nodev", "noexec"})

status = dict(line.split(":\t", 1) for line in open("/proc/self/status"))
space = lambda path: os.statvfs(path).f_blocks * os.statvfs(path).f_frsize
links = sorted(name for _, name in socket.if_nameindex())
print(json.dumps({
    "words": sys.argv[1:],
    "user": pwd.getpwuid(os.getuid()).pw_name,
    "ids": [os.getuid(), os.getgid(), sorted(os.getgroups())],
    "folder": os.getcwd(),
    "environment": {name: os.environ.get(name) for name in ("PATH", "HOME", "USER", "HOSTNAME", "WORD")},
    "host": [socket.gethostname(), open("/etc/hostname").read(), "127.0.1.1 other" in open("/etc/hosts").read()],
    "limits": [resource.getrlimit(one) for one in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
    "volumes": [tried("/data/made", "x"), tried("/fixed/made"), options("/data"), options("/fixed"),
                os.stat("/data").st_uid, open("/fixed/word").read()],
    "memory": [space("/cache"), space("/dev/shm"), tried("/cache/made", "x"), options("/cache")],
    "root": [tried("/usr/made"), tried("/var/tmp/made"), tried("/tmp/made")],
    "links": links,
    "resolvers": [line for line in open("/etc/resolv.conf") if line.startswith("nameserver")],
    "calls refused": [name for name, number in {"bpf": 321, "add_key": 248, "kexec_load": 246, "mount": 165}.items()
                      if ctypes.CDLL(None, use_errno=True).syscall(number, 0xFFFF, 0, 0, 0, 0) == -1
                      and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)],
    "capabilities": int(status["CapEff"], 16),
    "filters": int(status["Seccomp"]),
    "no_new_privs": int(status["NoNewPrivs"]),
    "process 1": open("/proc/1/comm").read(),
}))
"""
# An init mounts, so its filter lets that through to the kernel, which asks for the capability; sudo is to work.
INHERENT = {"process 1", "no_new_privs", "calls refused"}
WORDS = ["a b", 'in "it"', "$HOME", "100%"]


def everything(volt, user, **sections):
    """A manifest that uses what a container can have, and lets its command look."""
    for name in ("data", "fixed"):
        folder = volt.folder / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, OWNER, OWNER)
    (volt.folder / "fixed/word").write_text("of the host")
    (volt.folder / "fixed/look.py").write_text(LOOK)
    given = {
        "workload": {
            "command": ["python3", "/fixed/look.py", *WORDS],
            "user": user,
            "workdir": "/var/tmp",
            "hostname": "other",
            "env": {"WORD": 'in "it" 5% $HOME'},
        },
        "limits": {"nofile": "100:200", "core": 0},
        "storage": {
            "rootfs": str(volt.root),
            "tmpfs": ["/cache:size=1M,mode=1777"],
            "shm_size": "2M",
            "volumes": [
                {"host": str(volt.folder / "data"), "container": "/data", "as": user},
                {"host": str(volt.folder / "fixed"), "container": "/fixed", "readonly": True},
            ],
        },
    }
    for section, values in sections.items():
        given.setdefault(section, {}).update(values)
    return volt.manifest(**given)


def seen(volt, path, mode):
    """What the command sees with only the mode changed."""
    changed = path.with_name(f"{mode}.toml")
    changed.write_text(path.read_text().replace('mode = "container"', f'mode = "{mode}"'))
    done = volt("run", changed, timeout=PATIENCE)
    assert done.returncode == 0, (done.stdout, done.stderr)
    try:
        return json.loads(done.stdout)
    except ValueError as failure:
        failure.add_note(repr(done.stdout))
        raise


CASES = {
    "a user in a writable root, alone": ("www-data", {}),
    "root in a read-only root, on the bridge": (
        "root",
        {
            "storage": {"writable_layer": "none"},
            "network": {"mode": "bridge", "dns": ["192.0.2.9"]},
            "security": {"capabilities": ["CHOWN", "SETUID", "SETGID", "SYS_ADMIN"], "landlock_profile": "permissive"},
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_command_sees_the_same(volt, case):
    user, sections = CASES[case]
    path = everything(volt, user, **sections)
    container, booted = (seen(volt, path, mode) for mode in ("container", "hybrid-native"))
    assert container["words"] == WORDS
    assert container["volumes"][:2] == ["written", "EROFS"]
    assert {"bpf", "add_key", "kexec_load"} <= {*booted["calls refused"]}
    unlike = {key: (container[key], booted[key]) for key in container if container[key] != booted[key]}
    assert unlike.keys() == INHERENT, unlike


@IN_BOTH_MODES
def test_what_is_done_with_a_workload_does_the_same(volt):
    served = {"command": ["sh", "-c", "echo at work; exec python3 -m http.server 8000 --directory /var/tmp"]}
    path = volt.manifest(
        workload={"mode": volt.mode, **served},
        service={"ready": "http:8000/", "ready_timeout": f"{PATIENCE:.0f}s"},
        network={"mode": "bridge", "ports": ["18080:8000"]},
        limits={"core": 0},
        storage={"rootfs": str(volt.root), "writable_layer": "overlay"},
    )
    name = tomllib.loads(path.read_text())["workload"]["name"]
    started = volt("run", "-d", path, timeout=PATIENCE)
    assert started.returncode == 0, started.stderr
    (volt.folder / "page").write_text("copied")
    assert volt("cp", volt.folder / "page", f"{name}:/var/tmp/page").returncode == 0
    assert volt.page("http://127.0.0.1:18080/page") == b"copied"
    assert inside(volt, name, "id", "-un") == "root\n"
    assert volt("exec", "--user", "www-data", name, "--", "id", "-un").stdout == b"www-data\n"
    assert volt("exec", name, "--", "sh", "-c", "exit 7").returncode == 7
    assert inside(volt, name, "sh", "-c", "ulimit -Hc") == "0\n"
    assert b"at work" in volt("logs", name).stdout
    assert b"http.server" in volt("top", name).stdout
    assert volt("pause", name).returncode == 0
    assert state_of(volt, name)["state"] == "paused"
    assert volt("unpause", name).returncode == 0
    assert b"A /var/tmp/page" in volt("diff", name).stdout
    assert volt("restart", name, timeout=PATIENCE).returncode == 0
    assert volt.page("http://127.0.0.1:18080/page") == b"copied", "the layer is kept"
    assert volt("stop", name).returncode == 0
    assert state_of(volt, name)["status"] == (143 if volt.mode == "container" else 0)
    assert volt("rm", name).returncode == 0
