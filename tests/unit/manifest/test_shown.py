"""A workload in print: a manifest that stands by itself, with the place of each value."""

import pytest

from tests.unit.manifest.world import COMPLETE, World, resolved
from volt.manifest import resolve, show
from volt.model.workload import Workload


def text(*texts, origins=False, **world):
    return show(resolved(*texts, **world)).text(origins=origins)


def test_every_value_has_the_place_that_won():
    child = '[workload]\nname = "child"\nenv = { A = "1" }\n'
    base = COMPLETE + '[workload.env]\nB = "${X}"\n[storage]\nrootfs = "r"'
    assert text(child, base, origins=True, variables={"X": "x"}) == (
        "[workload]\n"
        'name = "child"  # a.toml:3:8\n'
        'mode = "container"  # b.toml:3:8\n'
        'hostname = "child"  # default\n'
        "\n"
        "[workload.env]\n"
        'B = "x"  # b.toml:5:5\n'
        'A = "1"  # a.toml:4:13\n'
        "\n"
        "[security]\n"
        "no_new_privs = true  # default\n"
        'landlock_profile = "default"  # default\n'
        'seccomp_profile = "default"  # default\n'
        "read_only_rootfs = false  # default\n"
        "\n"
        "[storage]\n"
        'shm_size = "64M"  # default\n'
        'rootfs = "/home/ada/r"  # b.toml:7:10\n'
        'writable_layer = "overlay"  # default\n'
    )


def test_the_default_of_no_new_privs_is_the_modes():
    native = '[workload]\nname = "web"\nmode = "hybrid-native"\n'
    assert "no_new_privs = false" in text(native)
    assert "no_new_privs = true" in text(COMPLETE)
    assert "no_new_privs = true" in text(native + "[security]\nno_new_privs = true")


def test_a_dollar_sign_is_doubled_since_it_is_read_again():
    shown = text(COMPLETE + "command = ['$${A} $B']")
    assert "'" not in shown
    assert 'command = ["$${A} $$B"]' in shown
    assert resolve(shown.encode(), World()).workload.command == ("${A} $B",)


def test_no_capabilities_are_shown_and_absent_ones_are_not():
    assert "capabilities = []" in text(COMPLETE + "[security]\ncapabilities = []")
    assert "capabilities" not in text(COMPLETE)


def test_what_a_terminal_would_obey_is_escaped():
    shown = text(COMPLETE + r'command = ["\u001b[2J", "\u009b", "a\u202eb", "\t\n", "\U000e0001", "é"]')
    assert r'command = ["\u001b[2J", "\u009b", "a\u202eb", "\u0009\n", "\U000e0001", "é"]' in shown
    assert resolve(shown.encode(), World()).workload.command[4] == "\U000e0001"


def test_a_file_name_cannot_leave_its_comment():
    shown = show(resolve("a\n.toml", World({"a\n.toml": COMPLETE}))).text(origins=True)
    assert r"# a\u000a.toml:2:8" in shown


def test_labels_keep_their_names():
    shown = text(COMPLETE + 'labels = { "org.example/x" = "1", "a b" = "2" }', origins=True)
    assert '"org.example/x" = "1"  # a.toml:4:30' in shown
    assert '"a b" = "2"  # a.toml:4:43' in shown


def test_the_document_has_the_same_values_and_places():
    text = COMPLETE + '[[storage.volumes]]\nhost = "/srv"\ncontainer = "/a"'
    document = show(resolved(text, existing={"/srv"})).document()
    assert document["version"] == 1
    assert document["workload"]["storage"]["volumes"] == [
        {"host": "/srv", "container": "/a", "readonly": False, "ids": "owner"}
    ]
    assert document["origins"]["storage.volumes[0].host"] == {"file": "a.toml", "line": 5, "column": 8}
    assert "storage.writable_layer" not in document["origins"]


def test_what_has_errors_is_no_workload():
    with pytest.raises(ValueError, match="no workload"):
        show(resolved("odd = 1"))


def test_every_field_of_a_workload_is_shown_or_unset():
    """A field added to the workload is shown without a word about it here: the table is read from the classes."""
    every = show(resolved(COMPLETE + 'image = "a"\nuser = "1:2"\nworkdir = "/"\nplatform = "arm64"\nboot = true')).table
    assert set(every["workload"]) == {"name", "mode", "image", "user", "workdir", "hostname", "platform", "boot"}
    assert set(every["workload"]) <= set(Workload.__dataclass_fields__)
