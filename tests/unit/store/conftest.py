"""A store for each test."""

import pytest

from volt.store.place import make_store


@pytest.fixture
def store(tmp_path):
    return make_store(str(tmp_path / "root/state"))
