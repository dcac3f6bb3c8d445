"""The text of a unit: what stands in it is what systemd reads from it."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.unit.plan.test_check import GOOD
from volt.errors import VoltError
from volt.model.modes import Mode
from volt.model.sizes import Duration
from volt.model.workload import Ready, Resources, Service
from volt.plan.unit import kept
from volt.plan.unit_file import Launch, argument, description, path, template, unit_file

LAUNCH = Launch(("/opt/volt/bin/volt",), "/etc/volt/workloads/web.toml", mounts=("/srv/root", "/var/lib/volt"))
ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "s": " "}
# Any character that can stand in the path of a file, those that mean something to systemd above all.
CHARACTERS = some.sampled_from("%$\\\"' ;#-{}\t\n~aé\x7f") | some.characters(
    exclude_categories=("Cs",), exclude_characters="\0"
)
WORDS = some.text(CHARACTERS, min_size=1)
NAMES = some.text(CHARACTERS.filter(lambda one: one.isprintable()), min_size=1).map(lambda one: f"/{one}")


def split(line, *, c_escapes):
    """Words as systemd.syntax(7) has them: quotes, and a backslash before a character that it takes as it is; with
    `c_escapes` those of C."""
    found, word, quote, at = [], None, "", 0
    while at < len(line):
        one = line[at]
        at += 1
        if one == "\\":
            word, at = (word or "") + _escaped(line[at:], c_escapes), at + (3 if c_escapes and line[at] == "x" else 1)
        elif quote:
            quote, word = ("", word) if one == quote else (quote, word + one)
        elif one in "\"'":
            quote, word = one, word or ""
        elif one in " \t\n\r":
            found, word = (found, None) if word is None else ([*found, word], None)
        else:
            word = (word or "") + one
    assert not quote
    return found if word is None else [*found, word]


def _escaped(rest, c_escapes):
    if not c_escapes:
        return rest[0]
    return chr(int(rest[1:3], 16)) if rest[0] == "x" else ESCAPES[rest[0]]


def specified(word):
    """Without specifiers: a percent sign that is none is written twice."""
    assert not re.search("%[^%]", word.replace("%%", "")), word
    return word.replace("%%", "%")


@given(some.lists(WORDS, min_size=1))
def test_every_word_of_a_command_line_is_read_as_it_was(words):
    line = " ".join(argument(word) for word in words)
    assert "\n" not in line
    read = [specified(word) for word in split(line, c_escapes=True)]
    assert all("$" not in word.replace("$$", "") for word in read)
    assert [word.replace("$$", "$") for word in read] == words


@given(WORDS)
def test_every_variable_of_the_environment_is_read_as_it_was(value):
    (read,) = split(argument(f"A={value}", dollars=False), c_escapes=True)
    assert specified(read) == f"A={value}"


@given(some.lists(NAMES, min_size=1))
def test_every_path_is_read_as_it_was(names):
    line = " ".join(path(name) for name in names)
    assert [specified(word) for word in split(line, c_escapes=False)] == names


@pytest.mark.parametrize("name", ["/srv/a\nb", "/srv/\x7f", "/srv/\udcff"])
def test_a_path_that_no_unit_can_name_is_refused(name):
    with pytest.raises(VoltError, match=r"no unit can name|no UTF-8"):
        unit_file(GOOD, replace(LAUNCH, mounts=(name,)))


@given(WORDS)
def test_a_description_stays_on_its_line(text):
    said = description(text)
    assert not set("\n\r") & set(said)
    assert not said.endswith("\\")
    assert specified(said) in re.sub(r"[\x00-\x1f\x7f]", " ", text)


def lines(workload=GOOD, launch=LAUNCH):
    """Key → value; each key once, but for sections."""
    found = [line.partition("=") for line in unit_file(workload, launch).splitlines() if "=" in line]
    assert len({key for key, _, _ in found}) == len(found)
    return {key: value for key, _, value in found}


def test_a_unit_launches_its_manifest_says_what_it_keeps_and_is_told_of_readiness():
    found = lines()
    words = split(found["ExecStart"], c_escapes=True)
    assert words[:2] == ["/opt/volt/bin/volt", "run"]
    assert words[-3:] == ["--unit", "%n", "/etc/volt/workloads/web.toml"]
    assert "service.stop_timeout=10s" in words
    assert (found["Type"], found["NotifyAccess"], found["Delegate"]) == ("notify", "main", "yes")
    assert found["RequiresMountsFor"] == "/srv/root /var/lib/volt"
    assert (found["SyslogIdentifier"], found["LogExtraFields"]) == ("web", "VOLT_WORKLOAD=web")


def test_it_keeps_all_that_it_says():
    service = Service(restart="always", restart_sec=Duration(1500), after=("db", "cache"), requires=("db",))
    workload = replace(GOOD, service=service, resources=Resources(cpu_weight=300, io_weight=20))
    found = lines(workload)
    assert {f"{key}={value}" for key, value in kept(workload).items()} < set(split(found["ExecStart"], c_escapes=True))
    assert (found["Restart"], found["RestartSec"]) == ("always", "1500ms")
    assert found["Requires"] == "volt@db.service"
    assert found["After"].split()[-2:] == ["volt@db.service", "volt@cache.service"]
    assert (found["CPUWeight"], found["IOWeight"]) == ("300", "20")


def test_systemd_waits_longer_than_volt():
    service = Service(ready=Ready("notify"), ready_timeout=Duration(120_000), stop_timeout=Duration(30_500))
    found = lines(replace(GOOD, service=service))
    assert (found["TimeoutStartSec"], found["TimeoutStopSec"]) == ("195", "46")
    assert lines()["TimeoutStartSec"] == "75"
    assert lines(replace(GOOD, image="web:1"))["TimeoutStartSec"] == "975"


def test_who_is_silent_for_too_long_is_ended_as_by_a_stop():
    found = lines(replace(GOOD, service=Service(ready=Ready("notify"), watchdog=Duration(2500))))
    assert (found["WatchdogSec"], found["WatchdogSignal"]) == ("2500ms", "SIGTERM")
    assert "WatchdogSec" not in lines()


def test_to_end_by_the_signal_that_asks_for_it_is_no_failure():
    assert lines()["SuccessExitStatus"] == "143"
    assert lines(replace(GOOD, service=Service(stop_signal="SIGQUIT")))["SuccessExitStatus"] == "131 143"


def test_an_init_that_asks_to_be_started_again_is_whatever_the_policy():
    assert lines(replace(GOOD, mode=Mode.HYBRID_NATIVE))["RestartForceExitStatus"] == "133"
    assert "RestartForceExitStatus" not in lines()


def test_the_template_takes_its_manifest_by_the_name_of_the_instance():
    text = template(LAUNCH)
    assert "--unit %n /etc/volt/workloads/%i.toml\n" in text
    assert "Restart=on-failure\n" in text
    assert "--unit-keeps service.restart=on-failure" in text
    assert "LogExtraFields=VOLT_WORKLOAD=%i\n" in text
