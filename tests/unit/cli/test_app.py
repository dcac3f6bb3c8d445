"""A verb is read by its own definition alone, as the whole command line would read it."""

import subprocess
import sys

import pytest
import typer

from volt.cli.app import NOUNS, VERBS, app, command_line

WORDS = [(verb,) for verb in VERBS] + [(noun, verb) for noun, verbs in NOUNS.items() for verb in verbs]
LOADED = """
import sys
from volt.cli import main
status = main(sys.argv[1:])
verbs = {name.removeprefix("volt.cli.") for name in sys.modules if name.startswith("volt.cli.")}
others = {"pydantic", "rich"} & set(sys.modules)
print(status, *sorted(verbs & {"stop", "kill", "rm", "logs", "image", "plan"} | others))
"""


def told(command, *words):
    """What `--help` says of it."""
    for word in words:
        command = command.commands[word]
    with typer.main.get_command(app()).make_context("volt", ["ps"], resilient_parsing=True) as context:
        return command.get_help(context), [(one.name, one.opts, one.nargs, one.default) for one in command.params]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_alone_a_verb_is_what_it_is_among_all(words):
    alone, whole = typer.main.get_command(app(words)), typer.main.get_command(app())
    assert list(alone.commands) == [words[0]]
    assert told(alone, *words) == told(whole, *words)
    assert alone.commands[words[0]].context_settings == whole.commands[words[0]].context_settings


@pytest.mark.parametrize("words", [(), ("--help",), ("stopp",), ("image",), ("image", "stop"), ("image", "--help")])
def test_where_no_verb_is_named_all_are_there(words):
    whole = typer.main.get_command(app(words))
    assert list(whole.commands) == [*VERBS, *NOUNS]
    assert {noun: tuple(whole.commands[noun].commands) for noun in NOUNS} == NOUNS


def test_a_word_that_is_no_verb_is_refused(capsys):
    assert command_line(["stopp", "web"]) == 2
    assert "stopp" in capsys.readouterr().err
    assert command_line(["image", "stop"]) == 2


@pytest.mark.parametrize("verb", ["stop", "kill", "rm", "logs"])
def test_what_no_manifest_is_read_for_loads_itself_alone(verb, tmp_path):
    argv = [sys.executable, "-c", LOADED, verb, "nosuch"]
    done = subprocess.run(argv, env={"VOLT_ROOT": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", verb]
    assert "nosuch" in done.stderr
