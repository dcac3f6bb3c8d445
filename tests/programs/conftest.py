"""What the tests of programs share: a Debian, a volt whose host network is nobody's, and the examples' manifests."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from guest import BOUND
from tests.host.conftest import Volt, busybox, leaving_nothing  # noqa: F401, a fixture too
from tests.programs.root import debian_root

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples/programs"
PATIENCE = 30.0  # seconds until a server answers: the first start of a database makes its files
OWNER = 5000  # whose the data is on the host: anybody but root

# A network namespace with nothing but lo. It lasts as long as this process, which ends with the tests.
ALONE = "busybox ip link set lo up && echo up && exec sleep infinity"


# A test of a manifest that means the same where the image's own init is booted: its command is a unit of that then.
IN_BOTH_MODES = pytest.mark.parametrize("volt", ["container", "hybrid-native"], indirect=True)


class Programs(Volt):
    """A volt for the examples of programs, whose host network is a namespace of the test's own. Of an example only the
    mode is changed."""

    def __init__(self, folder, root, entered, mode="container"):
        super().__init__(folder)
        self.root, self.entered, self.mode = root, entered, mode

    def command(self, arguments):
        return [*self.entered, *super().command(arguments)]

    def example(self, name, *words, **variables):
        """The arguments of `volt run` for an example."""
        values = {"ROOT": self.root, **variables}
        given = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        return ("run", *given, self.written(name), *(["--", *words] if words else []))

    def written(self, name):
        """The manifest of an example, in this volt's mode."""
        changed = self.folder / f"{name}.toml"
        changed.write_text(f'extends = "{EXAMPLES}/{name}.toml"\n[workload]\nmode = "{self.mode}"\n')
        return changed

    def does(self, name, *words, timeout=60, **variables):
        """What an example prints, which has to end well."""
        done = self(*self.example(name, *words, **variables), timeout=timeout)
        assert done.returncode == 0, (done.stdout[-4000:], done.stderr[-4000:])
        return done.stdout.decode()

    @contextmanager
    def serving(self, name, ends=0, **variables):
        """An example that serves: the process, and the file of what it prints. SIGTERM ends it, with status `ends`."""
        said = self.folder / f"{name}.log"
        with said.open("ab") as log:
            server = self.start(*self.example(name, **variables), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield server, said
        except Exception as failure:
            failure.add_note(said.read_text(errors="replace"))
            raise
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(PATIENCE)
        assert status == ends, said.read_text(errors="replace")

    def client(self, *command, env=None, volumes=()):
        """What a program of the same Debian prints, in a workload of its own beside the server."""
        storage = {"rootfs": str(self.root), "volumes": list(volumes)}
        return self.run(
            *command, workload={"env": env or {}}, network={"mode": "host"}, storage=storage, call={"timeout": PATIENCE}
        )

    def answer(self, *command, **kinds):
        """What a client prints as soon as it succeeds."""
        return until(lambda: self.client(*command, **kinds)).stdout.decode()

    def page(self, url):
        """A page, by a client of the host's."""
        fetch = [*self.entered, sys.executable, TOP / "scripts/fetch.py", url]
        return subprocess.run(fetch, capture_output=True, timeout=PATIENCE, check=True).stdout

    def data(self, name):
        """An empty folder of the host's, as an administrator prepares it for a server's data."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        os.chown(folder, OWNER, OWNER)
        return folder


def until(attempt):
    """What an attempt comes to when it succeeds: it is repeated until then."""
    deadline = time.monotonic() + PATIENCE
    while (done := attempt()).returncode:
        assert time.monotonic() < deadline, (done.stdout, done.stderr)
        time.sleep(0.1)
    return done


@pytest.fixture(scope="session")
def debian():
    """The root file system of all programs."""
    return debian_root()


@pytest.fixture
def network():
    """The words before a command that is to see a network of this test's own."""
    holder = subprocess.Popen([*BOUND, "unshare", "--net", "sh", "-c", ALONE], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"up\n"
        yield ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "--")
        holder.kill()


@pytest.fixture
def volt(tmp_path, debian, network, request):
    with leaving_nothing(Programs(tmp_path, debian, network, getattr(request, "param", "container"))) as one:
        yield one


@pytest.fixture
def connected(tmp_path, debian):
    """A volt in the machine's own network, to fetch packages."""
    with leaving_nothing(Programs(tmp_path, debian, ())) as one:
        yield one
