"""Layers of any kind come to the tree that umoci unpacks, file by file; times of folders left out, which umoci sets and
then changes by what it puts into them.

    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest tests/programs/test_umoci.py      100,000 files, some minutes
"""

import os
import stat
import subprocess

import pytest

from tests.host.test_points import EXHAUSTIVE
from tests.programs.layered import Layers
from tests.programs.test_layers import do, listing, volt

__all__ = ["volt"]  # a fixture

# A seed, the sizes of its layers, and how many files that comes to at least.
SMALL, LARGE = ((150,) * 4, 200), ((120_000, 15_000, 10_000), 100_000)
CASES = [(seed, *SMALL) for seed in (range(1, 4) if EXHAUSTIVE else (1, 2))] + ([(100, *LARGE)] if EXHAUSTIVE else [])


def built(folder, layers, sizes):
    """An OCI layout with one image of such layers."""
    image = f"{folder}/layout:one"
    do("umoci", "init", "--layout", folder / "layout")
    do("umoci", "new", "--image", image)
    (folder / "sparse").mkdir()  # GNU tar packs it: a map of what is no hole
    with (folder / "sparse/holes").open("wb") as file:
        file.truncate(5 << 20)
        file.seek(3 << 20)
        file.write(b"in the middle")
    for number, size in enumerate(sizes):
        layers.write(folder / f"{number}.tar", size, folder / "sparse" if number == 0 else None)
        do("umoci", "raw", "add-layer", "--image", image, folder / f"{number}.tar")
    return folder / "layout"


def times(root):
    """Of all but folders, in whole seconds."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            status = os.lstat(os.path.join(folder, name))
            if not stat.S_ISDIR(status.st_mode):
                found[os.path.relpath(os.path.join(folder, name), root)] = int(status.st_mtime)
    return found


def compared(volt, layout, folder):
    """Both unpack it: umoci, and volt, whose export GNU tar unpacks."""
    words = ("umoci", "unpack", "--image", f"{layout}:one", folder / "umoci")
    subprocess.run(words, check=True, capture_output=True)
    done = volt("image", "import", layout, "one:1", timeout=600)
    assert done.returncode == 0, done.stderr
    assert volt("image", "export", "one:1", folder / "ours.tar", timeout=600).returncode == 0
    (folder / "ours").mkdir()
    words = ("tar", "--xattrs", "--xattrs-include=*", "-C", folder / "ours", "-xpf", folder / "ours.tar")
    subprocess.run(words, check=True, capture_output=True)  # it says that it ignores what it does not need
    return folder / "umoci/rootfs", folder / "ours"


EVERY = {"whiteout", "opaque", "hard link below", "through a link", "no folder any more", "a folder now"}


@pytest.mark.parametrize(("seed", "sizes", "least"), CASES, ids=str)
def test_random_layers_come_to_what_umoci_makes_of_them(volt, tmp_path, seed, sizes, least):
    layers = Layers(seed)
    theirs, ours = compared(volt, built(tmp_path, layers, sizes), tmp_path)
    assert listing(ours) == listing(theirs)
    assert times(ours) == times(theirs)
    assert len(times(ours)) > least
    assert {*+layers.done} == EVERY
