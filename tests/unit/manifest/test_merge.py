"""A child over its base: what merges, what replaces, and how a child takes something back."""

import pytest

from tests.unit.manifest.world import COMPLETE, DOTTED, found, resolved, workload
from volt.model.sizes import Size

VOLUMES = {"existing": {"/srv/a", "/srv/b", "/srv/c"}}


def volumes(*texts):
    return [(volume.host, volume.container) for volume in workload(*texts, COMPLETE, **VOLUMES).storage.volumes]


def test_tables_merge_key_by_key_at_every_depth():
    child = '[workload]\nname = "child"\n[workload.env]\nA = "2"\nC = "3"'
    base = COMPLETE + '[workload.env]\nA = "1"\nB = "1"\n[resources]\npids_max = 5'
    result = workload(child, base)
    assert (result.name, result.resources.pids_max) == ("child", 5)
    assert dict(result.env) == {"A": "2", "B": "1", "C": "3"}


def test_scalars_and_lists_replace():
    base = COMPLETE + 'command = ["sh", "-c", "true"]\ndescription = "base"'
    result = workload('[workload]\ncommand = ["id"]\ndescription = "child"', base)
    assert (result.command, result.description) == (("id",), "child")


@pytest.mark.parametrize(
    ("written", "merged"),
    [
        ('["...", "c"]', ("a", "b", "c")),
        ('["c", "..."]', ("c", "a", "b")),
        ('["c", "...", "d"]', ("c", "a", "b", "d")),
        ('["..."]', ("a", "b")),
    ],
)
def test_three_dots_stand_for_the_list_of_the_base(written, merged):
    assert workload(f"workload.command = {written}", COMPLETE + 'command = ["a", "b"]').command == merged


def test_three_dots_without_a_base_stand_for_nothing():
    assert workload(COMPLETE + 'command = ["...", "a"]').command == ("a",)


def test_three_dots_reach_through_the_chain():
    dots = 'workload.command = ["...", "{}"]'
    assert workload(dots.format("c"), dots.format("b"), COMPLETE + 'command = ["a"]').command == ("a", "b", "c")


def test_three_dots_stand_once_in_a_list():
    result = resolved('workload.command = ["...",\n"...", "..."]', COMPLETE + 'command = ["a"]')
    assert found(result) == [("spread-twice", "a.toml:3:1"), ("spread-twice", "a.toml:3:8")]
    assert result.manifest["workload"]["command"] == ["a"]


def test_volumes_merge_by_container_path():
    child = 'storage.volumes = [{ host = "/srv/c", container = "/b/" }, { host = "/srv/c", container = "/c" }]'
    base = 'storage.volumes = [{ host = "/srv/a", container = "/a" }, { host = "/srv/b", container = "//./b" }]'
    assert volumes(child, base) == [("/srv/a", "/a"), ("/srv/c", "/b"), ("/srv/c", "/c")]


def test_three_dots_among_volumes_change_nothing():
    child = 'storage.volumes = ["...", { host = "/srv/c", container = "/c" }]'
    base = 'storage.volumes = [{ host = "/srv/a", container = "/a" }]'
    assert volumes(child, base) == [("/srv/a", "/a"), ("/srv/c", "/c")]


@pytest.mark.parametrize("base", ["", 'storage.volumes = [{ host = "/srv/a", container = "/x" }]\n'])
def test_one_container_path_twice_in_a_file_is_not_lost_in_the_merge(base):
    twice = 'storage.volumes = [{ host = "/srv/b", container = "/x" },\n{ host = "/srv/c", container = "/x" }]'
    assert found(resolved(twice, base + COMPLETE, **VOLUMES)) == [("mounted-twice", "a.toml:3:32")]


@pytest.mark.parametrize(
    ("key", "base", "child"),
    [
        ("workload.description", '"text"', '""'),
        ("workload.image", '"debian"', '""'),
        ("workload.workdir", '"/srv"', '""'),
        ("resources.memory_limit", '"1G"', '""'),
        ("resources.cpu_set", '"0-3"', '""'),
        ("resources.pids_max", "7", "0"),
        ("resources.cpu_weight", "7", "0"),
        ("log.max_files", "7", "0"),
        ("network.mode", '"host"', '""'),
        ("network.dns", '["::1"]', "[]"),
        ("security.read_only_rootfs", "true", "false"),
        ("security.landlock_profile", '"strict"', '""'),
        ("storage.writable_layer", '"none"', '""'),
        ("storage.rootfs", '"/srv"', '""'),
        ("service.stop_timeout", '"1s"', '""'),
        ("health.retries", "3", "0"),
        ("health.command", '["true"]', "[]"),
        ("storage.tmpfs", '["/x"]', "[]"),
    ],
)
def test_a_child_takes_back_what_its_base_set(key, base, child):
    unset = workload(f"{key} = {child}", f"{key} = {base}\n{DOTTED}")
    absent = workload(COMPLETE)
    section, name = key.split(".")
    for made in (unset, absent):
        holder = made if section == "workload" else getattr(made, section)
        assert getattr(holder, name) == getattr(absent if section == "workload" else getattr(absent, section), name)


def test_an_empty_list_of_capabilities_is_none_and_not_unset():
    assert workload("security.capabilities = []", 'security.capabilities = ["KILL"]\n' + COMPLETE).security == (
        workload(COMPLETE + "[security]\ncapabilities = []").security
    )
    assert workload(COMPLETE).security.capabilities is None


def test_false_stays_false_where_absent_means_something_else():
    assert workload("workload.boot = false", "workload.boot = true\n" + DOTTED).boot is False


def test_a_value_of_another_kind_replaces():
    assert found(resolved("resources = 3", "resources.pids_max = 5\n" + COMPLETE)) == [("wrong-type", "a.toml:2:13")]
    assert workload("resources.pids_max = 5", "resources = 3\n" + COMPLETE).resources.pids_max == 5


def test_a_limit_of_zero_is_a_limit():
    assert workload(COMPLETE + "[limits]\ncore = 0").limits == {"core": (0, 0)}
    assert workload(COMPLETE + '[resources]\nmemory_limit = "0"').resources.memory_limit == Size(0)
