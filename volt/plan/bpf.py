"""What a compiled filter answers to one call: the classic BPF of seccomp(2), followed without asking the kernel."""

from __future__ import annotations

import struct

# linux/seccomp.h: what a filter returns, and its data.
ALLOW, ERRNO = 0x7FFF_0000, 0x0005_0000
KILLS = (0x8000_0000, 0x0000_0000)
ACTION, DATA = 0xFFFF_0000, 0x0000_FFFF


def answer(program: bytes, abi: int, number: int, arguments: tuple[int, ...]) -> int:
    """The filter's answer for system call `number` of the architecture `abi` (AUDIT_ARCH_). Raises ValueError for an
    instruction that volt's filters do not have."""
    padded = [*(value & (2**64 - 1) for value in arguments), 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, abi, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        kind, yes, no, value = code[at]
        at += 1
        match kind:
            case 0x20:  # load a word of the data
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x25:
                at += yes if accumulator > value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x06:
                return int(value)
            case _:
                raise ValueError(f"instruction {kind:#x}")
