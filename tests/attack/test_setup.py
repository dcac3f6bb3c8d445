"""While a launch is set up: an image, a caller and a volume that try to have more than they were given."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.attack import walls
from tests.attack.conftest import PROBE
from tests.attack.plans import PROGRAM, VOLT_FAILED, changed, each
from tests.host.conftest import cgroups
from volt.model.steps import Attach, AttachInside, MakeFile, MakeFolder, StartPayload
from volt.model.text import show, text
from volt.model.values import replace

pytestmark = pytest.mark.kernel

HOST = "/run/root"  # where the guard has the workload's root


# ── roots and links of the image


def test_a_root_that_became_a_link_after_planning_is_refused(attack, image, tmp_path):
    plan = attack.plan("cat", "/mark", storage=image.storage())
    image.root.rename(tmp_path / "planned")
    shutil.copytree(tmp_path / "planned", tmp_path / "other", symlinks=True)
    (tmp_path / "other/mark").write_text("another root\n")
    image.root.symlink_to(tmp_path / "other")
    refused = attack.perform(plan)
    assert (refused.status, "open" in refused.err) == (VOLT_FAILED, True)
    assert attack.perform(walls.no_pins(plan)).out == "another root\n"


def without_checked_folders(plan):
    """Nothing looks whether the image's own /dev and the like are links."""

    def change(step):
        checked = isinstance(step, MakeFolder) and show(step.path) in {f"{HOST}/{name}" for name in ("dev", "run")}
        return () if checked else (step,)

    return each(plan, change)


@pytest.mark.parametrize("name", ["dev", "run"])
def test_a_link_in_the_place_of_dev_or_run_makes_nothing_on_the_host(attack, image, outside, name):
    """systemd-nspawn makes device nodes and folders there by their path, as the host's root."""
    image.link(name, outside)
    plan = attack.plan("true", storage=image.storage(writable_layer="tmpfs"))
    refused = attack.perform(plan)
    assert (refused.status, f"{name} is no folder" in refused.err) == (VOLT_FAILED, True)
    assert os.listdir(outside) == ["mark"]
    attack.perform(without_checked_folders(plan))
    assert len(os.listdir(outside)) > 1


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_in_the_place_of_proc_or_sys_is_refused(attack, image, name):
    image.link(name, "/srv")
    refused = attack("true", storage=image.storage())
    assert (refused.status, f"{name} is no folder" in refused.err) == (VOLT_FAILED, True)


def test_a_null_device_of_the_image_masks_nothing(attack, image):
    """What masks a file is the /dev/null that the launch made; the image's own is never seen."""
    (image.root / "dev").mkdir()
    (image.root / "dev/null").symlink_to("/etc/passwd")
    attempts = "test -c /dev/null && cat /proc/interrupts 2>/dev/null | head -c 9; echo end"
    assert attack("sh", "-c", attempts, storage=image.storage()).out == "end\n"
    seen = attack("sh", "-c", attempts, storage=image.storage(), without=[walls.no_masks]).out
    assert seen != "end\n"


def by_path(plan):
    """Volumes are mounted before the root is the payload's own, by their path on the host."""
    attached = [step for step in plan.init if isinstance(step, AttachInside) and step.mount.startswith("volume")]
    early = (Attach(mount=step.mount, path=text(HOST, *step.path)) for step in attached)
    *guard, died, execute = plan.guard
    init = tuple(step for step in plan.init if step not in attached)
    return replace(plan, guard=(*guard, *early, died, execute), init=init)


def test_a_volume_is_mounted_inside_whatever_the_link_on_its_way(attack, image, outside, volume):
    """A link of the image, or one that a workload before has left in a volume that both share."""
    (volume / "file").write_text("the volume's\n")
    image.link("way", outside)
    volumes = [{"host": str(volume), "container": "/way"}]
    plan = attack.plan("cat", "/way/file", storage=image.storage(volumes=volumes))
    assert attack.perform(plan).out == "the volume's\n"
    assert os.listdir(outside) == ["mark"]
    assert attack.perform(by_path(plan)).out == "", "it was mounted on the host's folder"


def files_by_path(plan):
    """/etc/hosts is written into the root."""
    *guard, died, execute = plan.guard
    early = MakeFile(path=text(HOST, "/etc/hosts"), content=text("attacked\n"))
    return replace(plan, guard=(*guard, early, died, execute))


def test_generated_files_are_not_written_through_a_link_of_the_image(attack, image, outside):
    image.link("etc", outside)
    plan = attack.plan("cat", "/etc/hosts", storage=image.storage())
    assert "localhost" in attack.perform(plan).out
    assert os.listdir(outside) == ["mark"]
    attack.perform(files_by_path(plan))
    assert (outside / "hosts").read_text() == "attacked\n"


EXCHANGE = """
import ctypes, os, sys
libc, (one, other) = ctypes.CDLL(None), map(os.fsencode, sys.argv[1:])
while True:
    libc.renameat2(-100, one, -100, other, 2)
"""


def test_a_folder_exchanged_again_and_again_is_never_the_other_one(attack, volume, outside):
    """A race for the source of a mount: whatever the moment, the launch fails or shows what was planned."""
    (volume / "mark").write_text("planned\n")
    volumes = [{"host": str(volume), "container": "/data", "readonly": True}]
    plan = attack.plan("cat", "/data/mark", storage={"volumes": volumes})
    racer = subprocess.Popen([sys.executable, "-c", EXCHANGE, str(volume), str(outside)])
    try:
        ended = [attack.perform(plan) for _ in range(6)]
        seen = any(attack.perform(walls.no_pins(plan)).out == "the host's\n" for _ in range(60))
    finally:
        racer.kill()
        racer.wait()
    assert {one.out for one in ended} <= {"planned\n", ""}
    assert all(one.out or one.status == VOLT_FAILED for one in ended)
    assert seen


# ── mounts


SHARED = """
mount --make-rshared / && exec 7</proc/self/mountinfo 8</proc/self/mountinfo && wc -l <&7 && "$@"; wc -l <&8
"""


def test_no_mount_of_a_launch_comes_back_to_the_host(attack):
    """In a mount namespace of the test's own, all of it shared: there is where it would be seen."""
    plan = attack.plan("true")
    within = ("unshare", "--mount", "sh", "-c", SHARED, "sh")
    before, after = attack.perform(plan, within=within).words
    assert before == after
    known = set(cgroups())
    before, after = attack.perform(walls.no_private_mounts(plan), within=within).words
    assert int(after) > int(before)
    for covered in set(cgroups()) - known:  # by a mount that came back there
        os.rmdir(covered)


# ── descriptors

# What is open under a number leads to a folder, whose parents are looked through for the mark of the host's.
LOOK = """
for n in $(ls /proc/self/fd); do
    for up in . .. ../.. ../../..; do test -e /proc/self/fd/$n/$up/etc/debian_version && echo out; done
done; echo end
"""
OPEN = """
abi = 1
[[ruleset]]
handled_access_fs = ["write_file"]
[[path_beneath]]
parent = ["/"]
allowed_access = ["write_file"]
"""


@pytest.fixture
def kept(image, tmp_path):
    """A kept layer, for which the init has the root below it open, in a policy that lets everything be read."""
    (tmp_path / "policy.toml").write_text(OPEN)
    security = {"landlock_profile": "custom", "landlock_policy": str(tmp_path / "policy.toml")}
    return {"storage": image.storage(writable_layer="overlay"), "security": security}


def handed(plan):
    """The numbers under which the init has what it was given, and what it opens."""
    return range(3, 3 + len(plan.inherited) + 3)


def test_no_folder_that_the_launch_has_open_is_the_payloads(attack, kept):
    plan = attack.plan("sh", "-c", LOOK, **kept)
    assert attack.perform(plan).out == "end\n"
    leaked = attack.perform(changed(plan, StartPayload, stdio=("lower", "stdout", "stderr")))
    assert leaked.words[-1] == "end"
    assert "out" in leaked.words, "the root below the layer leads to the host"


def test_a_working_folder_is_none_that_the_launch_has_open(attack, image, kept):
    """workdir = "/app", and /app of the image a link into /proc/self/fd: CVE-2024-21626 of runc was of this kind."""
    image.link("app", "/proc/self/fd/3")
    plan = attack.plan("sh", "-c", LOOK.replace("/proc/self/fd/$n/", ""), workload={"workdir": "/app"}, **kept)
    for number in handed(plan):
        image.link("app", f"/proc/self/fd/{number}")
        refused = attack.perform(plan)
        assert (refused.status, refused.out) == (VOLT_FAILED, "")
        assert "change-folder" in refused.err


def test_no_program_nor_its_interpreter_is_taken_from_what_the_launch_has_open(attack, image, kept):
    """The root below the layer, by /proc/self/fd, and two up from there: the host's own busybox."""
    image.link("app", "x")
    script = image.root / "script"
    plan = attack.plan("/app", "true", **kept)
    scripted = attack.plan("/script", **kept)
    for number in handed(plan):
        way = f"/proc/self/fd/{number}/../../bin/busybox"
        image.link("app", way)
        script.write_text(f"#!{way} echo\n")
        script.chmod(0o755)
        assert attack.perform(plan).status in (126, 127)
        assert attack.perform(scripted).status in (126, 127)
    plan = attack.plan("/proc/self/fd/0/../../bin/busybox", "echo", "the host's", **kept)
    leaked = attack.perform(changed(plan, StartPayload, stdio=("lower", "stdout", "stderr")))
    assert leaked.out == "the host's\n"


def test_what_the_caller_has_open_is_not_inherited(attack, outside):
    look = "for n in $(ls /proc/self/fd); do test -e /proc/self/fd/$n/mark && echo leaked; done; echo end"
    plan = attack.plan("sh", "-c", look)
    folder = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert attack.perform(plan, pass_fds=(folder,)).words == ["end"]
        assert attack.perform(plan, stdin=folder).words == ["leaked", "end"]
    finally:
        os.close(folder)


# ── the program


@pytest.fixture
def program(tmp_path):
    """The static program in a file that all may write to: as it never is installed, so that ids are no wall."""
    copy = tmp_path / "volt-copy"
    shutil.copy(PROGRAM, copy)
    copy.chmod(0o777)
    return copy


def test_the_program_is_not_overwritten_from_inside(attack, program):
    """/proc/1/exe, as runc was overwritten in CVE-2019-5736. A program that runs is busy: that it is only this which
    is in the way is what is seen without the walls."""
    attempts = ("read=/proc/1/exe", "append=/proc/1/exe")
    plan = attack.plan("python3", "-c", PROBE, *attempts, security={"landlock_profile": "permissive"})
    assert attack.perform(plan, program=str(program)).words == ["EACCES", "EACCES"]
    open_init = walls.no_protected_init(plan)
    read, sealed = attack.perform(open_init, program=str(program)).words
    assert (read, sealed in ("EACCES", "EPERM", "EROFS")) == ("done", True), "a sealed copy is the second wall"
    busy = attack.perform(walls.program_from(program)(open_init), program=str(program)).words
    assert busy[1] in ("ETXTBSY", "done"), "as the kernel has it"


# ── what a caller has


def test_capabilities_of_the_caller_are_not_inherited(attack):
    """Inheritable and ambient ones, which whatever is executed would get."""
    names = ("CHOWN", "KILL")
    words = ("sh", "-c", "grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status")
    plan = attack.plan(*words, workload={"user": "1234:1234"})
    given = ",".join(f"+{name.lower()}" for name in names)
    within = ("setpriv", f"--inh-caps={given}", f"--ambient-caps={given}")
    assert {word for word in attack.perform(plan, within=within).words if word.isalnum()} == {"0" * 16}
    passed_on = attack.perform(walls.ambient(*names)(plan), within=within).words
    assert set(passed_on[1::2]) == {f"{1 << 0 | 1 << 5:016x}"}


def test_nothing_of_the_callers_environment_is_anywhere_inside(attack, monkeypatch):
    look = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    plan = attack.plan("sh", "-c", look)
    environment = {"PATH": "/usr/bin:/bin", "SECRET": "of the caller", "LISTEN_FDS": "1", "SYSTEMD_LOG_LEVEL": "debug"}
    seen = attack.perform(plan, env=environment).out
    assert "HOME=" in seen
    assert not any(name in seen for name in ("SECRET", "LISTEN_FDS", "SYSTEMD", "container="))
    shown = attack.perform(walls.no_protected_init(plan), env=environment).out
    assert "container=" in shown, "the init's own, which it was given by nspawn"
    assert "SECRET" not in shown, "nor is it there"
