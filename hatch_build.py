"""The build hook: compiles the static program, and tags the wheel with the platform it runs on."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORMS = ("linux-x86_64", "linux-aarch64")
PROGRAM = "volt/native/volt"
COMMAND = "volt"  # on PATH: the same program again
COMPILERS = ("gcc", "musl-gcc")  # musl-gcc is a wrapper around gcc: both have to be there


class StaticProgram(BuildHookInterface[Any]):
    """A wheel gets the program inside it; an editable install gets it in the source tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        platform = sysconfig.get_platform()
        if platform not in PLATFORMS:
            self.app.abort(f"volt runs on {' and '.join(PLATFORMS)}, not on {platform}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform.replace('-', '_')}"
        if version == "editable":
            program = Path(self.root, PROGRAM)
            self.compile(program)
            build_data["shared_scripts"][str(program)] = COMMAND
            return
        self.folder = tempfile.mkdtemp(prefix="volt-build-")
        target = Path(self.folder, "volt")
        self.compile(target)
        build_data["force_include"][str(target)] = PROGRAM
        build_data["shared_scripts"][str(target)] = COMMAND

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del build_data, artifact_path
        if version != "editable":
            shutil.rmtree(self.folder)

    def compile(self, target: Path) -> None:
        """Compile, or end with one line that says what to install."""
        missing = [name for name in COMPILERS if shutil.which(name) is None]
        if missing:
            self.app.abort(
                "volt's static program needs a C compiler: apt install gcc musl-tools "
                f"(not found: {', '.join(missing)})",
            )
        # The tree is not installed while it is built, and its build module needs nothing but Python.
        sys.path.insert(0, self.root)
        build = importlib.import_module("volt.native.build").build
        try:
            build(target)
        except subprocess.CalledProcessError as error:
            self.app.abort(f"volt's static program does not compile: {error.cmd[0]} ended with {error.returncode}")
