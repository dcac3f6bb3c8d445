"""What is older than what was taken for a name is not taken again, whoever asks at once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt.errors import StoreError
from volt.images.accepted import accept, file_of

NAME = "registry.example/team/app:1"


def test_of_each_name_the_least_that_is_taken_never_falls(tmp_path):
    folder = str(tmp_path / "volt/accepted")
    assert [accept(NAME, signed, folder) for signed in (7, 9, 8, 9, 10)] == [7, 9, 9, 9, 10]
    assert accept("registry.example/team/app:2", 1, folder) == 1
    assert os.stat(folder).st_mode & 0o777 == 0o700


def test_of_many_at_once_the_newest_stays(tmp_path):
    folder = str(tmp_path / "volt/accepted")
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda signed: accept(NAME, signed, folder), range(1, 41))]
    assert accept(NAME, 0, folder) == 40


def test_one_that_is_damaged_lets_nothing_pass(tmp_path):
    folder = str(tmp_path / "volt/accepted")
    accept(NAME, 7, folder)
    for text in ("", "{}", "[]", '{"signed": null}', "x" * 99999):
        Path(file_of(NAME, folder)).write_text(text)
        with pytest.raises(StoreError, match="is damaged"):
            accept(NAME, 8, folder)
