"""Volumes: what a payload leaves there for the host, and what it finds there that was not given to it."""

import os
import shutil
import stat

import pyseccomp
import pytest

from tests.attack import walls
from tests.attack.plans import VOLT_FAILED

pytestmark = pytest.mark.kernel

GETEUID = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "geteuid")
PERMISSIVE = {"landlock_profile": "permissive"}  # files are free: each wall here stands by itself


def shown(folder, **more):
    return {"volumes": [{"host": str(folder), "container": "/data", **more}]}


def test_a_read_only_volume_is_not_written_to(probe, volume):
    sections = {"storage": shown(volume, readonly=True), "security": PERMISSIVE}
    assert probe("new=/data/x", "chmod=/data", **sections) == ["EROFS", "EROFS"]
    assert os.listdir(volume) == []
    assert probe("new=/data/x", without=[walls.without_attribute("ro")], **sections) == ["done"]
    assert os.listdir(volume) == ["x"]


MOUNTER = {**PERMISSIVE, "capabilities": ["SYS_ADMIN", "DAC_OVERRIDE"]}
REMOUNT = "mount -o remount,bind,rw,suid,dev /data; echo x > /data/x"


def test_root_that_may_mount_takes_no_attribute_off(attack, volume):
    sections = {"storage": shown(volume, readonly=True), "security": MOUNTER}
    plan = attack.plan("sh", "-c", REMOUNT, **sections)
    attack.perform(plan)
    assert os.listdir(volume) == []
    attack.perform(walls.unlocked(plan))
    assert os.listdir(volume) == ["x"]


@pytest.fixture
def set_uid(volume, doors):
    """A set-uid program of the volume's owner, who is root inside, as a workload before may have left it: it tells
    whose it is."""
    shutil.copy(doors, volume / "doors")
    os.chown(volume / "doors", 1000, 1000)
    (volume / "doors").chmod(0o4755)
    return ("/data/doors", "native", str(GETEUID))


def test_a_set_uid_program_gives_another_user_nothing(attack, volume, set_uid):
    """By nosuid, and by no_new_privs: each is enough."""
    sections = {"storage": shown(volume), "security": PERMISSIVE, "workload": {"user": "1234:1234"}}
    plan = attack.plan(*set_uid, **sections)
    nosuid = walls.without_attribute("nosuid")
    for one in (plan, nosuid(plan), walls.new_privileges(plan)):
        assert attack.perform(one).words == ["1234"]
    assert attack.perform(walls.new_privileges(nosuid(plan))).words == ["0"]


def test_a_device_node_is_none(attack, volume):
    """/dev/zero's number, which does no harm."""
    os.mknod(volume / "node", 0o20666, os.makedev(1, 5))
    (volume / "node").chmod(0o666)
    plan = attack.plan("sh", "-c", "head -c 1 /data/node | wc -c", storage=shown(volume), security=PERMISSIVE)
    assert attack.perform(plan).words == ["0"]
    assert attack.perform(walls.without_attribute("nodev")(plan)).words == ["1"]


def test_other_ids_than_the_owners_are_not_left_on_the_host(attack, volume):
    volume.chmod(0o777)
    plan = attack.plan(
        "sh", "-c", "echo x > /data/x || echo refused", storage=shown(volume), workload={"user": "33:33"}
    )
    assert attack.perform(plan).words == ["refused"]
    assert os.listdir(volume) == []
    attack.perform(walls.whole_range(plan))
    assert (volume / "x").stat().st_uid == 33


def test_no_set_uid_root_program_is_left_on_the_host(attack, volume, busybox):
    """A user of the host's would only have to run it: nosuid on the mount inside says nothing of the host."""
    script = "cp /bin/busybox /data/b && chown 0:0 /data/b && chmod 4755 /data/b"
    storage = {"rootfs": str(busybox), **shown(volume)}
    plan = attack.plan("sh", "-c", script, storage=storage)
    assert attack.perform(plan).status == 0
    assert (volume / "b").stat().st_uid == 1000
    (volume / "b").unlink()
    os.chown(volume, 0, 0)
    plan = walls.whole_range(plan)
    assert attack.perform(plan).status == 0
    left = (volume / "b").stat()
    assert (left.st_uid, bool(left.st_mode & stat.S_ISUID)) == (0, True)


@pytest.mark.parametrize("more", [{}, {"ids": "same"}])
def test_a_folder_of_the_hosts_root_is_not_writable_unless_that_is_spelled_out(volt, volume, more):
    os.chown(volume, 0, 0)

    def planned(**spelled):
        return volt("plan", volt.manifest(storage=shown(volume, **more, **spelled)), "--", "true")

    refused = planned()
    assert (refused.returncode, b"root-owner" in refused.stderr) == (2, True)
    assert planned(owner="root").returncode == 0


def test_a_source_that_became_a_link_is_refused(attack, volume, outside):
    """Of which another workload has the folder above: what was planned is known by device and inode."""
    plan = attack.plan("cat", "/data/mark", storage=shown(volume), security=PERMISSIVE)
    volume.rmdir()
    volume.symlink_to(outside)
    refused = attack.perform(plan)
    assert (refused.status, refused.out) == (VOLT_FAILED, "")
    assert attack.perform(walls.no_pins(plan)).out == "the host's\n"


def test_a_folder_on_the_way_that_became_a_link_is_refused(attack, tmp_path, outside):
    (tmp_path / "way/data").mkdir(parents=True)
    (outside / "data").mkdir()
    (outside / "data/mark").write_text("the host's\n")
    for path in (tmp_path / "way/data", outside / "data"):
        os.chown(path, 1000, 1000)
    plan = attack.plan("cat", "/data/mark", storage=shown(tmp_path / "way/data"), security=PERMISSIVE)
    shutil.rmtree(tmp_path / "way")
    (tmp_path / "way").symlink_to(outside)
    assert attack.perform(plan).status == VOLT_FAILED
    assert attack.perform(walls.no_pins(plan)).out == "the host's\n"


def test_a_link_in_a_volume_leads_to_the_workloads_own_files(attack, volume, outside):
    """What it names is looked up inside, where the host's folder is not; given that folder too, it is found."""
    (volume / "link").symlink_to(outside / "mark")
    plan = attack.plan("sh", "-c", "cat /data/link || echo nothing", storage=shown(volume))
    assert attack.perform(plan).words == ["nothing"]
    volumes = [*shown(volume)["volumes"], {"host": str(outside), "container": str(outside), "readonly": True}]
    assert attack("cat", "/data/link", storage={"volumes": volumes}).out == "the host's\n"


def test_a_magic_link_is_no_source(volt):
    """/proc/PID/root and the like lead wherever that process is."""
    done = volt("run", volt.manifest(storage=shown("/proc/self/root/srv", readonly=True)), "--", "true")
    assert done.returncode == VOLT_FAILED
