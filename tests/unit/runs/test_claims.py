"""Claim files: a lock says whether the holder lives, and only the dead's are removed."""

import fcntl
import os
from contextlib import contextmanager

import pytest

from volt.runs.claims import is_held, remove_dead, take, take_dead


@pytest.fixture
def claim(tmp_path):
    path = tmp_path / "claim"
    path.write_text("{}\n")
    return str(path)


@contextmanager
def held(path):
    """The claim as its living holder has it: locked through a description of its own."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def test_a_living_holders_claim_is_held_and_stays(claim):
    with held(claim):
        assert is_held(claim)
        assert take_dead(claim) is None
        assert not remove_dead(claim)
    assert os.path.exists(claim)


def test_a_dead_holders_claim_is_not_held_and_goes(claim):
    assert not is_held(claim)
    assert remove_dead(claim)
    assert not os.path.exists(claim)


def test_nothing_there_is_nobodys(claim):
    os.unlink(claim)
    assert not is_held(claim)
    assert take_dead(claim) is None
    assert not remove_dead(claim)


def test_two_may_ask_at_once(claim):
    with held(claim) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        assert not is_held(claim)


def test_what_was_taken_is_held_until_it_is_closed(claim):
    descriptor = take_dead(claim)
    assert is_held(claim)
    os.close(descriptor)
    assert not is_held(claim)


def replace_while_locking(monkeypatch, claim, second_name):
    """Another sweep removes the claim, and a new holder makes it, between the opening and the lock."""
    real = fcntl.flock
    if second_name:  # where there is no O_TMPFILE, a crash can leave a claim with both of its names
        os.link(claim, f"{claim}.unnamed")

    def flock(descriptor, operation):
        os.unlink(claim)
        with open(claim, "w") as file:
            file.write("new\n")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("second_name", [False, True])
def test_a_new_holders_claim_is_never_taken_for_the_dead_ones(monkeypatch, claim, second_name):
    replace_while_locking(monkeypatch, claim, second_name)
    assert not remove_dead(claim)
    with open(claim) as file:
        assert file.read() == "new\n"


def test_a_claim_that_goes_meanwhile_is_gone(monkeypatch, claim):
    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: (os.unlink(claim), real(descriptor, operation)))
    assert not remove_dead(claim)


def test_a_link_is_not_followed(claim):
    os.symlink(claim, f"{claim}.link")
    with pytest.raises(OSError, match="symbolic links"):
        remove_dead(f"{claim}.link")
    assert os.path.exists(claim)


def test_no_descriptor_is_left(claim, tmp_path, monkeypatch):
    before = descriptors()
    with held(claim):
        is_held(claim)
        remove_dead(claim)
    remove_dead(claim)
    remove_dead(claim)
    os.mkdir(f"{tmp_path}/folder")
    with pytest.raises(OSError, match="directory"):
        remove_dead(f"{tmp_path}/folder")
    assert descriptors() == before


def test_no_descriptor_is_left_where_nothing_can_be_locked(claim, monkeypatch):
    before = descriptors()

    def refuse(_descriptor, _operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks"):
        take_dead(claim)
    assert descriptors() == before


def test_a_name_is_taken_once_and_again_when_its_holder_has_died(tmp_path):
    first = take(str(tmp_path), "web", "first\n")
    assert first is not None
    assert take(str(tmp_path), "web", "second\n") is None
    assert is_held(f"{tmp_path}/web")
    os.close(first)
    second = take(str(tmp_path), "web", "second\n")
    assert second is not None
    assert (tmp_path / "web").read_text() == "second\n"
    os.close(second)
