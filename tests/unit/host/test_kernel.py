"""What the kernel says about itself and about this process."""

import os
import re
import resource
from pathlib import Path

import pytest

from volt.host import kernel
from volt.model.facts import Modules
from volt.model.steps import LIMITS, NO_LIMIT


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.1.0-28-amd64", (6, 1)),
        ("5.19", (5, 19)),
        ("6.12.3", (6, 12)),
        ("weird", (0, 0)),
        ("6", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_version_in_a_release(release, expected):
    assert kernel.version(release) == expected


def test_the_effective_mask(tmp_path):
    (tmp_path / "status").write_text("Name:\tx\nCapPrm:\t01\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n")
    assert kernel.effective_capabilities(f"{tmp_path}/status") == (1 << 41) - 1
    assert kernel.effective_capabilities(f"{tmp_path}/missing") == 0


@pytest.mark.parametrize(
    ("written", "first"),
    [
        ("         0          0 4294967295\n", True),
        ("         0     100000      65536\n", False),
        ("         0          0 4294967295\n 5 5 1\n", False),
        ("", False),
    ],
)
def test_the_first_user_namespace_maps_every_id_to_itself(tmp_path, written, first):
    (tmp_path / "uid_map").write_text(written)
    assert kernel.in_first_namespace(f"{tmp_path}/uid_map") is first


def test_no_limit_has_one_number(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda number: (number, resource.RLIM_INFINITY))
    assert kernel.own_limits() == {name: (number, NO_LIMIT) for name, number in LIMITS.items()}


def test_this_machine():
    assert kernel.version(os.uname().release) >= (5, 0)
    assert re.fullmatch(r"[0-9a-f-]{36}", kernel.boot_id())
    assert kernel.own_limits()["nofile"] == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert bool(kernel.effective_capabilities()) or os.geteuid() != 0


def test_the_memory_is_the_kernels():
    text = Path("/proc/meminfo").read_text()
    assert kernel.memory() == 1024 * int(re.search(r"^MemTotal: +(\d+) kB", text, re.MULTILINE)[1])


LISTED = "kernel/net/netfilter/nf_tables.ko.xz: kernel/x.ko\nkernel/net/netfilter/nft_reject_inet.ko.xz:\n"
SYMBOLS = "0000000000000000 t nf_tables_newrule\n0000000000000000 t nft_reject_inet_eval\n"


@pytest.mark.parametrize(
    ("listed", "symbols", "found"),
    [
        (LISTED, "", True),
        ("", SYMBOLS, True),
        ("kernel/x.ko:\n", SYMBOLS, True),
        ("", "", False),
        (LISTED.replace("nft_reject_inet", "nft_reject"), "", False),
        ("", SYMBOLS.replace("nft_reject_inet", "nft_reject"), False),
        (LISTED.splitlines()[1], SYMBOLS.splitlines()[0], False),
    ],
)
def test_nftables_can_be_loaded_or_is_there(tmp_path, listed, symbols, found):
    (tmp_path / "symbols").write_text(symbols)
    for kind in ("dep", "builtin"):
        (tmp_path / f"modules.{kind}").write_text(listed)
        assert kernel.has_nftables("6.1", f"{tmp_path}/modules.dep", f"{tmp_path}/symbols") == found
        (tmp_path / f"modules.{kind}").unlink()
    assert not kernel.has_nftables("6.1", f"{tmp_path}/modules.dep", f"{tmp_path}/no")


DEP = (
    "kernel/drivers/block/loop.ko.xz:\nkernel/drivers/net/dummy.ko:\nkernel/sound/snd-hda-intel.ko.zst: kernel/a.ko\n"
    "kernel/fs/gone.ko:\nkernel/net/wire-guard.ko: kernel/lost.ko\n"
)


def modules(folder, *names, program="/sbin/modprobe"):
    """What is found where those of DEP are listed, but for `gone` lie there too, and zfs and loop are loaded."""
    (folder / "modules.builtin").write_text("kernel/fs/fuse/fuse.ko\nkernel/lib/crc-itu-t.ko\n")
    (folder / "modules.dep").write_text(DEP)
    for line in DEP.splitlines():
        path = folder / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "kernel/fs/gone.ko").unlink()
    for name in ("zfs", "loop"):
        (folder / "sys" / name).mkdir(parents=True, exist_ok=True)
    return kernel.modules_of(names, program, f"{folder}/modules.dep", f"{folder}/sys")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("loop", "kernel/drivers/block/loop.ko.xz"),
        ("dummy", "kernel/drivers/net/dummy.ko"),
        ("snd_hda_intel", "kernel/sound/snd-hda-intel.ko.zst"),
        ("wire_guard", "kernel/net/wire-guard.ko"),
    ],
)
def test_a_module_lies_where_depmod_says_however_its_file_is_packed(tmp_path, name, path):
    assert modules(tmp_path, name) == Modules("/sbin/modprobe", files={name: f"{tmp_path}/{path}"})


@pytest.mark.parametrize("name", ["fuse", "crc_itu_t"])
def test_a_module_that_is_part_of_the_kernel_is_no_file(tmp_path, name):
    assert modules(tmp_path, name) == Modules("/sbin/modprobe", builtin=(name,))


@pytest.mark.parametrize("name", ["gone", "lost", "oop", "a", "du", "dummy_x", "drivers"])
def test_a_module_whose_file_is_gone_or_that_is_not_listed_is_not_there(tmp_path, name):
    assert modules(tmp_path, name) == Modules("/sbin/modprobe")


def test_what_is_loaded_counts_where_it_could_not_be_loaded(tmp_path):
    assert modules(tmp_path, "zfs", "loop").loaded == ("zfs",)
    assert modules(tmp_path, "loop", "dummy", program="") == Modules("", loaded=("loop",))
    assert kernel.modules_of(("zfs",), "", f"{tmp_path}/no/modules.dep", f"{tmp_path}/sys").loaded == ("zfs",)


def test_each_processor_that_counts_its_heat_is_found_in_order(tmp_path):
    for name in ("cpu0", "cpu10", "cpu2", "cpufreq"):
        (tmp_path / name / "thermal_throttle").mkdir(parents=True)
    (tmp_path / "cpu3").mkdir()
    found = kernel.heat_counters(str(tmp_path))
    assert found == tuple(f"{tmp_path}/cpu{n}/thermal_throttle" for n in (0, 2, 10))
    assert kernel.heat_counters(f"{tmp_path}/nothing") == ()


def image(tmp_path, version, magic=b"HdrS"):
    """What a kernel's image begins with, Documentation/arch/x86/boot.rst."""
    head = bytearray(0x400)
    head[0x202:0x206] = magic
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    (tmp_path / "vmlinuz").write_bytes(bytes(head[:0x300]) + version + b"\0" + bytes(64))
    return str(tmp_path / "vmlinuz")


def test_a_kernels_image_says_what_uname_says_of_it(tmp_path):
    version = b"6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"
    said = kernel.described(image(tmp_path, version))
    assert said == "6.1.0-28-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"


def test_what_is_no_kernels_image_says_nothing_and_is_not_waited_for(tmp_path):
    assert kernel.described(image(tmp_path, b"6.1 (a@b) #1", magic=b"none")) == ""
    os.mkfifo(tmp_path / "fifo")
    assert [kernel.described(str(tmp_path / name)) for name in ("fifo", "missing", ".")] == [""] * 3


def test_the_running_kernel_is_its_release_and_its_build():
    assert kernel.running() == f"{os.uname().release} {os.uname().version}"
