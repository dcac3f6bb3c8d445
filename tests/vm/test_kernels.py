"""What docs/reference/kernels.md says of this kernel is so: what holds is accepted, the rest refused."""

import os
import subprocess
from pathlib import Path

import pytest

from volt.host.kernel import version

PAGE = Path(__file__).parents[2] / "docs/reference/kernels.md"
SYSTEMS = {"tmpfs": "tmpfs", "ramfs": "ramfs"}


def state(kind):
    """`holds` or `refused` on this kernel, by the page; what is idmapped on no kernel has no row."""
    lines = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    own = "Linux {}.{},".format(*version(os.uname().release))
    column = next(number for number, title in enumerate(lines[0]) if own in title)
    return next((row[column].rstrip(" |") for row in lines if row[0] == f"| ids kept on {kind}"), "refused")


@pytest.fixture(params=SYSTEMS)
def mounted(request, tmp_path):
    path = tmp_path / request.param
    path.mkdir()
    subprocess.run(["mount", "-t", SYSTEMS[request.param], "none", path], check=True)
    os.chown(path, 1000, 1000)
    yield request.param, path
    subprocess.run(["umount", path], check=True)


def test_a_volume_holds_or_is_refused_as_the_page_says(volt, mounted):
    kind, path = mounted
    done = volt.run("touch", "/data/made", storage={"volumes": [{"host": str(path), "container": "/data"}]})
    if state(kind) == "holds":
        assert (done.returncode, done.stderr) == (0, b"")
        assert (path / "made").stat().st_uid == 1000
    else:
        assert done.returncode == 125
        assert b"[no-idmap]" in done.stderr


def test_this_release_has_its_column_on_the_page():
    assert state("ext4") == "holds"
