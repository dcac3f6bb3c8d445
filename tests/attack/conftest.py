"""What the attacks share: a volt of a test's own, hostile images, and the programs that attack from inside."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.attack.plans import Attacker
from tests.host.conftest import busybox, volt  # noqa: F401, fixtures

HERE = Path(__file__).parent
PROBE = (HERE / "probe.py").read_text()


@pytest.fixture
def attack(volt, monkeypatch):  # noqa: F811
    """Launches payloads: as planned, or without a wall."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    return Attacker(volt)


@pytest.fixture
def probe(attack):
    """Attempts of probe.py from inside, in Python of the host's /usr: one word for each."""

    def attempts(*words, **sections):
        return attack("python3", "-c", PROBE, *words, **sections).words

    return attempts


@pytest.fixture
def scratch():
    """A folder where set-uid programs and devices count: Debian 13 has /tmp without."""
    folder = Path(tempfile.mkdtemp(prefix="volt-attack-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def outside(scratch):
    """A folder of the host's that anyone may write to: what a way out would be seen by."""
    folder = scratch / "outside"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "mark").write_text("the host's\n")
    (folder / "mark").chmod(0o666)
    return folder


class Image:
    """A root file system that its author has made hostile."""

    def __init__(self, root):
        self.root = root

    def storage(self, **more):
        return {"rootfs": str(self.root), **more}

    def link(self, path, target):
        """A link in the place of what is there."""
        at = self.root / path
        if at.is_dir() and not at.is_symlink():
            shutil.rmtree(at)
        at.unlink(missing_ok=True)
        at.symlink_to(target)

    def copy(self, program):
        """A static program of a test's, as /PROGRAM."""
        shutil.copy2(program, self.root / program.name)


@pytest.fixture
def image(busybox, tmp_path):  # noqa: F811
    subprocess.run(["cp", "-a", busybox, tmp_path / "image"], check=True)
    return Image(tmp_path / "image")


@pytest.fixture(scope="session")
def doors(tmp_path_factory):
    """doors.c, static: system calls as 32-bit and as x32 programs make them."""
    program = tmp_path_factory.mktemp("doors") / "doors"
    flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", program, HERE / "doors.c"], check=True)
    return program


@pytest.fixture
def volume(scratch):
    """A folder of user 1000's on the host, shown as /data."""
    folder = scratch / "volume"
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    return folder
