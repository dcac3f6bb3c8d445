"""Every example does what its first line says."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def hello(volt):
    done = volt("run", EXAMPLES / "hello.toml")
    assert (done.returncode, done.stdout) == (0, b"hello from volt\n"), done.stderr


def greet(volt):
    done = volt("run", "--set", "NAME=you", EXAMPLES / "greet.toml")
    assert (done.returncode, done.stdout) == (0, b"good day, you\n"), done.stderr


def web(volt):
    port = free_port()
    server = volt.start("run", "--set", f"PORT={port}", EXAMPLES / "web.toml")
    try:
        fetch = [sys.executable, TOP / "scripts/fetch.py", f"http://127.0.0.1:{port}/"]
        page = subprocess.run(fetch, capture_output=True, timeout=40, check=True).stdout
    finally:
        server.terminate()
        status = server.wait(20)
    assert page == (EXAMPLES / "site/index.html").read_bytes()
    assert status == 128 + signal.SIGTERM


POLICY = "policy.toml"  # no manifest: tests/host/test_policy.py launches under it
RUNS = {"hello.toml": hello, "greet.toml": greet, "web.toml": web}


def test_every_example_has_its_run():
    assert {path.name for path in EXAMPLES.glob("*.toml")} == set(RUNS) | {POLICY}


@pytest.mark.kernel
@pytest.mark.parametrize("name", RUNS)
def test_an_example_does_what_it_says(name, volt):
    RUNS[name](volt)
