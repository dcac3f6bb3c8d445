"""What an image says about how it is run holds as far as the manifest says nothing."""

import json

import pytest

from volt.errors import StoreError
from volt.images.config import ImageConfig, document, of_document, read_config
from volt.images.defaults import filled, folders
from volt.model.modes import Mode
from volt.model.values import replace
from volt.model.workload import Service, User, Workload

BARE = Workload(name="web", mode=Mode.CONTAINER)
CONFIG = ImageConfig(entrypoint=("/init",), command=("-x",), user="app:7", workdir="srv/app", stop_signal="SIGQUIT")


def test_what_the_manifest_leaves_out_the_image_gives():
    made, keys = filled(BARE, CONFIG)
    assert made.command == ("/init", "-x")
    assert made.user == User("app", 7)
    assert made.workdir == "/srv/app"
    assert made.service.stop_signal == "QUIT"
    assert keys == ("workload.command", "workload.user", "workload.workdir", "service.stop_signal")


def test_what_the_manifest_says_stays():
    own = replace(BARE, command=("sh",), user=User(0), workdir="/", service=Service(stop_signal="INT"))
    assert filled(own, CONFIG) == (own, ())


def test_an_image_that_says_nothing_changes_nothing():
    assert filled(BARE, ImageConfig()) == (BARE, ())


@pytest.mark.parametrize(
    ("written", "user"),
    [
        ("0", User(0)),
        ("7:8", User(7, 8)),
        ("app", User("app")),
        ("app:staff", User("app", "staff")),
        ("app:", User("app")),
        (":7", User(0, 7)),
        (":", None),
    ],
)
def test_users_are_names_or_numbers(written, user):
    assert filled(BARE, ImageConfig(user=written))[0].user == user


@pytest.mark.parametrize(
    ("written", "signal"),
    [("SIGTERM", "TERM"), ("int", "INT"), ("3", "QUIT"), ("0", None), ("SIGRTMIN+3", None), ("x", None)],
)
def test_signals_are_those_that_a_manifest_can_name(written, signal):
    assert filled(BARE, ImageConfig(stop_signal=written))[0].service.stop_signal == signal


def test_the_folders_that_it_names_are_below_the_root_or_are_none():
    many = tuple(f"/many/{number:03}" for number in range(200))
    written = ("/data", "data/", "//a//b/./", "/", "", "/a/../../b", "..", "/new\nline", "/" + "x" * 256, "/x" * 1100)
    assert folders(ImageConfig(workdir="srv/app/", volumes=written)) == ("/srv/app", ("/a/b", "/data"))
    assert folders(ImageConfig(workdir="/../x", volumes=many)) == ("", many[:100])
    assert folders(ImageConfig()) == ("", ())


def test_a_record_keeps_all_that_an_image_says():
    known = {
        "architecture": "arm64", "variant": "v8", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Entrypoint": ["a"], "Cmd": None, "Env": ["A=b=c"], "Labels": {"x": "y"}, "ExposedPorts": {"1": {}}},
        "rootfs": {"diff_ids": ["sha256:1"]},
        "history": [{"created_by": "one"}, {"empty_layer": True}],
    }  # fmt: skip
    config, plain = read_config(json.dumps(known).encode())
    assert plain == ("sha256:1",)
    assert config.platform == "linux/arm64/v8"
    assert of_document(json.loads(json.dumps(document(config)))) == config


@pytest.mark.parametrize(
    "text",
    [
        '{"config": {"Volumes": {"\\u0000": {}}}}',
        "",
        "[]",
        "null",
        '{"config": 7}',
        '{"history": [7]}',
        '{"rootfs": {"diff_ids": [1]}}',
        "[" * 100_000,
    ],
)
def test_a_config_that_is_none_is_refused(text):
    with pytest.raises(StoreError, match="the image's config"):
        read_config(text.encode())
