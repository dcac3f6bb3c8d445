"""The canonical form of a tree: one form for each, and nothing else is taken for one."""

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.errors import StoreError
from volt.store.tree import HEADER, Node, decode, encode, entries, objects, of_the_host

DIGEST = "ab" * 32


def node(kind=stat.S_IFREG, mode=0o644, *, size=0, digest="", target=b"", xattrs=None, children=None):
    made = Node(kind | mode, 1, 2, 3)
    made.size, made.digest, made.target, made.xattrs = size, digest, target, xattrs or {}
    if children is not None:
        made.children = children
    return made


names = st.binary(min_size=1, max_size=12).filter(lambda n: n not in (b".", b"..") and not {0, 47} & set(n))
xattrs = st.dictionaries(names.map(lambda n: b"user." + n), st.binary(max_size=20), max_size=2)
files = st.builds(lambda xs, n: node(size=n, digest=DIGEST if n else "", xattrs=xs), xattrs, st.integers(0, 9))
links = st.builds(lambda target: node(stat.S_IFLNK, 0o777, target=target), names)
special = st.builds(lambda: node(stat.S_IFIFO))
trees = st.recursive(
    st.dictionaries(names, files | links | special, max_size=4).map(lambda c: node(stat.S_IFDIR, 0o755, children=c)),
    lambda below: st.dictionaries(names, below | files, max_size=4).map(
        lambda c: node(stat.S_IFDIR, 0o755, children=c)
    ),
    max_leaves=8,
)


@given(trees)
def test_a_tree_comes_back_from_its_form_and_has_that_form_again(tree):
    data = encode(tree)
    again = decode(data)
    assert encode(again) == data
    assert [path for path, _ in entries(again)] == [path for path, _ in entries(tree)]


@given(trees)
def test_each_line_is_what_json_makes_of_it(tree):
    for line in encode(tree).decode("ascii").splitlines():
        assert json.dumps(json.loads(line), separators=(",", ":")) == line


def test_the_form_is_lines_of_json_with_names_in_the_order_of_their_bytes():
    shared = node(size=3, digest=DIGEST)
    root = node(
        stat.S_IFDIR, 0o755, children={b"b": shared, b"a": shared, b"\xff": node(stat.S_IFLNK, 0o777, target=b"x")}
    )
    assert encode(root).decode().split("\n") == [
        HEADER,
        '["","40755",1,2,3]',
        f'["a","100644",1,2,3,3,"{DIGEST}"]',
        '["b","link","a"]',
        '["\\udcff","120777",1,2,3,"x"]',
        "",
    ]


def test_hard_links_stay_one_file():
    shared = node(size=3, digest=DIGEST)
    again = decode(encode(node(stat.S_IFDIR, 0o755, children={b"a": shared, b"b": shared})))
    assert again.children[b"a"] is again.children[b"b"]
    assert objects(again) == {DIGEST}


ROOT = '["","40755",0,0,0]'
BAD = {
    "no header": [ROOT],
    "another version": ['{"kind":"volt-tree","version":2}', ROOT],
    "nothing in it": [HEADER],
    "no root": [HEADER, '["a","40755",0,0,0]'],
    "a root that is no folder": [HEADER, '["","100644",0,0,0,0,""]'],
    "two roots": [HEADER, ROOT, ROOT],
    "names out of order": [HEADER, ROOT, '["b","40755",0,0,0]', '["a","40755",0,0,0]'],
    "a name twice": [HEADER, ROOT, '["a","40755",0,0,0]', '["a","40755",0,0,0]'],
    "..": [HEADER, ROOT, '["..","40755",0,0,0]'],
    ".. on the way": [HEADER, ROOT, '["a","40755",0,0,0]', '["a/..","40755",0,0,0]'],
    "an absolute path": [HEADER, ROOT, '["/etc","40755",0,0,0]'],
    "a NUL": [HEADER, ROOT, '["a\\u0000","40755",0,0,0]'],
    "below a file": [HEADER, ROOT, '["a","100644",0,0,0,0,""]', '["a/b","40755",0,0,0]'],
    "a link to a folder": [HEADER, ROOT, '["a","40755",0,0,0]', '["b","link","a"]'],
    "a link to nothing": [HEADER, ROOT, '["b","link","a"]'],
    "content without a size": [HEADER, ROOT, f'["a","100644",0,0,0,0,"{DIGEST}"]'],
    "a size without content": [HEADER, ROOT, '["a","100644",0,0,0,5,""]'],
    "a negative size": [HEADER, ROOT, f'["a","100644",0,0,0,-5,"{DIGEST}"]'],
    "a digest that is a path": [HEADER, ROOT, f'["a","100644",0,0,0,5,"{"../" * 21}x"]'],
    "attributes of overlayfs": [HEADER, '["","40755",0,0,0,{"trusted.overlay.opaque":"79"}]'],
    "security attributes": [HEADER, '["","40755",0,0,0,{"security.selinux":"79"}]'],
    "a uid that is none": [HEADER, '["","40755",4294967295,0,0]'],
    "spaces": [HEADER, '["", "40755",0,0,0]'],
    "a float": [HEADER, '["","40755",0.0,0,0]'],
    "an unknown type": [HEADER, ROOT, '["a","150644",0,0,0]'],
    "more than there is": [HEADER, '["","40755",0,0,0,{},7]'],
    "no JSON": [HEADER, ROOT, "["],
}


@pytest.mark.parametrize("lines", BAD.values(), ids=BAD)
def test_what_encode_would_not_write_is_no_tree(lines):
    with pytest.raises(StoreError):
        decode("\n".join([*lines, ""]).encode())


def test_a_tree_that_is_cut_within_a_line_is_no_tree():
    data = encode(node(stat.S_IFDIR, 0o755, children={b"a": node(), b"b": node()}))
    for end in (end for end in range(len(data)) if data[:end].count(b"\n") < 2 or data[end - 1 : end] != b"\n"):
        with pytest.raises(StoreError):
            decode(data[:end])


def test_only_attributes_that_are_known_to_be_the_hosts_are_left_out():
    assert all(of_the_host(name) for name in (b"security.selinux", b"security.ima", b"security.SMACK64EXEC"))
    assert not any(of_the_host(name) for name in (b"security.imagine", b"security.selinux2", b"security.capability"))


def test_a_tree_that_nobody_could_read_again_is_not_written(monkeypatch):
    root = node(stat.S_IFDIR, 0o755, children={b"\xff" * 200: node(stat.S_IFLNK, 0o777, target=b"x")})
    size = len(encode(root))
    monkeypatch.setattr("volt.store.tree.TREE_MOST", size)
    assert len(encode(root)) == size
    monkeypatch.setattr("volt.store.tree.TREE_MOST", size - 1)
    with pytest.raises(StoreError, match="larger"):
        encode(root)
