"""Debian root file systems from packages, fetched the way this machine fetches its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from guest import BOUND, GuestFailed

MIRROR = "http://deb.debian.org/debian"  # where this machine's own sources name none
LEAN = ("doc", "man", "info", "locale")  # folders of /usr/share that no test reads


def bootstrap(suite: str, root: Path, packages: Iterable[str], *, variant: str) -> None:
    """A new folder `root` with these packages and what they depend on. Raises GuestFailed.

    Variant "minbase" is a Debian that boots when it has a kernel and an init; "extract" only unpacks.
    """
    settings = root.with_name(f"{root.name}.apt")
    settings.write_text(f'{fetching()}Acquire::Languages "none";\nAPT::Install-Recommends "false";\n')
    lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEAN]
    argv = ["mmdebstrap", f"--variant={variant}", f"--aptopt={settings}", "--dpkgopt=force-unsafe-io", *lean]
    call([*argv, f"--include={','.join(packages)}", suite, root, mirror()])
    settings.unlink()


def call(argv: list[str | Path]) -> None:
    """Run a command silently. Raises GuestFailed with its output."""
    done = subprocess.run(
        [*BOUND, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(map(str, argv))
        raise GuestFailed(f"{words}\nended with {done.returncode}:\n{done.stdout[-4000:]}")


def fetching() -> str:
    """This machine's own proxies, timeouts and checks."""
    lines = _output("apt-config", "dump").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("Acquire::"))


def mirror() -> str:
    form = "$(ORIGIN)/$(LABEL) $(REPO_URI)"
    found = _output("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    own = [line.split()[1] for line in found.splitlines() if line.startswith("Debian/Debian ")]
    return own[0] if own else MIRROR


def _output(*argv: str) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
