"""What a plan was made from, as dependencies: each kind as the static program will ask for it again."""

import os
import resource
import socket
import time
from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS
from volt.host import watch as watching
from volt.host.cgroups import BUS, MACHINED, SYSTEMD
from volt.host.watch import FRESH, Watch, watch_code, watch_found, watch_machine, watch_workload
from volt.model.entry import Dependency, Depends, numbers_of
from volt.model.facts import Boot, Folders, Modules
from volt.model.modes import Mode, NetworkMode, WritableLayerMode
from volt.model.workload import Kernel, Network, Storage, Volume, Workload

KEY = bytes(range(16))


@pytest.fixture
def watch(monkeypatch):
    """A watch for which everything is old enough."""
    monkeypatch.setattr(watching, "FRESH", -(2**62))
    return Watch(KEY)


def status_numbers(status):
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def found(watch):
    return {(one.kind.name, os.fsdecode(one.name)) for one in watch.dependencies()}


def test_a_file_is_its_identity_size_and_times(watch, tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    watch.file(str(path))
    assert watch.dependencies() == (Dependency(Depends.FILE, os.fsencode(path), status_numbers(path.stat())),)
    assert watch.certain


def test_a_file_behind_a_link_is_what_the_link_leads_to(watch, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    watch.file(str(tmp_path / "link"))
    (one,) = watch.dependencies()
    assert one.numbers == status_numbers((tmp_path / "file").stat())
    assert watch.certain


def test_a_link_where_none_is_followed_is_uncertain(watch, tmp_path):
    (tmp_path / "link").symlink_to("file")
    watch.link(str(tmp_path / "link"))
    assert not watch.certain


@pytest.mark.parametrize("name", ["missing", "file/below"])
@pytest.mark.parametrize("how", [Watch.file, Watch.link, Watch.place])
def test_what_is_not_there_has_to_stay_away(watch, tmp_path, name, how):
    (tmp_path / "file").touch()
    how(watch, str(tmp_path / name))
    assert found(watch) == {("ABSENT", str(tmp_path / name))}
    assert watch.certain


def test_a_link_to_nowhere_is_neither_there_nor_away(watch, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    watch.file(str(tmp_path / "link"))
    assert not watch.certain


def test_what_cannot_be_looked_at_is_uncertain(watch, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    watch.file(str(tmp_path / "loop"))
    assert not watch.certain


@pytest.mark.parametrize(("age", "certain"), [(FRESH // 2, False), (FRESH * 2, True), (-FRESH, False)])
def test_what_has_just_changed_or_will_is_uncertain(monkeypatch, tmp_path, age, certain):
    """A time in the future is a clock that was set back."""
    (tmp_path / "file").touch()
    at = (tmp_path / "file").stat().st_ctime_ns + age
    monkeypatch.setattr(time, "time_ns", lambda: at)
    watch = Watch(KEY)
    watch.file(str(tmp_path / "file"))
    assert watch.certain is certain


def test_the_first_look_counts(watch, tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    before = status_numbers(path.stat())
    watch.file(str(path))
    path.write_text("longer")
    watch.file(str(path))
    assert [one.numbers for one in watch.dependencies()] == [before]


def test_a_file_that_was_opened_counts_as_it_was_then(watch, tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with path.open() as file:
        path.rename(tmp_path / "other")
        path.write_text("another")
        watch.opened(str(path), file.fileno())
    (one,) = watch.dependencies()
    assert one.numbers == status_numbers((tmp_path / "other").stat())


def test_a_place_is_what_it_is_and_not_what_is_in_it(watch, tmp_path):
    watch.place(str(tmp_path))
    status = tmp_path.stat()
    (tmp_path / "new").touch()
    (one,) = watch.dependencies()
    assert one.kind == Depends.PLACE
    assert one.numbers == (status.st_dev, status.st_ino, 0o040000, status.st_uid, status.st_gid)


def test_a_text_is_the_digest_of_what_it_says(watch):
    watch.text("/proc/sys/kernel/random/boot_id")
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        assert watch.dependencies()[0].numbers == numbers_of(file.read(), KEY)
    watch.text("/proc/no-such")
    assert not watch.certain


def test_a_variable_that_is_set_is_never_depended_on(watch):
    watch.variable("HOME", None)
    assert found(watch) == {("UNSET", "HOME")}
    assert watch.certain
    watch.variable("SECRET", "")
    assert not watch.certain
    assert found(watch) == {("UNSET", "HOME")}


def test_the_machine_is_its_texts_and_files(watch, monkeypatch):
    monkeypatch.delenv(watching.NOTIFY, raising=False)
    watch_machine(watch)
    names = {os.fsdecode(one.name) for one in watch.dependencies()}
    assert {*watching.TEXTS, *watching.FILES, SYSTEMD, BUS, MACHINED, watching.NOTIFY} == names
    kinds = [one.kind for one in watch.dependencies()]
    assert kinds == sorted(kinds, key=lambda kind: kind == Depends.TEXT)  # the cheapest first


def test_a_service_manager_that_wants_to_be_told_is_asked_for_at_each_launch(watch, monkeypatch):
    monkeypatch.setenv(watching.NOTIFY, "/run/notify")
    watch_machine(watch)
    assert ("UNSET", watching.NOTIFY) not in found(watch)
    assert watch.certain


def test_the_code_is_what_is_loaded_of_it(watch):
    watch_code(watch)
    names = {os.fsdecode(one.name) for one in watch.dependencies()}
    assert watching.__file__ in names
    assert socket.__file__ not in names
    assert all(name.endswith((".py", ".so")) for name in names)


def work(**storage):
    volumes = (Volume(host="/srv/data", container="/data"),)
    given = Storage(**{"rootfs": "/srv/root", "volumes": volumes, **storage})
    network = Network(mode=NetworkMode.NONE)
    return Workload(name="w", mode=Mode.CONTAINER, storage=given, env_file="/srv/values", network=network)


WHERE = replace(FACTS, folders=Folders("/srv/volt/state", "/srv/volt/run", "/srv/volt/log", "/srv/volt"))


def named(watch):
    return {os.fsdecode(one.name) for one in watch.dependencies()}


def test_a_workload_is_its_paths_and_the_accounts_of_its_root(watch):
    watch_workload(watch, work(writable_layer=WritableLayerMode.TMPFS), WHERE, ("/proc/self/comm",), fresh=False)
    accounts = {f"/srv/root/{name}" for name in ("etc", "etc/passwd", "etc/group")}
    assert named(watch) == {"/srv/root", "/srv/data", "/srv/values", "/proc/self/comm", *accounts}


def test_on_a_bridge_its_namespace_its_settings_and_the_resolvers_count(watch):
    watch_workload(watch, replace(work(), network=Network()), WHERE, ("/proc/self/comm",), fresh=True)
    assert {"/proc/self/ns/net", "/etc/volt/config.toml", "/etc/machine-id"} <= named(watch)
    assert "/run/systemd/resolve/resolv.conf" in named(watch)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_kept_layer_counts_unless_it_is_discarded(watch, fresh):
    watch_workload(watch, work(writable_layer=WritableLayerMode.OVERLAY), WHERE, ("/proc/self/comm",), fresh=fresh)
    layer = {
        f"/srv/volt/state/layers/w/{name}" for name in ("root", "upper/etc", "upper/etc/passwd", "upper/etc/group")
    }
    assert (named(watch) & layer == layer) is not fresh
    assert bool(named(watch) & layer) is not fresh


def test_the_hosts_own_root_is_what_is_shown_of_it(watch):
    watch_workload(
        watch, work(rootfs="host", writable_layer=WritableLayerMode.TMPFS), WHERE, ("/proc/self/comm",), fresh=False
    )
    assert {"/usr", "/usr/local", "/etc", "/etc/ssl"} <= named(watch)
    assert not [name for name in named(watch) if name.endswith("passwd")]


def test_only_the_limits_that_are_asked_for_count(watch):
    workload = replace(work(), limits={"nofile": (10, 20)})
    watch_workload(watch, workload, WHERE, ("/proc/self/comm",), fresh=False)
    (one,) = [one for one in watch.dependencies() if one.kind == Depends.LIMIT]
    soft, hard = (value % 2**64 for value in resource.getrlimit(resource.RLIMIT_NOFILE))
    assert one.numbers == (resource.RLIMIT_NOFILE, soft, hard)


def test_a_boot_with_modules_depends_on_their_lists_their_files_and_on_modprobe(watch, tmp_path):
    workload = Workload(name="os", mode=Mode.HYBRID_NATIVE, kernel=Kernel(modules=("dummy",)))
    machine = replace(FACTS, kernel_release="0.0-none")
    watch_workload(watch, replace(workload, kernel=Kernel()), machine, (), fresh=False)
    assert not any("modules" in name or "modprobe" in name for _, name in found(watch))
    watch_workload(watch, workload, machine, (), fresh=False)
    lists = {("ABSENT", f"/lib/modules/0.0-none/modules.{kind}") for kind in ("dep", "builtin")}
    assert lists <= found(watch)
    assert {name for _, name in found(watch)} >= {f"/{where}/modprobe" for where in ("usr/bin", "usr/sbin", "sbin")}
    (tmp_path / "dummy.ko").touch()
    there = Boot(modules=Modules("/sbin/modprobe", files={"dummy": f"{tmp_path}/dummy.ko"}))
    watch_found(watch, replace(FACTS, boot=there))
    assert ("LINK", f"{tmp_path}/dummy.ko") in found(watch)
    assert watch.certain
    (tmp_path / "dummy.ko").unlink()
    watch_found(watch, replace(FACTS, boot=there))
    assert not watch.certain, "it has just gone"


def test_of_a_module_that_could_not_be_loaded_again_nothing_is_remembered(watch):
    watch_found(watch, replace(FACTS, boot=Boot(modules=Modules(builtin=("fuse",)))))
    assert watch.certain
    watch_found(watch, replace(FACTS, boot=Boot(modules=Modules(loaded=("zfs",)))))
    assert not watch.certain
