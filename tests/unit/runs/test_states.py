"""What runs and what has run, as the records say: each state, and what cannot be read told without hiding the rest."""

import fcntl
import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.runs.test_record import RUN, WHOLE
from volt.cli.states import condition
from volt.errors import NoSuchRun, StateError, VoltError
from volt.model.folders import Folders
from volt.model.run import LOST, Runs, RunState
from volt.runs import states
from volt.runs.find import find
from volt.runs.processes import between_starts
from volt.runs.select import select
from volt.runs.states import look, named_run, read_record

OTHER = "ba9876543210"
RECORDS = Path(__file__).parent / "records"
OUTCOME = {"version": 1, "by": "payload", "status": 7, "signal": None, "message": ""}


@pytest.fixture
def folders(tmp_path):
    found = Folders(f"{tmp_path}/state", f"{tmp_path}/run", f"{tmp_path}/log", str(tmp_path))
    for path in (f"{found.run}/runs", f"{found.run}/names", f"{found.run}/ended", f"{found.state}/layers"):
        os.makedirs(path)
    return found


@contextmanager
def running(folders, run=RUN, **record):
    """A run whose lock is held, by this process, which is its supervisor then."""
    write(folders, run, "runs", **{"pid": os.getpid(), **record})
    with open(f"{folders.run}/runs/{run}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(folders, run=RUN, place="ended", outcome=None, **record):
    """The folder of a run."""
    folder = Path(folders.run, place, run)
    folder.mkdir(exist_ok=True)
    values = {**WHOLE, "id": run, "cgroup": f"{folders.root}/volt-{run}", "kept": True, **record}
    (folder / "record.json").write_text(json.dumps(values))
    if outcome is not None:
        (folder / "outcome.json").write_text(json.dumps(outcome))
    return folder


def test_nothing_runs(folders):
    assert look(folders) == Runs()
    assert look(Folders("/nowhere/s", "/nowhere/r", "/nowhere/l")) == Runs()


def test_a_run_whose_lock_is_taken_by_another_while_it_is_looked_at_is_dead(folders, monkeypatch):
    """By who sweeps it: when it was asked who holds it nobody did."""
    write(folders, RUN, "runs", outcome=OUTCOME, pid=os.getpid() + 1)
    with open(f"{folders.run}/runs/{RUN}.lock", "w") as lock:
        asked = states._holders

        def taken_then(folder):
            found = asked(folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
            return found

        monkeypatch.setattr(states, "_holders", taken_then)
        assert [run.lives for run in states._look(folders)[0].runs] == [False]


def test_a_run_whose_lock_is_held_by_its_supervisor_runs(folders):
    with running(folders, name="db", labels={"app": "shop"}, command=["sleep", "1"], detached=True):
        (state,) = look(folders).runs
    assert (state.state, state.pid, state.name, state.labels) == ("running", os.getpid(), "db", {"app": "shop"})
    assert (state.command, state.detached, state.status, state.ended) == (("sleep", "1"), True, None, None)


def test_a_living_run_without_a_record_yet_is_not_listed(folders):
    with running(folders):
        Path(folders.run, "runs", RUN, "record.json").unlink()
        assert look(folders) == Runs()


def test_a_living_run_is_known_by_its_claim_alone(folders):
    claim = Path(folders.run, "names/web")
    claim.write_text(json.dumps({"run": RUN}))
    assert named_run(folders, "web") is None
    with claim.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert named_run(folders, "web") == RUN
        assert [named_run(folders, word) for word in ("", ".", "../names/web", "db")] == [None] * 4
        claim.write_text('{"run": "../../etc"}')
        assert named_run(folders, "web") is None


def test_a_run_whose_cgroup_is_frozen_is_paused(folders):
    with running(folders):
        os.mkdir(f"{folders.root}/volt-{RUN}")
        Path(folders.root, f"volt-{RUN}", "cgroup.freeze").write_text("1\n")
        assert look(folders).runs[0].state == "paused"
        Path(folders.root, f"volt-{RUN}", "cgroup.freeze").write_text("0\n")
        assert look(folders).runs[0].state == "running"


READY = {"version": 1, "since": None, "waiting": "nothing listens on port 80 yet", "reports": "warming up"}


@pytest.mark.parametrize(("since", "state"), [(None, "starting"), (1700000000, "running")])
def test_a_run_with_a_sign_of_readiness_starts_until_that_was_seen(folders, since, state):
    with running(folders, ready="tcp:80"):
        path = Path(folders.run, "runs", RUN, "ready.json")
        path.write_text(json.dumps({**READY, "since": since}))
        (found,) = look(folders).runs
        assert (found.state, found.lives, found.ready, found.ready_since) == (state, True, "tcp:80", since)
        assert (found.waiting, found.reports) == (READY["waiting"], "warming up")


def test_what_a_run_said_of_its_readiness_stays_with_it(folders):
    folder = write(folders, outcome={**OUTCOME, "ended": "not-ready"}, ready="tcp:80")
    (folder / "ready.json").write_text(json.dumps(READY))
    (found,) = look(folders).runs
    assert (found.state, found.ready_since, found.waiting) == ("exited", None, READY["waiting"])


@pytest.mark.parametrize("text", ['{"version": 2}', "[]", "{", '{"version": 1}'])
def test_readiness_that_cannot_be_read_is_a_problem(folders, text):
    with running(folders, ready="tcp:80"):
        Path(folders.run, "runs", RUN, "ready.json").write_text(text)
        (problem,) = look(folders).problems
    assert "its ready.json" in problem


PAUSE = {"version": 1, "restarts": 2, "next": 1700000004, "last": {"version": 1, "by": "payload", "status": 3}}
START = {"version": 1, "restarts": 3, "next": None}


def test_between_two_starts_a_run_tells_when_the_next_one_is_and_how_the_last_one_ended(folders):
    with running(folders, restart="always"):
        path = Path(folders.run, "runs", RUN, "restarts.json")
        path.write_text(json.dumps(PAUSE))
        (found,) = look(folders).runs
        assert (found.state, found.lives, found.restarts, found.next_start) == ("restarting", True, 2, 1700000004)
        assert (found.restart, found.last.status) == ("always", 3)
        assert condition(found, 1700000000) == "restarting in 4 seconds after 3 (2 restarts)"
        path.write_text(json.dumps(START))
        (found,) = look(folders).runs
        assert (found.state, found.restarts, found.next_start, found.last) == ("running", 3, None, None)
        assert condition(found, found.started + 60) == "running 1 minute (3 restarts)"


@pytest.mark.parametrize(
    ("restart", "said", "waits"),
    [("always", PAUSE, True), ("always", START, False), ("always", None, False), ("", PAUSE, False)],
)
def test_a_verb_says_that_a_run_waits_where_its_supervisor_says_so(folders, restart, said, waits):
    """And of no other one that it cannot reach, though it has a policy: an init that goes on alone, say."""
    with running(folders, restart=restart):
        folder = Path(folders.run, "runs", RUN)
        if said:
            (folder / "restarts.json").write_text(json.dumps(said))
        record = read_record(str(folder), RUN)
        assert between_starts(record) is None  # the supervisor has it open; this process is it, from here on
        opened = os.open(folder, os.O_PATH)
        told = between_starts(record)
        os.close(opened)
    assert bool(told) == waits
    assert not told or "web is between two starts" in str(told)


def test_an_ended_run_tells_how_often_it_was_started_anew_and_waits_for_nothing(folders):
    folder = write(folders, outcome=OUTCOME, restart="always")
    (folder / "restarts.json").write_text(json.dumps(PAUSE))
    (found,) = look(folders).runs
    assert (found.lives, found.restarts, found.next_start) == (False, 2, None)


@pytest.mark.parametrize("text", ['{"version": 2}', "[]", "{", '{"version": 1}', json.dumps({**PAUSE, "last": []})])
def test_restarts_that_cannot_be_read_are_a_problem(folders, text):
    with running(folders, restart="always"):
        Path(folders.run, "runs", RUN, "restarts.json").write_text(text)
        (problem,) = look(folders).problems
    assert "its restarts.json" in problem


@pytest.mark.parametrize(
    ("outcome", "state", "status"),
    [
        (OUTCOME, "exited", 7),
        ({**OUTCOME, "status": 143, "signal": 15}, "exited", 143),
        ({**OUTCOME, "by": "volt", "status": 125, "message": "no space"}, "failed", 125),
        ({**OUTCOME, "by": "volt", "status": 125, "message": LOST}, "lost", 125),
        (None, "lost", 125),
    ],
)
def test_a_kept_run_has_ended_as_its_outcome_says(folders, outcome, state, status):
    folder = write(folders, outcome=outcome)
    (found,) = look(folders).runs
    assert (found.state, found.status, found.pid, found.lives) == (state, status, 0, False)
    if outcome:
        assert found.ended == int((folder / "outcome.json").stat().st_mtime)


def test_a_run_that_is_dead_and_not_kept_is_swept_and_not_shown(folders):
    folder = write(folders, place="runs", kept=False)
    assert look(folders) == Runs()
    assert not folder.exists()


def test_the_runs_come_oldest_first(folders):
    write(folders, OTHER, outcome=OUTCOME, started=5)
    with running(folders, started=4):
        assert [state.id for state in look(folders).runs] == [RUN, OTHER]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "torn"), ('{"version": 2}', "version 2, this volt knows 1"), ("[]", "no version")],
)
@pytest.mark.parametrize("place", ["runs", "ended"])
def test_a_record_that_is_not_understood_is_told_and_hides_no_other(folders, text, problem, place):
    folder = write(folders, place=place)
    (folder / "record.json").write_text(text)
    write(folders, OTHER, outcome=OUTCOME)
    found = look(folders)
    assert [state.id for state in found.runs] == [OTHER]
    (told,) = found.problems
    assert problem in told
    assert str(folder) in told
    assert folder.exists()


def test_an_outcome_that_is_torn_is_told(folders):
    (write(folders) / "outcome.json").write_text('{"version": 1, "by"')
    found = look(folders)
    assert found.runs == ()
    assert RUN in found.problems[0]


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_record_of_every_release_is_read(folders, path):
    """Each as its supervisor wrote it; only what belongs to this boot and this process is put in its place."""
    values = json.loads(path.read_text())
    own = {"id": RUN, "cgroup": f"{folders.root}/volt-{RUN}", "pid": os.getpid()}
    with running(folders, **{**values, **own}):
        found = look(folders)
    assert found.problems == ()
    (state,) = found.runs
    assert (state.name, state.mode, state.state) == (values["name"], "container", "running")
    assert state.labels == values.get("labels", {})


def test_there_is_a_stored_record_of_every_release():
    assert {path.stem for path in RECORDS.glob("*.json")} >= {"0.1", "0.2", "0.3", "0.4"}


# ── which one a word means


def state(run=RUN, name="web", started=1, word="exited", **more):
    return RunState(run, name, "container", word, 0, started, **more)


THREE = Runs(
    (
        state("aa0000000000", "web", 1),
        state("ab0000000000", "web", 2),
        state("b00000000000", "db", 3, "running"),
    )
)


@pytest.mark.parametrize(
    ("word", "run"),
    [("web", "ab0000000000"), ("db", "b00000000000"), ("aa", "aa0000000000"), ("ab0000000000", "ab0000000000")],
)
def test_a_word_means_a_name_or_the_beginning_of_an_id(word, run):
    assert find(THREE, word).id == run


def test_a_name_means_the_run_that_lives_whatever_has_ended_since():
    runs = Runs((state("c" * 12, started=1, word="running"), state("d" * 12, started=9)))
    assert find(runs, "web").id == "c" * 12


def test_a_name_goes_before_the_beginning_of_an_id_and_a_whole_id_before_a_name():
    runs = Runs((state("a" * 12, "web"), state("b" * 12, "aaa"), state("c" * 12, "a" * 12)))
    assert find(runs, "aaa").id == "b" * 12
    assert find(runs, "a" * 12).id == "a" * 12


def test_a_beginning_of_several_ids_lists_them():
    with pytest.raises(StateError, match=r"'a' can mean 2 runs: aa0000000000 \(web\), ab0000000000 \(web\)"):
        find(THREE, "a")


@pytest.mark.parametrize("word", ["nothing", "", "aa00000000001"])
def test_a_word_that_means_nothing_is_refused(word):
    with pytest.raises(NoSuchRun, match=f"no workload called '{word}'"):
        find(THREE, word)


def test_what_could_not_be_read_is_told_where_a_word_means_nothing():
    with pytest.raises(NoSuchRun) as caught:
        find(Runs((), ("run x: its record is torn",)), "web")
    assert "its record is torn" in caught.value.hint


# ── filters


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["db"]),
        (["name=d*"], ["db"]),
        (["name=w*"], []),
        (["state=exited"], ["web", "web"]),
        (["state=exited", "state=running"], ["web", "web", "db"]),
        (["state=exited", "name=db"], []),
        (["mode=container"], ["db"]),
        (["mode=hybrid-kvm"], []),
    ],
)
def test_filters(filters, names):
    assert [one.name for one in select(THREE, filters, ended=False).runs] == names


def test_all_shows_what_has_ended_too():
    assert len(select(THREE, ["name=web"], ended=True).runs) == 2


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["label=a"], 2),
        (["label=a=1"], 1),
        (["label=a=1", "label=b"], 0),
        (["label=a", "label=b"], 1),
        (["label=c"], 0),
    ],
)
def test_every_label_has_to_be_there(filters, count):
    runs = Runs((state(labels={"a": "1"}), state(labels={"a": "2", "b": ""})))
    assert len(select(runs, filters, ended=True).runs) == count


@pytest.mark.parametrize("word", ["name", "name=", "=x", "size=3", "state=dead", "label"])
def test_a_filter_that_is_none_is_refused(word):
    with pytest.raises(VoltError, match="there is no such"):
        select(THREE, [word], ended=True)
