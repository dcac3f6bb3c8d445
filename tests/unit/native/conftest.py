"""The compiled programs, as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.native import programs, table
from volt.native import build


@pytest.fixture(scope="session")
def folder(tmp_path_factory, worker_id) -> Path:
    """One folder for all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    path = (own if worker_id == "master" else own.parent) / "native"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture(scope="session")
def units(folder) -> Path:
    """The static program and its C tests in one, under the sanitizers."""
    return programs.compiled(folder, "units", lambda to: build.compile_program(to, programs.files(), sanitize=True))


@pytest.fixture(scope="session")
def arm_units(folder) -> Path:
    """The same for arm64, as it is built to be used."""
    return programs.compiled(
        folder, "arm-units", lambda to: build.compile_program(to, programs.files(), arch="aarch64")
    )


@pytest.fixture(scope="session")
def table_program(folder) -> Path:
    """The loader with a recorder in the place of every operation, under the sanitizers."""
    return programs.compiled(folder, "table", lambda to: table.compile_recorder(to, sanitize=True))


@pytest.fixture(scope="session")
def volt(folder) -> Path:
    """The static program as it is installed."""
    return programs.compiled(folder, "volt", build.build)


@pytest.fixture(scope="session")
def arm_volt(folder) -> Path:
    """The static program for arm64."""
    return programs.compiled(folder, "arm-volt", lambda to: build.build(to, arch="aarch64"))
