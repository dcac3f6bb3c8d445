"""What images are called."""

import pytest

from volt.errors import StoreError
from volt.images.reference import Reference, parse

DIGEST = "ab" * 32
GOOD = {
    "debian": Reference("debian", "latest"),
    "debian:12": Reference("debian", "12"),
    "a/b_c:V-1.0": Reference("a/b_c", "V-1.0"),
    "host.example:5000/a/b": Reference("host.example:5000/a/b", "latest"),
    "host.example:5000/a/b:3": Reference("host.example:5000/a/b", "3"),
    f"debian:12@sha256:{DIGEST}": Reference("debian", "12", DIGEST),
    f"debian@sha256:{DIGEST}": Reference("debian", f"sha256:{DIGEST}", DIGEST),
    f"host.example:5000/a@sha256:{DIGEST}": Reference("host.example:5000/a", f"sha256:{DIGEST}", DIGEST),
    f"sha256:{DIGEST}": Reference(digest=DIGEST),
    f"cas://sha256:{DIGEST}": Reference(digest=DIGEST),
}


@pytest.mark.parametrize("written", GOOD)
def test_what_is_written_is_understood(written):
    assert parse(written) == GOOD[written]


def test_a_reference_is_written_as_it_is_understood():
    for one in GOOD.values():
        assert parse(str(one)) in (one, Reference(one.name, one.version))


@pytest.mark.parametrize(
    "written",
    ["", ":", "Debian", "a:", ":b", "../a", "a/../b", "/a", "a//", "a b", "a\n", "a:b:c/", "sha256:",
     f"sha256:{DIGEST[1:]}", f"sha256:{DIGEST.upper()}", f"a@sha256:{DIGEST}0", "a" * 300, "a:" + "b" * 129, "a%2Fb", "cas://",
     "a/" * 100 + "a", f"{'a' * 170}@sha256:{DIGEST}"],
)  # fmt: skip
def test_what_is_no_name_is_refused(written):
    with pytest.raises(StoreError):
        parse(written)
