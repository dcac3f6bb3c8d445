"""Standard input, output and error are the caller's own, byte for byte."""

import os
import subprocess
import sys


def test_three_megabytes_of_random_bytes_come_back_equal(volt):
    data = os.urandom(3_000_000)
    assert volt.run("cat", call={"input": data}).stdout == data


def test_carriage_returns_are_untouched(volt):
    assert volt.run("printf", r"\r\n\n\r").stdout == b"\r\n\n\r"


def test_output_and_error_stay_apart(volt):
    done = volt.run("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_a_reader_that_goes_away_gives_sigpipe_inside(volt):
    script = "(while :; do echo y || exit 1; done; ) ; exit 0"
    run = volt.start("run", volt.manifest(), "--", "sh", "-c", f"exec yes; {script}", stdout=-1)
    run.stdout.read(4)
    run.stdout.close()
    assert run.wait(timeout=20) == 128 + 13


def test_a_closed_input_is_an_end_of_file(volt):
    done = volt.run("sh", "-c", "cat; echo end", call={"stdin": subprocess.DEVNULL})
    assert done.stdout == b"end\n"


def test_a_closed_standard_descriptor_does_no_harm(volt):
    manifest = volt.manifest()
    command = f"exec {sys.executable} -m volt run {manifest} -- sh -c 'echo out' <&-"
    done = subprocess.run(["sh", "-c", command], env=volt.environment, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"out\n")


def test_the_manifest_may_come_from_standard_input(volt):
    text = volt.manifest(workload={"command": ["echo", "from stdin"]}).read_bytes()
    assert volt("run", "-", input=text).stdout == b"from stdin\n"
