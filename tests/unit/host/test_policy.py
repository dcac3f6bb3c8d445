"""The policy as a file: only what root alone can have written is gone by, and nothing odd is passed over."""

import os
import stat

import pytest

from volt.host.policy import not_roots, read_policy_file

TEXT = b'[network]\nmode = ["none"]\n'
OTHERS = [] if os.geteuid() == 0 else [f"belongs to the user {os.geteuid()}"] * 2  # of the folder and of the file


@pytest.fixture
def policy(tmp_path):
    """A policy in a folder of its own, which nobody else can write to."""
    folder = tmp_path / "volt"
    folder.mkdir(0o755)
    path = folder / "policy.toml"
    path.write_bytes(TEXT)
    path.chmod(0o644)
    return path


def told(path):
    """What is wrong, without the owner, who is root only where the tests are."""
    found = read_policy_file(str(path))
    return [
        str(problem.place) + problem.message[2:] for problem in found.problems if "belongs to" not in problem.message
    ]


def test_a_policy_is_read(policy):
    found = read_policy_file(str(policy))
    assert found.data == TEXT
    assert len(found.problems) == len(OTHERS)


def test_no_file_and_no_folder_is_no_policy(policy, tmp_path):
    policy.unlink()
    assert (read_policy_file(str(policy)) is None) == (not OTHERS)
    assert read_policy_file(str(tmp_path / "nowhere/policy.toml")) is None


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_policy_that_others_can_write_is_none_to_go_by(policy, mode):
    policy.chmod(mode)
    assert told(policy) == [f"{policy} can be written by others than root"]


def test_a_folder_that_others_can_write_is_one_from_which_a_policy_can_be_removed(policy):
    policy.parent.chmod(0o1777)
    assert told(policy) == [f"{policy.parent} can be written by others than root"]
    policy.unlink()
    assert told(policy) == [f"{policy.parent} can be written by others than root"]


def test_both_are_told_at_once(policy):
    policy.parent.chmod(0o775)
    policy.chmod(0o664)
    assert len(told(policy)) == 2


def linked(path):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def dangling(path):
    path.unlink()
    path.symlink_to("nowhere")


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [linked, dangling, fifo, folder])
def test_what_is_no_file_of_its_own_is_told_and_not_passed_over(policy, change):
    change(policy)
    found = read_policy_file(str(policy))
    assert found.data is None
    assert len(told(policy)) == 1


@pytest.mark.parametrize("change", [linked, dangling])
def test_a_folder_that_is_a_link_is_told(policy, change):
    if change is linked:
        linked(policy.parent)
    else:
        policy.parent.rename(policy.parent.with_name("away"))
        policy.parent.symlink_to("nowhere")
    assert "is no folder that can be opened" in told(policy)[0]


def test_the_owner_and_the_mode_decide_each_with_what_mends_it():
    assert not_roots("/x", 0, stat.S_IFREG | 0o644) == not_roots("/x", 0, stat.S_IFDIR | 0o755) == ()
    problems = not_roots("/x", 1000, 0o666)
    assert [one.hint for one in problems] == ["chown root /x", "chmod go-w /x"]
    assert all(one.place.file == "/x" and one.code == "bad-policy" for one in problems)
