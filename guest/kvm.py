"""Whether KVM really runs guests here. Where it only answers, and emulates each instruction, QEMU does better alone.

/dev/kvm may open, make machines and run a few instructions, and still a guest takes minutes or dies. So a loop is run
on a virtual processor in long mode, and timed. x86-64 only.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

DEVICE = "/dev/kvm"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PATIENCE = 3.0  # seconds: KVM_RUN may never return
ROUNDS = 200_000  # of two instructions; fewer do not tell hardware from emulation
SLOW = 100.0  # ns an instruction: hardware takes less than 35, emulation more than 500

# linux/kvm.h, as ioctl(2) takes them
_CREATE_VM, _GET_VCPU_MMAP_SIZE, _CREATE_VCPU, _RUN = 0xAE01, 0xAE04, 0xAE41, 0xAE80
_GET_SUPPORTED_CPUID, _SET_CPUID2, _CPUID_ENTRIES, _CPUID_SIZE = 0xC008AE05, 0x4008AE90, 100, 40
_SET_USER_MEMORY_REGION, _SET_TSS_ADDR, _TSS = 0x4020AE46, 0xAE47, 0x7FFB_D000
_SET_REGS, _GET_SREGS, _SET_SREGS, _SREGS_SIZE = 0x4090AE82, 0x8138AE83, 0x4138AE84, 312
_EXIT_IO, _EXIT_HLT = 2, 5
_REASON, _IO_OFFSET = 8, 40  # in struct kvm_run: exit_reason, io.data_offset

_SIZE, _CODE, _PML4, _PDPT, _PD = 0x20_0000, 0x1000, 0x2000, 0x3000, 0x4000  # the guest's memory, and addresses in it
_MARK = 42


def usable(remembered: Path) -> bool:
    """Asked of a child process, which is ended when it hangs. The verdict holds in the file until the next boot."""
    boot = BOOT_ID.read_text().strip()
    known = remembered.read_text().split() if remembered.exists() else []
    if known[:1] != [boot]:
        known = [boot, "usable" if _fast() else "unusable"]
        remembered.write_text(" ".join(known))
    return known[1] == "usable"


def _fast() -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "guest.kvm"],
            cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and float(done.stdout) < SLOW


def nanoseconds() -> float:
    """What an instruction takes. Raises OSError where KVM fails, ValueError where the guest does something else."""
    kvm = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
    fcntl.ioctl(machine, _SET_TSS_ADDR, _TSS)
    memory = mmap.mmap(-1, _SIZE)
    memory[_CODE : _CODE + len(code())] = code()
    for table, entry in ((_PML4, _PDPT | 3), (_PDPT, _PD | 3), (_PD, 0x83)):  # present and writable; a page of 2 MiB
        struct.pack_into("<Q", memory, table, entry)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, _SIZE, address))
    processor = fcntl.ioctl(machine, _CREATE_VCPU, 0)
    _prepare(kvm, processor)
    shared = mmap.mmap(processor, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE))
    start = time.perf_counter()
    reasons = []
    for _ in range(2):
        fcntl.ioctl(processor, _RUN, 0)
        reasons.append(struct.unpack_from("<I", shared, _REASON)[0])
    took = time.perf_counter() - start
    (offset,) = struct.unpack_from("<Q", shared, _IO_OFFSET)
    if reasons != [_EXIT_IO, _EXIT_HLT] or shared[offset] != _MARK:
        raise ValueError(f"exits {reasons}")
    return took * 1e9 / (2 * ROUNDS)


def code() -> bytes:
    """mov rcx, ROUNDS; again: dec rcx; jnz again; mov al, 42; out 0x10, al; hlt."""
    count = b"\x48\xc7\xc1" + struct.pack("<i", ROUNDS)
    return count + b"\x48\xff\xc9\x75\xfb" + bytes((0xB0, _MARK, 0xE6, 0x10, 0xF4))


def _prepare(kvm: int, processor: int) -> None:
    """Its features, and its registers for 64-bit code in pages of the same address."""
    features = bytearray(struct.pack("<II", _CPUID_ENTRIES, 0) + bytes(_CPUID_SIZE * _CPUID_ENTRIES))
    fcntl.ioctl(kvm, _GET_SUPPORTED_CPUID, features, True)
    fcntl.ioctl(processor, _SET_CPUID2, features)
    special = bytearray(_SREGS_SIZE)
    fcntl.ioctl(processor, _GET_SREGS, special, True)
    # base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding: cs, then ds es fs gs ss
    segments = [
        (0, 0xFFFF_FFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0),
        *[(0, 0xFFFF_FFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)] * 5,
    ]
    for number, segment in enumerate(segments):
        struct.pack_into("<QIHBBBBBBBBBB", special, 24 * number, *segment)
    control = (0x8005_0033, 0, _PML4, 0x20, 0, 0x500)  # cr0, cr2, cr3, cr4, cr8, efer: paging, PAE, long mode
    struct.pack_into("<6Q", special, 8 * 24 + 2 * 16, *control)
    fcntl.ioctl(processor, _SET_SREGS, bytes(special))
    fcntl.ioctl(processor, _SET_REGS, struct.pack("<18Q", *[0] * 16, _CODE, 2))  # rip, rflags


if __name__ == "__main__":
    sys.stdout.write(f"{nanoseconds()}\n")
