"""What the probe and the sweep meet that only root can make: overlayfs's own marks, mounts, and real cgroups."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.host.conftest import CGROUPS
from tests.unit.runs.test_record import RUN, WHOLE
from volt.host.inside import read_inside
from volt.host.mounts import mounts, own_cgroup
from volt.model.facts import Folders
from volt.runs.cgroup import end_cgroup
from volt.runs.sweep import Swept, sweep

pytestmark = pytest.mark.kernel


@pytest.fixture
def layers(tmp_path):
    """A root and a kept layer's upper folder, both with an /etc."""
    for name in ("root/etc", "upper/etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("below")
    return tmp_path / "root", tmp_path / "upper"


def read(layers, path="etc/passwd"):
    root, upper = layers
    return read_inside(path, str(root), str(upper))


def merged(layers, path="etc/passwd"):
    """What the kernel itself shows, in a mount namespace of its own."""
    root, upper = layers
    base = upper.parent
    for name in ("work", "merged"):
        (base / name).mkdir(exist_ok=True)
    mount = f"mount -t overlay o -o lowerdir={root},upperdir={upper},workdir={base}/work {base}/merged"
    script = f"{mount} && cat {base}/merged/{path}"
    return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False).stdout


def mark(path, name, value):
    os.setxattr(path, f"trusted.overlay.{name}", value.encode())


def test_what_was_removed_inside_is_not_there(layers):
    os.mknod(layers[1] / "etc/passwd", 0o20000, os.makedev(0, 0))
    assert read(layers) == merged(layers) == ""


def test_a_folder_that_was_removed_inside_is_not_there(layers):
    (layers[1] / "etc").rmdir()
    os.mknod(layers[1] / "etc", 0o20000, os.makedev(0, 0))
    assert read(layers) == merged(layers) == ""


def test_a_folder_that_was_made_anew_inside_shows_nothing_of_the_roots(layers):
    mark(layers[1] / "etc", "opaque", "y")
    assert read(layers) == merged(layers) == ""
    (layers[1] / "etc/passwd").write_text("above")
    assert read(layers) == merged(layers) == "above"


@pytest.mark.parametrize("redirect", ["etc", "/etc"])
def test_a_folder_that_was_renamed_inside_shows_what_it_showed_before(layers, redirect):
    (layers[1] / "moved").mkdir()
    mark(layers[1] / "moved", "redirect", redirect)
    assert read(layers, "moved/passwd") == merged(layers, "moved/passwd") == "below"


def test_a_device_of_the_layer_is_not_read(layers):
    os.mknod(layers[1] / "etc/passwd", 0o20000, os.makedev(1, 5))  # /dev/zero
    assert read(layers) == ""


def test_what_the_kernel_wrote_is_read_as_it_shows_it(layers):
    """Changes made through a real overlay mount, then read from the layers that it left."""
    root, upper = layers
    base = upper.parent
    shutil.rmtree(upper / "etc")
    (root / "etc/group").write_text("group")
    (root / "etc/deep/er").mkdir(parents=True)
    (root / "etc/deep/er/file").write_text("deep")
    for name in ("work", "merged"):
        (base / name).mkdir()
    options = f"lowerdir={root},upperdir={upper},workdir={base}/work,redirect_dir=on,index=off,metacopy=off"
    script = f"""set -e
        mount -t overlay o -o {options} {base}/merged
        cd {base}/merged
        rm etc/group
        echo more >> etc/passwd
        mv etc/deep etc/moved
        mv etc renamed
        mkdir etc
        ln -s ../renamed/moved/er etc/link"""
    subprocess.run(["unshare", "-m", "sh", "-c", script], check=True)
    assert read(layers, "etc/passwd") == ""
    assert read(layers, "renamed/passwd") == "belowmore\n"
    assert read(layers, "renamed/group") == ""
    assert read(layers, "etc/link/file") == "deep"


def test_a_hostile_attribute_leads_nowhere(layers):
    (layers[1] / "moved").mkdir()
    (layers[0].parent / "outside").mkdir()
    (layers[0].parent / "outside/passwd").write_text("outside")
    for redirect in ("../outside", "/../outside", "/etc/../../outside", "..", "x" * 200):
        mark(layers[1] / "moved", "redirect", redirect)
        assert read(layers, "moved/passwd") == ""
        assert read(layers, "moved/outside/passwd") == ""


REMOVE = "import sys; from volt.runs.tree import remove_tree; remove_tree(sys.argv[1])"


@pytest.mark.parametrize("where", ["here", "a/b/c"])
def test_a_sweep_enters_no_mount_not_even_of_the_same_file_system(tmp_path, where):
    precious, top = tmp_path / "precious", tmp_path / "top"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (top / where).mkdir(parents=True)
    script = f'mount --bind {precious} {top}/{where} && exec {sys.executable} -c "{REMOVE}" {top}'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "busy" in done.stderr
    assert (precious / "file").read_text() == "kept"
    assert precious.stat().st_dev == top.stat().st_dev


@pytest.fixture
def cgroup():
    """A dead run's cgroup, with one below it, as a payload's own manager makes them."""
    root, own = own_cgroup(mounts())
    path = Path(root + own.rstrip("/"), f"volt-{RUN}")
    path.mkdir()
    (path / "below").mkdir()
    yield path
    if path.exists():
        end_cgroup(str(path), RUN)


def sleeper(cgroup):
    process = subprocess.Popen(["sleep", "60"])
    (cgroup / "cgroup.procs").write_text(str(process.pid))
    return process


def test_ending_a_cgroup_kills_what_is_in_it_and_below_and_nothing_else(cgroup):
    inside, outside = [sleeper(cgroup), sleeper(cgroup / "below")], subprocess.Popen(["sleep", "60"])
    try:
        end_cgroup(str(cgroup), RUN)
        assert not cgroup.exists()
        assert [process.wait(10) for process in inside] == [-9, -9]
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()


def test_two_may_end_a_cgroup_at_once(cgroup):
    processes = [sleeper(cgroup) for _ in range(20)]
    code = "import sys; from volt.runs.cgroup import end_cgroup; end_cgroup(sys.argv[1], sys.argv[2])"
    enders = [subprocess.Popen([sys.executable, "-c", code, str(cgroup), RUN]) for _ in range(4)]
    deadline = time.monotonic() + 30
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))
    assert [ender.wait(30) for ender in enders] == [0] * 4
    assert not cgroup.exists()


def test_a_sweep_ends_a_dead_runs_cgroup(cgroup, tmp_path):
    process = sleeper(cgroup)
    folders = Folders(f"{tmp_path}/state", f"{tmp_path}/run", f"{tmp_path}/log", str(tmp_path))
    (tmp_path / f"run/runs/{RUN}").mkdir(parents=True)
    (tmp_path / f"run/runs/{RUN}/record.json").write_text(json.dumps({**WHOLE, "cgroup": str(cgroup)}))
    assert sweep(folders, uids=f"{tmp_path}/uids") == Swept((RUN,))
    assert process.wait(10) == -9
    assert not cgroup.exists()
    assert CGROUPS
