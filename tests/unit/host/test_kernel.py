"""What the kernel says about itself and about this process."""

import os
import re
import resource
from pathlib import Path

import pytest

from volt.host import kernel
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


def test_each_processor_that_counts_its_heat_is_found_in_order(tmp_path):
    for name in ("cpu0", "cpu10", "cpu2", "cpufreq"):
        (tmp_path / name / "thermal_throttle").mkdir(parents=True)
    (tmp_path / "cpu3").mkdir()
    found = kernel.heat_counters(str(tmp_path))
    assert found == tuple(f"{tmp_path}/cpu{n}/thermal_throttle" for n in (0, 2, 10))
    assert kernel.heat_counters(f"{tmp_path}/nothing") == ()
