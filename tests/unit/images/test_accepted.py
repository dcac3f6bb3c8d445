"""What is older than what was taken for a name is not taken again, whoever asks at once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt.errors import StoreError
from volt.images.accepted import accept, file_of, least

NAME = "registry.example/team/app:1"


def taken(name, signed, folder):
    with accept(name, signed, folder) as before:
        return before


def test_of_each_name_the_least_that_is_taken_never_falls(tmp_path):
    folder = str(tmp_path / "volt/accepted")
    assert [taken(NAME, signed, folder) for signed in (7, 9, 8, 9, 10)] == [7, 9, 9, 9, 10]
    assert taken("registry.example/team/app:2", 1, folder) == 1
    assert os.stat(folder).st_mode & 0o777 == 0o700


def test_of_many_at_once_the_newest_stays(tmp_path):
    folder = str(tmp_path / "volt/accepted")
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda signed: taken(NAME, signed, folder), range(1, 41))]
    assert least(NAME, folder) == 40


def test_while_a_name_is_written_down_nobody_else_takes_anything(tmp_path):
    """Else what was looked at first, and is older, could be written last."""
    folder, order = str(tmp_path / "volt/accepted"), []

    def older():
        with accept(NAME, 8, folder) as before:
            order.append(before)

    with ThreadPoolExecutor(1) as pool:
        with accept(NAME, 9, folder):
            waits = pool.submit(older)
            with pytest.raises(TimeoutError):
                waits.result(timeout=0.2)
            order.append("written")
        waits.result()
    assert order == ["written", 9]


def test_one_that_is_damaged_lets_nothing_pass(tmp_path):
    folder = str(tmp_path / "volt/accepted")
    taken(NAME, 7, folder)
    for text in ("", "{}", "[]", '{"signed": null}', "x" * 99999):
        Path(file_of(NAME, folder)).write_text(text)
        with pytest.raises(StoreError, match="is damaged"):
            taken(NAME, 8, folder)
