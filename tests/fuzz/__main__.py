"""Runs the fuzzer for a while and keeps what it has learnt: python -m tests.fuzz SECONDS."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import build
from tests.fuzz.seeds import seeds

LONGEST = 65536  # bytes of an input
KEPT = 4096  # bytes of an input that is kept; larger ones come from the seeds again
NOBODY = 65534
ARGUMENTS = [f"-max_len={LONGEST}", "-rss_limit_mb=4000", "-print_final_stats=1"]


def write_seeds(folder: Path) -> None:
    """Every seed under the name of its digest, as libFuzzer names inputs."""
    for seed in seeds():
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


def main() -> int:
    """0 when nothing was found; 1 with the input that shows a fault, left in the corpus' folder."""
    seconds = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="volt-fuzz-") as name:
        folder = Path(name)
        build.fuzzer(folder / "fuzzer")
        inputs = Path(shutil.copytree(build.CORPUS, folder / "inputs"))
        write_seeds(inputs)
        nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if nobody:  # an entry's dependencies are paths that are looked at: as somebody who may see little
            for path in (folder, inputs, *inputs.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        command = ["./fuzzer", f"-max_total_time={seconds}", *ARGUMENTS, "inputs"]
        status = subprocess.run(command, cwd=folder, check=False, **nobody).returncode
        for path in inputs.iterdir():
            if path.stat().st_size > KEPT:
                path.unlink()
        merge = [folder / "fuzzer", "-merge=1", *ARGUMENTS, build.CORPUS, inputs]
        subprocess.run(merge, cwd=folder, check=True, capture_output=True)
        for found in folder.glob("crash-*"):
            sys.stderr.write(f"kept: {shutil.copy(found, build.CORPUS)}\n")
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
