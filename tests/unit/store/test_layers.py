"""Layers come to one tree: what a layer takes away lay below it, whatever the order within it."""

import hashlib
import io
import itertools
import tarfile

import pytest

from tests.unit.store.pieces import archive, member
from volt.errors import StoreError
from volt.store.intake import Intake
from volt.store.layers import Layered
from volt.store.transaction import Transaction
from volt.store.tree import entries, text


def merged(store, *layers):
    """Path → content, of a folder None, of a link its target."""
    with Transaction(store) as transaction:
        tree = Layered(Intake(transaction))
        for members in layers:
            tree.add(io.BytesIO(archive(*members)), hashlib.sha256())
        found = {}
        for path, node in entries(tree.root):
            content = ""
            if node.digest:
                with transaction.open(node.digest) as file:
                    content = file.read().decode()
            found[text(path)] = None if node.children is not None else text(node.target) or content
        found.pop("")
        return found


def file(name, content="x"):
    return member(name, content.encode())


def folder(name):
    return member(name, kind=tarfile.DIRTYPE)


def link(name, target, kind=tarfile.SYMTYPE):
    return member(name, kind=kind, linkname=target)


BELOW = (folder("d"), file("d/old", "old"), folder("d/sub"), file("d/sub/deep"), file("f", "f"))
AFTER = {
    "a file is replaced": ([file("f", "new")], {"f": "new"}),
    "a file is hidden": ([file(".wh.f", "")], {"f": ...}),
    "a folder is hidden with all in it": (
        [file(".wh.d", "")],
        {"d": ..., "d/old": ..., "d/sub": ..., "d/sub/deep": ...},
    ),
    "one in a folder is hidden": ([file("d/.wh.old", "")], {"d/old": ...}),
    "what is not there is hidden": ([file(".wh.none", ""), file("no/.wh.way", "")], {}),
    "a folder gets more": ([folder("d"), file("d/new")], {"d/new": "x"}),
    "a folder is emptied": ([file("d/.wh..wh..opq", "")], {"d/old": ..., "d/sub": ..., "d/sub/deep": ...}),
    "a folder is emptied, and gets more": (
        [folder("d"), file("d/.wh..wh..opq", ""), file("d/new"), folder("d/sub")],
        {"d/old": ..., "d/sub/deep": ..., "d/new": "x"},
    ),
    "a folder is made anew": (
        [file(".wh.d", ""), folder("d"), file("d/new")],
        {"d/old": ..., "d/sub": ..., "d/sub/deep": ..., "d/new": "x"},
    ),
    "a folder that is not named again is made anew": (
        [file(".wh.d", ""), file("d/new")],
        {"d/old": ..., "d/sub": ..., "d/sub/deep": ..., "d/new": "x"},
    ),
    "a file becomes a folder": ([folder("f"), file("f/in")], {"f": None, "f/in": "x"}),
    "bookkeeping of aufs": ([folder(".wh..wh.plnk"), file(".wh..wh.aufs", "")], {}),
    "the root is emptied": (
        [file(".wh..wh..opq", ""), file("only")],
        {**dict.fromkeys(("d", "f", "d/old", "d/sub", "d/sub/deep"), ...), "only": "x"},
    ),
}


@pytest.mark.parametrize("what", AFTER)
def test_a_layer_adds_and_takes_away_in_any_order(store, what):
    layer, changes = AFTER[what]
    below = {"d": None, "d/old": "old", "d/sub": None, "d/sub/deep": "x", "f": "f"}
    expected = {path: content for path, content in {**below, **changes}.items() if content is not ...}
    for members in itertools.permutations(layer):
        if [one for one, _ in members if one.name == "f/in"] and members[0][0].name != "f":
            continue  # nothing can lie in what is still a file
        assert merged(store, BELOW, members) == expected


def test_a_folder_gives_way_to_a_file_and_to_a_link(store):
    assert merged(store, BELOW, [file("d", "file")]) == {"d": "file", "f": "f"}
    assert merged(store, BELOW, [link("d", "f")]) == {"d": "f", "f": "f"}
    assert merged(store, BELOW, [link("d", "f", tarfile.LNKTYPE)]) == {"d": "f", "f": "f"}
    with pytest.raises(StoreError, match="there is a folder of that name already"):
        merged(store, BELOW, [file("d/new"), file("d", "file")])


def test_links_of_the_layers_below_are_followed_in_the_tree(store):
    usr = (folder("usr"), folder("usr/lib"), link("lib", "usr/lib"), file("usr/lib/one"))
    assert merged(store, usr, [file("lib/two", "2"), file("lib/.wh.one", "")]) == {
        "usr": None,
        "usr/lib": None,
        "lib": "usr/lib",
        "usr/lib/two": "2",
    }


def test_a_further_name_is_added_and_the_first_one_hidden(store):
    assert merged(store, BELOW, [link("g", "f", tarfile.LNKTYPE), file(".wh.f", "")])["g"] == "f"
    assert "f" not in merged(store, BELOW, [link("g", "f", tarfile.LNKTYPE), file(".wh.f", "")])


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh."])
def test_a_whiteout_of_nothing_is_refused_by_name(store, name):
    with pytest.raises(StoreError, match="it is a whiteout of nothing"):
        merged(store, BELOW, [file(name, "")])


def test_a_whiteout_may_be_a_link_and_a_name_may_begin_at_the_root(store):
    """As aufs made them, and some builders write."""
    hidden = [link("d/.wh.old", ".wh..wh..opq", tarfile.LNKTYPE), file("/new"), link("/again", "/new", tarfile.LNKTYPE)]
    assert merged(store, BELOW, hidden) == {
        "d": None,
        "d/sub": None,
        "d/sub/deep": "x",
        "f": "f",
        "new": "x",
        "again": "x",
    }


def test_hiding_the_same_again_and_again_costs_nothing(store):
    """A second time nothing of the layers below is there: the names are not gone through once more."""
    names = [file(f"d/{number}", "") for number in range(3000)]
    assert len(merged(store, BELOW, [*names, *[file("d/.wh..wh..opq", "")] * 3000])) == 3002


def test_a_layer_may_lack_its_end_and_what_fills_up_its_last_block_and_nothing_else(store):
    """Whether it is whole its digest says."""
    whole = archive(file("f", "content"))
    for length, there in ((1536, True), (1024, True), (512 + 7, True), (512 + 6, False), (512, False), (511, False)):
        with Transaction(store) as transaction:
            tree, known = Layered(Intake(transaction)), hashlib.sha256()
            if there:
                tree.add(io.BytesIO(whole[:length]), known)
                assert list(tree.root.children) == [b"f"]
                assert known.digest() == hashlib.sha256(whole[:length]).digest()
            else:
                with pytest.raises(StoreError, match="cut short"):
                    tree.add(io.BytesIO(whole[:length]), known)
