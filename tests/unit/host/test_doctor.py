"""The examination: each check with what is there, what is missing, and what mends it."""

import os
from dataclasses import replace

import pytest

from docs.landlock import missing, profile_on
from volt.host.doctor import KERNEL, NSPAWN, REQUIRED, examine, names_check, strace_check
from volt.host.facts import folders, probe_machine
from volt.model.facts import Cgroup, Control, Facts, Folders, Resolver
from volt.model.modes import NetworkMode
from volt.model.steps import CAPABILITIES

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
CONTROL = Control(own=Cgroup("/"), top=Cgroup("/", CONTROLLERS, free=True), io_weight="io.weight")
ALL = (1 << len(CAPABILITIES)) - 1


@pytest.fixture
def world(tmp_path):
    """A /proc, a /lib/modules, a cgroup and a state folder in which nothing is missing."""
    files = {
        "proc/self/uid_map": "0 0 4294967295\n",
        "proc/sys/user/max_user_namespaces": "1000\n",
        "proc/filesystems": "nodev\tproc\nnodev\toverlay\n\text4\n\terofs\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for name in ("cgroup", "modules/6.12.0", "state"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def fit(world):
    return Facts(
        architecture="x86_64",
        kernel=(6, 12),
        kernel_release="6.12.0",
        root=True,
        capabilities=ALL,
        nspawn="/usr/bin/systemd-nspawn",
        nspawn_version=252,
        cgroup_root=f"{world}/cgroup",
        landlock_abi=6,
        program="/usr/lib/volt",
        boot_id="b",
        libseccomp="libseccomp.so.2",
        folders=Folders(state=f"{world}/state"),
        control=CONTROL,
    )


@pytest.fixture
def look(world, fit):
    def one(name, **changes):
        checks = examine(replace(fit, **changes), proc=f"{world}/proc", modules=f"{world}/modules")
        (found,) = [check for check in checks if check.name == name]
        return found

    return one


NAMES = (
    "root",
    "capabilities",
    "initial user namespace",
    "kernel",
    "user namespaces",
    "overlayfs",
    "images",
    "cgroup v2",
    "cgroup controllers",
    "cgroup driver",
    "I/O weights",
    "systemd-nspawn",
    "libseccomp",
    "static program",
    "state folder",
    "Landlock",
    "dnsmasq",
    "strace",
)


def test_a_machine_that_lacks_nothing_needs_no_mending(world, fit):
    checks = examine(fit, proc=f"{world}/proc", modules=f"{world}/modules")
    assert tuple(check.name for check in checks) == NAMES
    elsewhere = ("state folder", "I/O weights")  # where this test runs, and on this machine's disks
    fits = [check for check in checks if check.name not in elsewhere]
    assert all((check.state, check.mend) == ("ok", "") for check in fits), checks


@pytest.mark.parametrize(
    ("name", "changes", "state", "mend"),
    [
        ("root", {"root": False}, "missing", "sudo"),
        ("kernel", {"kernel": (KERNEL[0], KERNEL[1] - 1)}, "missing", "boot Linux 5.19"),
        ("cgroup v2", {"cgroup_root": ""}, "missing", "mount -t cgroup2"),
        ("cgroup controllers", {"control": replace(CONTROL, top=Cgroup("/"))}, "degraded", "boot a kernel"),
        ("cgroup controllers", {"control": Control(legacy=("memory",))}, "degraded", "unified_cgroup_hierarchy=1"),
        ("cgroup driver", {"control": Control(manager="")}, "degraded", "apt install dbus"),
        ("cgroup driver", {"control": Control(top=Cgroup("/"))}, "degraded", "below it"),
        ("I/O weights", {"control": replace(CONTROL, io_weight="")}, "degraded", "modprobe bfq"),
        ("systemd-nspawn", {"nspawn": "", "nspawn_version": 0}, "missing", "apt install systemd-container"),
        ("systemd-nspawn", {"nspawn_version": 0}, "missing", "--reinstall systemd-container"),
        ("systemd-nspawn", {"nspawn_version": NSPAWN - 1}, "degraded", "upgrade"),
        ("libseccomp", {"libseccomp": ""}, "missing", "apt install libseccomp2"),
        ("static program", {"program": ""}, "missing", "pip install"),
        ("Landlock", {"landlock_abi": 0}, "degraded", "lsm="),
    ],
)
def test_what_is_missing_is_named_with_what_mends_it(look, name, changes, state, mend):
    found = look(name, **changes)
    assert found.state == state
    assert mend in found.mend


@pytest.mark.parametrize("name", REQUIRED)
def test_each_capability_that_every_launch_takes(look, name):
    found = look("capabilities", capabilities=ALL & ~(1 << CAPABILITIES.index(name)))
    assert (found.state, found.found) == ("missing", f"without {name}")


def test_without_sys_resource_only_limits_are_bounded(look):
    found = look("capabilities", capabilities=ALL & ~(1 << CAPABILITIES.index("SYS_RESOURCE")))
    assert (found.state, found.needed) == ("degraded", "[limits] above this process's own")


def test_a_containers_user_namespace_is_noticed(look, world):
    (world / "proc/self/uid_map").write_text("0 100000 65536\n")
    assert look("initial user namespace").state == "missing"


@pytest.mark.parametrize(("written", "mend"), [("0\n", "sysctl"), ("", "CONFIG_USER_NS")])
def test_user_namespaces_that_are_forbidden_or_not_built(look, world, written, mend):
    (world / "proc/sys/user/max_user_namespaces").write_text(written)
    assert mend in look("user namespaces").mend


@pytest.mark.parametrize("name", ["modules.dep", "modules.builtin"])
def test_overlayfs_may_be_a_module(look, world, name):
    (world / "proc/filesystems").write_text("\text4\n")
    assert look("overlayfs").state == "missing"
    (world / "modules/6.12.0" / name).write_text("kernel/fs/overlayfs/overlay.ko.xz:\n")
    assert look("overlayfs").state == "ok"


def test_images_take_erofs(look, world):
    (world / "proc/filesystems").write_text("nodev\toverlay\n")
    assert (look("images").state, look("images").mend) == ("degraded", "modprobe erofs")
    (world / "modules/6.12.0/modules.dep").write_text("kernel/fs/erofs/erofs.ko.xz:\n")
    assert look("images").state == "ok"


def test_a_cgroup_that_cannot_be_written_is_missing(look, world):
    away = Control(own=Cgroup("/nowhere"))
    assert look("cgroup v2", control=away).state == "missing"
    assert look("cgroup v2", control=away, root=False).state == "ok"  # nobody but root launches


@pytest.mark.parametrize(
    ("found", "state", "mend"),
    [
        (Resolver(problem="dnsmasq is not installed"), "degraded", "apt install dnsmasq-base"),
        (Resolver("/usr/sbin/dnsmasq", problem="taken", mend="have it listen elsewhere"), "degraded", "have it listen"),
        (Resolver("/usr/sbin/dnsmasq"), "ok", ""),
    ],
)
def test_what_answers_for_names(found, state, mend):
    assert (names_check(found).state, mend in names_check(found).mend) == (state, True)


def test_without_strace_nothing_is_learned_and_everything_else_goes_on():
    assert strace_check("").state == "degraded"
    assert strace_check("").mend == "apt install strace"
    assert strace_check("/usr/bin/strace").state == "ok"


def test_landlock_names_what_its_version_has(look):
    assert look("Landlock", landlock_abi=2).found.startswith("ABI 2: files, renaming;")
    assert "audit" in look("Landlock", landlock_abi=99).found


@pytest.mark.parametrize("nftables", [True, False])
@pytest.mark.parametrize("abi", range(8))
def test_landlock_says_which_profiles_hold(look, abi, nftables):
    """As the planner finds: what doctor says of strict, in the host's network and in one of its own."""
    check = look("Landlock", landlock_abi=abi, nftables=nftables)
    own, host = (
        not missing(profile_on("strict", abi, mode, nftables=nftables)) for mode in (NetworkMode.NONE, NetworkMode.HOST)
    )
    assert own == ("does not start" not in check.found)
    assert host == ("all of every profile" in check.found) == (check.state == "ok")
    assert (own and not host) == ("not with" in check.found)


def test_the_state_folder_is_judged_by_the_nearest_that_exists(look, world):
    assert look("state folder", folders=Folders(state=f"{world}/not/yet/there")).found.startswith(f"{world}/not/yet")


def test_a_file_in_the_way_of_the_state_is_noticed(look, world):
    (world / "file").touch()
    found = look("state folder", folders=Folders(state=f"{world}/file/below"))
    assert (found.state, "a file is in the way" in found.found) == ("degraded", True)


def test_a_file_system_that_no_layer_can_lie_on_is_named(look):
    found = look("state folder", folders=Folders(state="/proc"))
    assert (found.state, "VOLT_ROOT" in found.mend) == ("degraded", True)
    assert "proc: the kernel's own files" in found.found


def test_this_machine_is_examined_without_root():
    checks = examine(probe_machine(folders({})))
    assert tuple(check.name for check in checks) == NAMES
    assert all(check.found and check.needed for check in checks)
    assert all(bool(check.mend) is (check.state != "ok") for check in checks)
    assert [check.state for check in checks if check.name == "root"] == ["ok" if os.geteuid() == 0 else "missing"]
