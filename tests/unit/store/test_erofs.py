"""Images as fsck.erofs(1) sees them; what the kernel makes of them is in tests/host/test_store.py."""

import stat
import subprocess

from hypothesis import given, settings

from tests.unit.store.test_tree import trees
from volt.store.erofs import BLOCK, image
from volt.store.tree import Node, decode, encode


def check(root, path):
    path.write_bytes(image(root))
    done = subprocess.run(["fsck.erofs", str(path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@settings(max_examples=60)
@given(trees)
def test_any_tree_gives_an_image_that_is_sound(tmp_path_factory, tree):
    check(tree, tmp_path_factory.getbasetemp() / "image")


@given(trees)
def test_the_same_tree_gives_the_same_bytes(tree):
    assert image(tree) == image(decode(encode(tree)))


def folder_of(count, length=8):
    root = Node(stat.S_IFDIR | 0o755)
    for number in range(count):
        root.children[f"{number:0{length}}".encode()] = Node(stat.S_IFREG | 0o644)
    return root


def test_folders_of_every_size_around_a_block_are_sound(tmp_path):
    for count in [*range(190, 210), 1000, 5000]:
        check(folder_of(count), tmp_path / "image")


def test_an_image_that_ends_with_its_last_inode_is_sound(tmp_path):
    root = folder_of(0)
    for number in range(37):  # 1152 bytes, the root's 64 and 512 for its entries, 64 for each
        root.children[bytes([ord("A") + number])] = Node(stat.S_IFIFO | 0o644)
    check(root, tmp_path / "image")


def test_names_and_targets_of_every_length_are_sound(tmp_path):
    root = folder_of(40, 250)
    for length in [1, 2, 100, 3900, *range(4000, 4096)]:
        link = root.children[f"link-{length}".encode()] = Node(stat.S_IFLNK | 0o777)
        link.target = b"t" * length
    check(root, tmp_path / "image")


def test_files_of_every_size_and_with_many_attributes_are_sound(tmp_path):
    root = folder_of(0)
    for bits in range(62):
        for more in (-1, 0, 1):
            one = root.children[f"{bits}{more}".encode()] = Node(stat.S_IFREG | 0o644)
            one.size, one.digest = max(1, (1 << bits) + more), "ab" * 32
            one.xattrs = {b"user.%d" % number: bytes(number * 7) for number in range(bits)}
    made = image(root)
    assert len(made) % BLOCK == 0
    check(root, tmp_path / "image")
