"""Builds the static program with musl; the build of a wheel calls this, and so do the tests. Standard library only."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from volt.native import generate

SOURCES = Path(__file__).parent
WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wno-sign-conversion",
    "-Wshadow",
    "-Wvla",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wformat=2",
    "-Wno-format-nonliteral",
    "-Werror",
)
LANGUAGE = ("-std=gnu11", "-D_GNU_SOURCE")
HARDENING = (
    "-fstack-protector-strong",
    "-fno-strict-aliasing",
    "-Wl,-z,noexecstack",
)
# Small: the init is copied into a memory file at each launch. No relro: musl protects nothing of a static program
# after its start, and on arm64, whose pages may have 64 KiB, the place for it would be half of the file.
SMALL = (
    "-static",
    "-Os",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--gc-sections,--build-id=none,-z,common-page-size=4096,-z,norelro",
    "-s",
)
# Tables of addresses are constants where the program's own address is one: no process has a copy of them. On arm64 all
# of it is within reach of one instruction: no two have to be kept apart for a Cortex-A53, erratum 843419.
PLACED = {"x86_64": ("-fno-pie",), "aarch64": ("-fno-pie", "-mcmodel=tiny")}
# What runs while a payload does: it lies together at the beginning, and behind it what it needs of the C library. The
# kernel brings in the others of 16 pages with each that is needed (fault_around_bytes): whoever waits then has these,
# and nothing of the rest, however large that becomes.
WAITING = {"context", "events", "frames", "init", "log", "loopback", "memory", "ready", "supervise", "terminal"}
SANITIZERS = (
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-DPIECES_APART",  # memory.c
)
PACKAGES = {
    "x86_64": "apt install gcc musl-tools",
    "aarch64": "apt install gcc-aarch64-linux-gnu && dpkg --add-architecture arm64 && apt install musl-dev:arm64",
}


class CompilerMissing(RuntimeError):
    """No compiler for the static program; the message says what to install."""


def build(target: Path, *, cc: str | None = None, sanitize: bool = False, arch: str | None = None) -> None:
    """Compile the static program to `target`.

    `cc` is another compiler that links with musl by itself; `sanitize` builds with the C library of the system,
    under the address and undefined-behaviour sanitizers; `arch` is this machine's unless given (x86_64, aarch64).
    Raises CompilerMissing, and CalledProcessError when the compiler fails: it has said why.
    """
    compile_program(target, sources(), cc=cc, sanitize=sanitize, arch=arch)


def sources() -> list[Path]:
    """The C files of the program, in the order in which their code lies in it."""
    return sorted(SOURCES.glob("*.c"), key=lambda file: (file.stem not in WAITING, file.name))


def compile_program(
    target: Path,
    files: Sequence[Path],
    *,
    cc: str | None = None,
    sanitize: bool = False,
    arch: str | None = None,
) -> None:
    """Compile `files` as the static program is compiled. Raises as `build` does."""
    wanted = arch or platform.machine()
    with tempfile.TemporaryDirectory(prefix="volt-build-") as folder:
        generate.write(Path(folder))
        includes = ("-I", folder, "-I", str(SOURCES))
        head, tail = _compiler(wanted, cc, sanitize=sanitize)
        options = SANITIZERS if sanitize else (*SMALL, *PLACED.get(wanted, ()))
        waiting = [str(file) for file in files if file.stem in WAITING]
        rest = [str(file) for file in files if file.stem not in WAITING]
        library = [] if sanitize else tail[:1] or ["-lc"]
        command = [*head, *LANGUAGE, *options, *WARNINGS, *HARDENING, *includes, *waiting, *library, *rest, *tail]
        subprocess.run([*command, "-o", str(target)], check=True)


def _compiler(arch: str, cc: str | None, *, sanitize: bool) -> tuple[list[str], list[str]]:
    """The words before the sources and those after them."""
    if sanitize:
        return [_found(cc or "gcc", arch)], []
    if cc or arch == platform.machine():
        return [_found(cc or "musl-gcc", arch)], []
    return _cross(arch)


def _found(compiler: str, arch: str) -> str:
    path = shutil.which(compiler)
    if not path:
        remedy = PACKAGES.get(arch, "install a C compiler that links with musl")
        raise CompilerMissing(f"volt's static program needs {compiler} to be compiled: {remedy}")
    return path


def _cross(arch: str) -> tuple[list[str], list[str]]:
    """For another architecture: its gcc, with musl's headers and libraries in the place of glibc's."""
    compiler = _found(f"{arch}-linux-gnu-gcc", arch)
    headers, library = Path(f"/usr/include/{arch}-linux-musl"), Path(f"/usr/lib/{arch}-linux-musl")
    if not (library / "libc.a").exists():
        raise CompilerMissing(
            f"musl for {arch} is not installed: {PACKAGES.get(arch, f'its files belong in {library}')}"
        )
    own = subprocess.run([compiler, "-print-file-name=include"], check=True, capture_output=True, text=True)
    before = [compiler, "-nostdinc", "-isystem", str(headers), "-isystem", own.stdout.strip(), "-nostdlib"]
    start, end = (str(library / "crt1.o"), str(library / "crti.o")), str(library / "crtn.o")
    # gcc's atomics for arm64 ask glibc for the processor's features: musl has no such answer.
    atomics = ["-mno-outline-atomics"] if arch == "aarch64" else []
    return [*before, *atomics, *start], [str(library / "libc.a"), "-lgcc", str(library / "libc.a"), end]
