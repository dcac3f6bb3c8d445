"""Of what an index holds the best is chosen that runs: by the processor, or by the platform that was asked for."""

import pytest

from volt.errors import StoreError
from volt.images.manifest import Blob, Listed
from volt.images.platforms import Platform, best, parse_platform, processor

V2 = "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
V4 = f"{V3} avx512bw avx512cd avx512dq avx512f avx512vl"
ALL = ("arm/v5", "arm/v6", "arm/v7", "arm64/v8", "amd64", "amd64/v2", "amd64/v3", "386", "s390x")


def line(written, *labels):
    return Listed(Blob("a" * 64, 1), "", labels, Platform(*written.split("/")) if written else Platform(""))


def chosen(wanted, *there):
    return [str(one.platform) for one in best([line(one) for one in there or ALL], wanted)]


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", "", "linux/amd64/v1"),
        ("x86_64", f"flags : fpu {V2}\n", "linux/amd64/v2"),
        ("x86_64", f"flags : fpu {V3}\nflags : fpu {V3}\n", "linux/amd64/v3"),
        ("x86_64", f"flags : fpu {V4}\nflags : fpu {V2}\n", "linux/amd64/v2"),
        ("x86_64", f"flags : {V4}\n", "linux/amd64/v4"),
        ("x86_64", f"flags : {V4.replace('popcnt', '')}\n", "linux/amd64/v1"),
        ("aarch64", "Features : fp asimd\n", "linux/arm64/v8"),
        ("armv6l", "", "linux/arm/v6"),
        ("armv7l", "", "linux/arm/v7"),
        ("armv8l", "", "linux/arm/v8"),
        ("i686", "flags : fpu\n", "linux/386"),
        ("s390x", "", "linux/s390x"),
    ],
)
def test_a_processor_runs_what_it_says_it_has(machine, cpuinfo, expected):
    assert str(processor(machine, cpuinfo)) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("linux/amd64/v4", ["linux/amd64/v3"]),
        ("linux/amd64/v2", ["linux/amd64/v2"]),
        ("linux/amd64", ["linux/amd64"]),
        ("amd64", ["linux/amd64"]),
        ("linux/arm", ["linux/arm/v7"]),
        ("linux/arm/v8", ["linux/arm/v7"]),
        ("linux/arm/v6", ["linux/arm/v6"]),
        ("linux/arm64", ["linux/arm64/v8"]),
        ("linux/arm64/v9", ["linux/arm64/v8"]),
        ("linux/s390x", ["linux/s390x"]),
        ("linux/riscv64", []),
        ("linux/arm/v4", []),
    ],
)
def test_of_the_variants_that_run_the_best_is_chosen_and_of_others_none(wanted, expected):
    assert chosen(parse_platform(wanted)) == expected


def test_a_variant_without_an_order_runs_as_itself_alone():
    assert chosen(Platform("riscv64", "rva22"), "riscv64/rva20", "riscv64") == ["linux/riscv64"]
    assert chosen(Platform("arm64", "v8"), "arm64/odd", "arm64/v8.2", "arm64") == ["linux/arm64"]


def test_each_name_has_its_own_best_and_what_does_not_say_comes_last():
    lines = [line(""), line("amd64", "old"), line("amd64/v2", "new"), line("amd64/v3", "new"), line("amd64/v4", "new")]
    found = best(lines, Platform("amd64", "v3"))
    assert [(str(one.platform), one.labels) for one in found] == [
        ("linux/amd64", ("old",)),
        ("linux/amd64/v3", ("new",)),
        ("linux", ()),
    ]


@pytest.mark.parametrize("written", ["", "linux", "linux/", "windows/amd64", "linux/arm/7", "linux/arm/v7/x", "Arm64"])
def test_what_is_no_platform_is_told(written):
    with pytest.raises(StoreError, match="is no platform"):
        parse_platform(written)
