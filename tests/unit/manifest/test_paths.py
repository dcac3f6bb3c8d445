"""A relative path belongs to the file that wrote it."""

import pytest

from tests.unit.manifest.world import COMPLETE, DOTTED, HERE, World, found
from volt.manifest import resolve

PATHS = {
    "storage.rootfs": lambda w: w.storage.rootfs,
    "kernel.path": lambda w: w.kernel.path,
    "workload.env_file": lambda w: w.env_file,
    "security.landlock_profile": lambda w: w.security.landlock_profile,
    "security.seccomp_profile": lambda w: w.security.seccomp_profile,
}


def one(text, source="site/web.toml", *, existing=(), variables=None, environment=None, **options):
    world = World({"site/web.toml": text, "base/b.toml": "", "-": text}, set(existing), environment or {})
    return resolve(source, world, variables=variables, **options)


@pytest.mark.parametrize(("key", "value"), PATHS.items(), ids=PATHS)
def test_a_path_belongs_to_its_file(key, value):
    assert value(one(f'{key} = "./x/../y"\n{DOTTED}').workload) == f"{HERE}/site/y"
    assert value(one(f'{key} = "/x//y/"\n{DOTTED}').workload) == "/x/y"


def test_so_does_a_policy_and_a_volume():
    text = '[security]\nlandlock_profile = "custom"\nlandlock_policy = "p.toml"\n'
    assert one(COMPLETE + text).workload.security.landlock_policy == f"{HERE}/site/p.toml"
    text = '[[storage.volumes]]\nhost = "../data"\ncontainer = "/data"\n'
    volumes = one(COMPLETE + text, existing=[f"{HERE}/data"]).workload.storage.volumes
    assert volumes[0].host == f"{HERE}/data"


def test_each_file_of_a_chain_has_its_own_folder():
    world = World(
        {
            "site/web.toml": 'extends = "../base/b.toml"\nworkload.env_file = "env"\n',
            "base/b.toml": COMPLETE + '[storage]\nrootfs = "root"\n[kernel]\npath = "k"',
        }
    )
    made = resolve("site/web.toml", world).workload
    assert (made.env_file, made.storage.rootfs) == (f"{HERE}/site/env", f"{HERE}/base/root")


@pytest.mark.parametrize(
    ("written", "folder"),
    [("${X}", HERE), ("${X}/more", HERE), ("sub/${X}", f"{HERE}/site/sub"), ("${E}", f"{HERE}/site")],
)
def test_a_path_that_set_begins_belongs_to_the_current_folder(written, folder):
    made = one(f'storage.rootfs = "{written}"\n{COMPLETE}', variables={"X": "x"}, environment={"E": "e"})
    assert made.workload.storage.rootfs.startswith(f"{folder}/")


def test_a_default_belongs_to_the_file():
    assert one('storage.rootfs = "${X:-x}"\n' + COMPLETE).workload.storage.rootfs == f"{HERE}/site/x"


@pytest.mark.parametrize("source", [b'storage.rootfs = "x"\n' + COMPLETE.encode(), "-"])
def test_without_a_file_a_relative_path_needs_a_base_folder(source):
    text = f'storage.rootfs = "x"\n{COMPLETE}'
    name = "<stdin>" if source == "-" else "<value>"
    assert found(one(text, source)) == [("relative-path", f"{name}:1:18")]
    assert one(text, source, base="/srv").workload.storage.rootfs == "/srv/x"


def test_host_is_a_word_and_a_folder_of_that_name_has_a_slash():
    assert one('storage.rootfs = "host"\n' + COMPLETE).workload.storage.rootfs == "host"
    assert one('storage.rootfs = "./host"\n' + COMPLETE).workload.storage.rootfs == f"{HERE}/site/host"


def test_a_reference_to_the_store_is_no_path():
    assert one('storage.rootfs = "cas://sha256:0"\n' + COMPLETE).workload.storage.rootfs == "cas://sha256:0"


def test_a_volume_must_exist():
    text = '[[storage.volumes]]\nhost = "data"\ncontainer = "/data"\n'
    assert found(one(COMPLETE + text)) == [("missing-volume", "site/web.toml:5:8")]
