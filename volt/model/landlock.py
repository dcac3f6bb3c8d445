"""Landlock's rights by name, each with the version of the interface (ABI) that brought it, landlock(7).

A table of our own: the package `landlock` on PyPI knows neither ports nor scopes, and a plan needs of a right no more
than its bit and its ABI.
"""

from __future__ import annotations

# linux/landlock.h: the position is the bit.
FILES = (
    "execute write_file read_file read_dir remove_dir remove_file make_char make_dir make_reg make_sock make_fifo "
    "make_block make_sym refer truncate ioctl_dev"
).split()
PORTS = ["bind_tcp", "connect_tcp"]
SCOPES = ["abstract_unix_socket", "signal"]

PORTS_ABI = 4  # the first that has these
# The ABI of each right that was not there from the first.
_LATER = {"refer": 2, "truncate": 3, "ioctl_dev": 5} | dict.fromkeys(PORTS, PORTS_ABI) | dict.fromkeys(SCOPES, 6)
# The first kernel that has each ABI. 7 brings audit records and no right.
KERNELS = {1: "5.13", 2: "5.19", 3: "6.2", 4: "6.7", 5: "6.10", 6: "6.12", 7: "6.15"}

RIGHTS = (*FILES, *PORTS, *SCOPES)
# What changes something: a read-only mount forbids these too.
WRITES = tuple(right for right in FILES if right not in ("execute", "read_file", "read_dir", "ioctl_dev"))
# What a rule on something else than a folder can give, landlock_add_rule(2).
OF_FILES = ("execute", "write_file", "read_file", "truncate", "ioctl_dev")


def abi_of(right: str) -> int:
    """The first ABI that has a right."""
    return _LATER.get(right, 1)


def kernel_of(right: str) -> str:
    """The first kernel that has it."""
    return KERNELS[abi_of(right)]


def bits(names: tuple[str, ...], of: list[str]) -> int:
    """The mask of these rights. Raises ValueError for one that is not among them."""
    return sum(1 << of.index(name) for name in names)
