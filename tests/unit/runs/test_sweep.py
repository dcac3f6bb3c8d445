"""Sweeping: what the dead left goes, what the living hold stays, and what is not understood is told."""

import fcntl
import json
import os
import subprocess
import threading
from contextlib import contextmanager

import pytest

from tests.unit.runs.test_record import RUN, WHOLE
from volt.model.facts import Folders
from volt.runs import sweep as module
from volt.runs.sweep import Swept, sweep

OTHER = "ba9876543210"


@pytest.fixture
def folders(tmp_path):
    found = Folders(f"{tmp_path}/state", f"{tmp_path}/run", f"{tmp_path}/log", str(tmp_path))
    for path in (f"{found.run}/runs", f"{found.run}/names", f"{found.state}/layers", f"{tmp_path}/uids"):
        os.makedirs(path)
    return found


def swept(folders):
    return sweep(folders, uids=f"{folders.root}/uids")


def write(path, content=""):
    with open(path, "w") as file:
        file.write(content)
    return path


def make_run(folders, run=RUN, *, lock=True, aside=False, **record):
    """What a run leaves behind at its worst moment."""
    folder = f"{folders.run}/runs/{run}"
    os.makedirs(f"{folder}/control")
    values = {**WHOLE, "id": run, "cgroup": f"{folders.root}/nowhere/volt-{run}", **record}
    write(f"{folder}/record.json", json.dumps(values))
    if lock:
        write(f"{folder}.lock")
    if aside:
        os.makedirs(f"{folders.state}/layers/.old-{run}/upper/etc/deep")
    return folder


@contextmanager
def held(path):
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def everything(folders):
    """Each file and folder below the state, but for what is always there."""
    found = {os.path.join(here, name) for here, inner, names in os.walk(folders.root) for name in (*inner, *names)}
    always = {"state", "run", "uids", "state/layers", "run/runs", "run/names"}
    return {os.path.relpath(path, folders.root) for path in found} - always


def test_names_and_addresses_whose_holders_have_died_go(folders):
    """Of every network namespace, and nothing else that lies there."""
    networks = f"{folders.root}/networks"
    for folder in ("1/addresses", "1/volt0.names", "2/lab.names", "2/other"):
        os.makedirs(f"{networks}/{folder}")
    dead = [write(f"{networks}/{path}") for path in ("1/addresses/10.0.0.2", "1/volt0.names/web", "2/lab.names/web")]
    stays = [write(f"{networks}/{path}") for path in ("1/volt0.resolver", "2/other/web", "1/volt0.names/db")]
    with held(stays[-1]):
        assert sweep(folders, uids=f"{folders.root}/uids", networks=networks) == Swept()
        assert [*map(os.path.exists, (*dead, *stays))] == [False] * 3 + [True] * 3


def test_nothing_to_sweep(folders):
    assert swept(folders) == Swept()
    assert sweep(Folders("/nowhere/s", "/nowhere/r", "/nowhere/l"), uids="/nowhere/u") == Swept()


def test_a_state_in_the_place_of_which_a_file_lies_is_nothing_to_sweep(tmp_path):
    file = write(f"{tmp_path}/file")
    assert sweep(Folders(f"{file}/state", f"{file}/run", f"{file}/log"), uids=f"{file}/uids") == Swept()


@pytest.mark.parametrize("lock", [True, False])
def test_a_dead_run_goes_with_all_that_it_left(folders, lock):
    make_run(folders, lock=lock, aside=True)
    assert swept(folders) == Swept((RUN,))
    assert everything(folders) == set()


def test_a_living_run_stays_as_it_is(folders):
    folder = make_run(folders, aside=True)
    before = everything(folders)
    with held(f"{folder}.lock"):
        assert swept(folders) == Swept()
    assert everything(folders) == before


def test_a_run_that_had_come_as_far_as_its_lock(folders):
    write(f"{folders.run}/runs/{RUN}.lock")
    assert swept(folders) == Swept((RUN,))
    assert everything(folders) == set()


def test_a_run_that_had_no_record_yet(folders):
    os.unlink(f"{make_run(folders)}/record.json")
    assert swept(folders) == Swept((RUN,))
    assert everything(folders) == set()


def test_a_layer_that_was_set_aside_is_enough_to_find_a_run(folders):
    os.makedirs(f"{folders.state}/layers/.old-{RUN}/upper")
    assert swept(folders) == Swept((RUN,))
    assert everything(folders) == set()


def test_kept_layers_and_foreign_names_stay(folders):
    for name in ("layers/web/upper", "layers/.old-web", f"layers/.old-{RUN}x", f"layers/old-{RUN}"):
        os.makedirs(f"{folders.state}/{name}")
    os.makedirs(f"{folders.run}/runs/{RUN.upper()}")
    os.makedirs(f"{folders.run}/runs/notes")
    before = everything(folders)
    assert swept(folders) == Swept()
    assert everything(folders) == before


def test_the_layers_record_that_never_got_its_name_goes(folders):
    make_run(folders, pid=4711)
    os.makedirs(f"{folders.state}/layers/web")
    for name in ("root", "root.new-4711", "root.new-4712"):
        write(f"{folders.state}/layers/web/{name}")
    assert swept(folders).problems == ()
    assert sorted(os.listdir(f"{folders.state}/layers/web")) == ["root", "root.new-4712"]


def test_a_name_that_is_a_path_leads_nowhere(folders):
    make_run(folders, name="../../web", pid=1)
    os.makedirs(f"{folders.root}/web")
    write(f"{folders.root}/web/root.new-1")
    assert swept(folders).problems == ()
    assert os.path.exists(f"{folders.root}/web/root.new-1")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("{", "its record is torn"),
        ('{"version": 2}', "its record has version 2"),
        (json.dumps({**WHOLE, "id": OTHER}), "its record is another run's"),
        (json.dumps({**WHOLE, "cgroup": "/"}), "names a cgroup that is not its own"),
    ],
)
def test_a_record_that_is_not_understood_is_left_and_told(folders, record, problem):
    folder = make_run(folders, aside=True)
    write(f"{folder}/record.json", record)
    before = everything(folders)
    found = swept(folders)
    assert found.runs == ()
    (told,) = found.problems
    assert problem in told
    assert told.endswith(f"it is left as it is, see {folder}")
    assert everything(folders) == before


def test_a_record_that_a_power_failure_left_empty_is_as_none(folders):
    """The static program does not wait for the disk: what the record tells of would not outlive the power either."""
    folder = make_run(folders, aside=True)
    write(f"{folder}/record.json", "")
    found = swept(folders)
    assert (found.runs, found.problems) == ((RUN,), ())
    assert not os.path.exists(folder)


def test_one_problem_keeps_no_other_run_from_being_swept(folders):
    write(f"{make_run(folders)}/record.json", "torn")
    make_run(folders, OTHER)
    found = swept(folders)
    assert (found.runs, len(found.problems)) == ((OTHER,), 1)


def test_what_cannot_be_removed_is_told_with_its_path(folders, monkeypatch):
    make_run(folders)

    def unlink(path, **options):
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(os, "unlink", unlink)
    (told,) = swept(folders).problems
    assert told.startswith(f"run {RUN}: what is left of it cannot be removed: ")
    assert told.endswith("Operation not permitted")


def test_a_sweep_that_was_itself_killed_is_taken_up_again(folders, monkeypatch):
    """The record and the lock are the last to go: whatever is left can be found by them."""
    make_run(folders, aside=True)

    class KilledError(BaseException):
        pass

    def killed(*_args, **_options):
        raise KilledError

    for call in ("rmdir", "rename", "unlink"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, killed)
            with pytest.raises(KilledError):
                swept(folders)
    assert swept(folders) == Swept((RUN,))
    assert everything(folders) == set()


def test_sweeps_at_once_do_each_other_no_harm(folders):
    for number in range(20):
        make_run(folders, f"{number:012x}", lock=bool(number % 2), aside=True)
        write(f"{folders.run}/names/web{number}")
    found = []
    threads = [threading.Thread(target=lambda: found.append(swept(folders))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [problem for one in found for problem in one.problems] == []
    assert everything(folders) == set()


@pytest.mark.parametrize("where", ["run/names", "uids"])
def test_the_claims_of_the_dead_go_and_those_of_the_living_stay(folders, where):
    dead, living = write(f"{folders.root}/{where}/dead"), write(f"{folders.root}/{where}/living")
    with held(living):
        assert swept(folders) == Swept()
    assert (os.path.exists(dead), os.path.exists(living)) == (False, True)


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_an_entry_of_the_plan_cache_that_never_had_its_name_goes_with_its_writer(folders):
    plans = f"{folders.root}/state/plans"
    os.makedirs(plans)
    dead, living = write(f"{plans}/.key-{dead_pid()}"), write(f"{plans}/.0123-1")
    entry = write(f"{plans}/0123")
    assert swept(folders) == Swept()
    assert [os.path.exists(path) for path in (dead, living, entry)] == [False, True, True]


@pytest.mark.parametrize("where", ["run/names", "run/runs", "uids"])
def test_without_o_tmpfile_a_claim_that_was_never_named_goes_with_its_maker(folders, where):
    """Such a file is made under its maker's number, and locked only then."""
    folder = f"{folders.root}/{where}"
    write(f"{folder}/.claim-{dead_pid()}")
    living = write(f"{folder}/.claim-1")
    odd = write(f"{folder}/.claim-x")
    locked = write(f"{folder}/.claim-{dead_pid()}.lock")
    assert swept(folders) == Swept()
    assert sorted(os.listdir(folder)) == sorted(map(os.path.basename, (living, odd, locked)))


def test_a_dead_makers_file_goes_also_if_this_process_has_his_number(folders):
    """`volt run` sweeps, and then becomes the program that makes its claims under this number."""
    write(f"{folders.run}/runs/.claim-{os.getpid()}")
    swept(folders)
    assert everything(folders) == set()


def test_a_claim_whose_maker_died_between_its_two_names(folders):
    name = write(f"{folders.run}/names/web")
    os.link(name, f"{folders.run}/names/.claim-{dead_pid()}")
    assert swept(folders) == Swept()
    assert everything(folders) == set()


def test_a_folder_among_the_claims_is_told(folders):
    os.makedirs(f"{folders.run}/names/web")
    (told,) = swept(folders).problems
    assert told.startswith("a claim cannot be removed: ")


def test_the_claims_on_ids_are_the_machines():
    assert module.UIDS_FOLDER == "/run/volt/uids"
