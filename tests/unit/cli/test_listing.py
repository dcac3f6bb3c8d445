"""`volt ps`: its words read by hand as typer reads them, its table, and what it does not import."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volt.cli import states
from volt.cli.listing import FLAGS, Listing, read_ps
from volt.model.run import Outcome, RunState

WORDS = st.sampled_from([*FLAGS, "--filter", "name=x", "-f", "-aq", "--filter=a=b", "--", "--help", ""])


def by_typer(words):
    """The request that typer makes of the same words."""
    import typer

    from volt.cli import ps as verb

    found = []
    app = typer.Typer()
    app.command()(verb.ps)
    original = verb.list_runs
    verb.list_runs = lambda request, **_: found.append(request)
    try:
        app(words, standalone_mode=False)
    finally:
        verb.list_runs = original
    return found[0]


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ([], Listing()),
        (["-a", "-q"], Listing(ended=True, quiet=True)),
        (["--all", "--watch", "--json"], Listing(ended=True, watch=True, json_=True)),
        (["--filter", "a", "--filter", "--json"], Listing(filters=("a", "--json"))),
    ],
)
def test_plain_words_are_read_here(words, request_):
    assert read_ps(["ps", *words]) == request_


@pytest.mark.parametrize("words", [["x"], ["--help"], ["-aq"], ["--filter"], ["--filter=a=b"], ["--"]])
def test_what_is_not_plain_is_left_to_typer(words):
    assert read_ps(["ps", *words]) is None


@settings(max_examples=200)
@given(st.lists(WORDS, max_size=6))
def test_what_is_read_here_typer_reads_the_same(words):
    request = read_ps(["ps", *words])
    assert request is None or request == by_typer(words)


def test_a_plain_ps_imports_little(tmp_path):
    """Neither what parses nor what plans: what it loads is what it costs."""
    code = (
        "import sys; from volt.cli import main; status = main(['ps']);"
        " print(status, *sorted(name for name in sys.modules if name.partition('.')[0] in"
        " {'typer', 'pydantic', 'rich', 'click', 'dataclasses', 'ctypes', 'pathlib', 'signal', 'hashlib'}"
        " or name in {'volt.model.steps', 'volt.model.facts', 'volt.api.planning', 'volt.runs.sweep'}))"
    )
    environment = {"VOLT_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0", done.stderr


def test_a_plain_ps_imports_few_modules_of_volt(tmp_path):
    code = (
        "import sys; from volt.cli import main; main(['ps']);"
        " print(sum(name.partition('.')[0] == 'volt' for name in sys.modules))"
    )
    environment = {"VOLT_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert int(done.stdout.splitlines()[-1]) <= 26, done.stdout


def run(state="running", **more):
    return RunState("0123456789ab", "web", "container", state, 7, 100, **more)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (run(), "running 2 minutes"),
        (run("starting", ready="notify"), "starting 2 minutes"),
        (run("starting", ready="notify", reports="warming up"), "starting 2 minutes: warming up"),
        (run(ready="tcp:80", ready_since=200), "running 2 minutes (ready)"),
        (
            run(ready="notify", ready_since=200, reports="\x1b" + "x" * 90),
            rf"running 2 minutes (ready): \x1b{'x' * 35}…",
        ),
        (run("paused"), "paused 2 minutes"),
        (run("exited", status=0, ended=219), "exited (0) 1 second ago"),
        (run("failed", status=125, ended=0), "failed (125) 3 minutes ago"),
        (run("lost", status=125), "lost (125)"),
        (run("lost"), "lost"),
    ],
)
def test_a_state_is_told_with_its_time(state, words):
    assert states.condition(state, 220) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 seconds"),
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (86400 * 3, "3 days"),
    ],
)
def test_ages(seconds, words):
    assert states.age(seconds) == words


def test_a_long_command_is_cut_and_nothing_of_it_is_obeyed():
    line = states.table([run(command=("sh", "-c", "\x1b[2J" + "x" * 100))]).splitlines()[1]
    assert line.isprintable()
    assert line.endswith("…")
    assert r"\x1b[2J" in line


@pytest.mark.parametrize(
    ("ports", "shown"),
    [
        ((), []),
        (("0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"), ["0.0.0.0:8080->80/tcp"]),
        (("[::]:8080->80/tcp",), ["[::]:8080->80/tcp"]),
        (("127.0.0.1:1->1/tcp", "127.0.0.1:2->2/tcp", "127.0.0.1:3->3/tcp"), ["127.0.0.1:1-3->1-3/tcp"]),
        (("0.0.0.0:1->1/tcp", "0.0.0.0:2->3/tcp"), ["0.0.0.0:1->1/tcp", "0.0.0.0:2->3/tcp"]),
        (("0.0.0.0:1->1/tcp", "0.0.0.0:2->2/udp"), ["0.0.0.0:1->1/tcp", "0.0.0.0:2->2/udp"]),
        (("0.0.0.0:1->1/tcp", "127.0.0.1:2->2/tcp"), ["0.0.0.0:1->1/tcp", "127.0.0.1:2->2/tcp"]),
        (("0.0.0.0:9->1/tcp", "[::]:9->1/tcp", "0.0.0.0:10->2/tcp", "[::]:10->2/tcp"), ["0.0.0.0:9-10->1-2/tcp"]),
    ],
)
def test_ports_are_shown_in_few_words(ports, shown):
    assert states.shortened(ports) == shown
    assert ", ".join(shown) in states.table([run(ports=ports)])


def test_the_document_has_every_field():
    found = states.document(run("exited", outcome=Outcome("payload", 0), labels={"a": "b"}))
    assert (found["labels"], found["outcome"]["status"], found["name"]) == ({"a": "b"}, 0, "web")
    assert list(found)[:5] == ["id", "name", "mode", "state", "pid"]
