"""Builds the fuzzer, with clang and its coverage, and the program that replays inputs, with gcc; both sanitized."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from volt.native import build, generate

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FUZZER = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-DPIECES_APART")


def sources() -> list[Path]:
    """The static program's, but for its main and for what inputs.c includes."""
    return [path for path in build.sources() if path.name not in ("main.c", "lookup.c")]


def fuzzer(target: Path) -> None:
    """Compile the fuzzer. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="volt-fuzz-") as folder:
        generate.write(Path(folder))
        includes = ("-I", folder, "-I", str(build.SOURCES))
        files = [*map(str, sources()), str(HERE / "inputs.c"), str(HERE / "steps.c")]
        subprocess.run(["clang", *build.LANGUAGE, *FUZZER, *includes, *files, "-o", str(target)], check=True)


def replayer(target: Path) -> None:
    """Compile the program that runs through the files it is given. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="volt-fuzz-") as folder:
        generate.write(Path(folder))
        includes = ("-I", folder, "-I", str(build.SOURCES), "-DREPLAY")
        files = [*map(str, sources()), str(HERE / "inputs.c"), str(HERE / "steps.c")]
        command = ["gcc", *build.LANGUAGE, *build.SANITIZERS, *includes, *files]
        subprocess.run([*command, "-o", str(target)], check=True)
