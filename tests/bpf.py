"""A small machine for the classic BPF that seccomp(2) takes."""

from __future__ import annotations

import struct


def run(program: bytes, abi: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the program returns for one call: the classic BPF that seccomp(2) takes."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, abi, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        kind, yes, no, value = code[at]
        at += 1
        match kind:
            case 0x20:
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
                return value
            case _:
                raise AssertionError(f"instruction {kind:#x}")
