"""Payloads that do not want to be listed, read, or ended: what comes of each, within which time, and with which status.

While one is at it every verb answers, and a workload beside it is started, entered and stopped as ever. Nothing that a
payload says of itself is obeyed by the terminal of whoever looks.
"""

import os
import pty
import secrets
import select
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.host.living import until
from volt import api
from volt.api.looking import running
from volt.host.facts import folders
from volt.runs.processes import tree_of

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r"
# Before each: `up` says that it is at it; `go` waits until the test has looked around.
BEGIN = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None)
def up(): open("/data/up", "w").close()
def go():
    up()
    while not os.path.exists("/data/go"): time.sleep(0.01)
def named(argv, name):
    # The words that /proc/PID/cmdline shows, and the name that /proc/PID/comm does: PR_SET_NAME of prctl(2).
    at = ctypes.c_void_p.in_dll(libc, "program_invocation_name").value
    ctypes.memmove(at, argv, len(argv))
    libc.prctl(15, name, 0, 0, 0)
"""
LOOKS = 9.0  # seconds within which a verb that looks has answered, the machine being busy; one that gives up takes ten
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Hostile:
    """A payload in Python, what is done to end it, and what comes of that."""

    script: str
    stop: float | None  # seconds of `volt stop --timeout`; None: it ends by itself, once it may go on
    status: int  # of the run
    within: float  # seconds from there to the end
    logged: int = 0  # bytes that its log has at most; 0: of no interest
    sections: dict = field(default_factory=dict)


DEAF = "for number in range(1, 65):\n    number not in (9, 19, 32, 33) and signal.signal(number, signal.SIG_IGN)\n"
LOG = {"rate": "4G", "max_size": "4M", "max_files": 2}
PAYLOADS = {
    "ignores every signal": Hostile(f"{DEAF}up()\ntime.sleep(300)", stop=1, status=137, within=6),
    "stops itself": Hostile("up()\nos.kill(os.getpid(), signal.SIGSTOP)", stop=1, status=137, within=6),
    "floods its log with escape sequences": Hostile(
        f"up()\nwhile True: os.write(1, {EVIL!r}.encode() * 1000 + b'\\n')",
        stop=10,
        status=143,
        within=5,
        logged=9 * MEGABYTE,
        sections={"log": {"max_size": "4M", "max_files": 2}},
    ),
    "writes a line of 100 MB": Hostile(
        "go()\nfor _ in range(100): os.write(1, b'x' * 1000000)",
        stop=None,
        status=0,
        within=20,
        logged=9 * MEGABYTE,
        sections={"log": LOG},
    ),
    "closes its output": Hostile("os.close(1)\nos.close(2)\ngo()\nsys.exit(5)", stop=None, status=5, within=5),
    "forks away": Hostile(
        f"""
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    for descriptor in range(1000):
        try: os.close(descriptor)
        except OSError: pass
    {DEAF.strip().replace(chr(10), chr(10) + "    ")}
    up()
    time.sleep(300)
go()
sys.exit(3)""",
        stop=None,
        status=3,
        within=5,
    ),
    "fills its disk": Hostile(
        """
go()
try:
    with open("/var/tmp/all", "wb", buffering=0) as file:
        for _ in range(100): file.write(bytes(1 << 20))
except OSError as error: sys.exit(error.errno)""",
        stop=None,
        status=28,  # ENOSPC
        within=10,
        sections={"storage": {"layer_size": "8M"}},
    ),
    "fills its log": Hostile(
        "go()\nfor _ in range(1000): os.write(2, b'line of a log\\n' * 5000)",
        stop=None,
        status=0,
        within=20,
        logged=9 * MEGABYTE,
        sections={"log": LOG},
    ),
    "calls itself as volt's own processes": Hostile(
        r"named(b'volt\0perform\0003\0', b'volt')" + "\nif os.fork() == 0: named(b'/proc/self/fd/3\\0init\\0', b'3')"
        "\nup()\ntime.sleep(300)",
        stop=10,
        status=143,
        within=5,
    ),
}


class Stranger:
    """A hostile payload that is at it."""

    def __init__(self, volt, share, name, script, **sections):
        self.token = secrets.token_hex(8)
        self.share = share
        volumes = [{"host": str(share), "container": "/data"}]
        storage = {**sections.pop("storage", {}), "volumes": volumes}
        manifest = volt.manifest(workload={"name": name}, storage=storage, **sections)
        self.id = api.detach(manifest, command=["python3", "-c", BEGIN + script], env={"STRANGER": self.token})
        until((share / "up").exists, "what it is up to")

    def go_on(self):
        (self.share / "go").touch()

    def processes(self):
        """All that it has started, wherever they went: they have its environment."""
        return [pid for pid in os.listdir("/proc") if pid.isdecimal() and self._is_of_it(pid)]

    def _is_of_it(self, pid):
        try:
            return f"STRANGER={self.token}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


@pytest.fixture
def stranger(volt, volume, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    yield lambda name, script, **sections: Stranger(volt, volume, name, script, **sections)
    api.rm(every=True, force=True, timeout=0)
    api.gc(older_than=0)


def timed(act, limit):
    """What it gives, in time."""
    begun = time.monotonic()
    result = act()
    assert time.monotonic() - begun < limit
    return result


def quick(volt, *words):
    done = timed(lambda: volt(*words, stdin=subprocess.DEVNULL), LOOKS)
    return done.returncode, done.stdout + done.stderr


def other_workload(volt):
    """One beside it, from its start to its end."""
    run = api.detach(volt.manifest(workload={"name": "beside"}), command=["sleep", "60"])
    with api.execute("beside", ["true"], stdout=api.DEVNULL, stderr=api.DEVNULL) as command:
        assert command.wait(LOOKS).status == 0
    assert timed(lambda: api.stop(run)[0].status, LOOKS) == 143


@pytest.mark.parametrize("name", PAYLOADS)
def test_it_ends_in_time_and_is_in_nobodys_way(volt, stranger, name):
    payload = PAYLOADS[name]
    one = stranger("stranger", payload.script, **payload.sections)
    assert one.processes() != []
    for words in (("ps",), ("top", "stranger"), ("logs", "-n", "1", "stranger"), ("exec", "stranger", "--", "true")):
        assert quick(volt, *words)[0] == 0
    other_workload(volt)
    one.go_on()
    if payload.stop is None:
        (ended,) = timed(lambda: api.wait("stranger", timeout=payload.within + LOOKS), payload.within)
    else:
        (ended,) = timed(lambda: api.stop("stranger", timeout=payload.stop), payload.within)
    assert (ended.state, ended.status) == ("exited", payload.status)
    assert one.processes() == []
    files = list((volt.state / "log" / one.id).iterdir())
    assert not payload.logged or 0 < sum(file.stat().st_size for file in files) <= payload.logged
    quick(volt, "logs", "-n", "1", "stranger")
    timed(lambda: api.logs("stranger").copy(Nowhere(), Nowhere()), 4 * LOOKS)


class Nowhere:
    def write(self, data):
        pass


def test_the_true_payload_is_meant_whatever_calls_itself_so(stranger):
    """A signal goes to it, and to no process that looks like one of volt's."""
    one = stranger("stranger", PAYLOADS["calls itself as volt's own processes"].script)
    tree = tree_of(running(folders(), "stranger"))
    assert {str(pid) for pid in tree.inside} == set(one.processes())
    assert {Path(f"/proc/{pid}/comm").read_text() for pid in tree.inside} == {"volt\n", "3\n"}
    api.kill("stranger", signal="TERM")
    assert api.wait("stranger", timeout=LOOKS)[0].status == 143


def test_a_terminal_that_nobody_reads_does_not_hold_up_its_end(volt, monkeypatch):
    """What is still to be shown is given up when somebody ends the run; how it ended is known all the same."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    manifest = volt.manifest(workload={"name": "stranger"})
    master, slave = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    flood = ("python3", "-c", "import os\nwhile True: os.write(1, b'x' * 1000)")
    process = volt.start("run", manifest, "--", *flood, **streams, start_new_session=True)
    until(lambda: select.select([master], [], [], 0)[0], "the flood")
    assert quick(volt, "exec", "stranger", "--", "true")[0] == 0
    (ended,) = timed(lambda: api.stop("stranger", timeout=1), 8)
    assert (ended.state, ended.status, process.wait(LOOKS)) == ("exited", 143, 143)
    for descriptor in (master, slave):
        os.close(descriptor)


# ── the terminal of whoever looks


LOOKING = (
    ("ps", "-a"),
    ("inspect", "stranger"),
    ("top", "stranger"),
    ("stats", "--no-stream", "stranger"),
    ("diff", "stranger"),
    ("audit", "stranger"),
    ("logs", EVIL),
    ("stop", EVIL),
)
RUNNING = (
    ("exec", "stranger", "--", f"/{EVIL}"),
    ("exec", "-w", f"/{EVIL}", "stranger", "--", "true"),
    ("exec", "-u", EVIL, "stranger", "--", "true"),
)
SHOWN = ("top", "diff", "exec", "logs", "stop")  # they tell what is so called, in a form that is harmless


@pytest.fixture
def masked(stranger):
    """A payload whose words, name, files and accounts are escape sequences."""
    script = f"""
evil = {EVIL!r}.encode()
os.makedirs(b"/var/tmp/" + evil)
open(b"/var/tmp/file" + evil, "w").close()
os.symlink(evil, b"/var/tmp/link" + evil)
os.chdir(b"/var/tmp/" + evil)
named(evil + b"\\0", evil[:15])
up()
time.sleep(300)"""
    return stranger("stranger", script)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_nothing_of_a_payload_s_making_is_obeyed_by_a_terminal(volt, masked, form):
    obeyed = {}
    for verb, *words in LOOKING if form else (*LOOKING, *RUNNING):
        _, said = quick(volt, verb, *form, *words)
        assert said, verb
        obeyed[verb, *words] = {char for char in said.decode() if char != "\n" and not char.isprintable()}
        assert verb not in SHOWN or "owned" in said.decode(), verb
    assert {words: found for words, found in obeyed.items() if found} == {}


def test_a_terminal_would_have_obeyed_it(volt, masked):
    """The counter-proof: the sequences are there to be seen, by whoever looks without volt."""
    (pid,) = masked.processes()
    assert EVIL.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert EVIL.encode()[:15] in Path(f"/proc/{pid}/comm").read_bytes()
