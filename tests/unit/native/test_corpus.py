"""The fuzzer's corpus: every input that once reached something new does no harm, under sanitizers."""

import subprocess

import pytest

from tests.fuzz import build
from tests.fuzz.seeds import seeds
from tests.unit.native import programs

KINDS = 6  # of inputs.c


@pytest.fixture(scope="module")
def replay(folder):
    return programs.compiled(folder, "replay", build.replayer)


def test_the_corpus_does_no_harm(replay, tmp_path):
    for number, seed in enumerate(seeds()):
        (tmp_path / str(number)).write_bytes(seed)
    inputs = [*sorted(build.CORPUS.iterdir()), *tmp_path.iterdir()]
    done = subprocess.run([replay, *inputs], env=programs.SANITIZED, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{len(inputs)} inputs\n"), done.stderr
    assert len(inputs) > 100


def test_every_kind_of_input_is_in_it():
    assert {path.read_bytes()[0] % KINDS for path in build.CORPUS.iterdir()} == set(range(KINDS))
