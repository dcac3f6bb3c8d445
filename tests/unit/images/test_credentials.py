"""Who volt is to a registry: Docker's files first, then the programs that keep passwords, which are real ones here."""

import base64
import json
import os
from pathlib import Path

import pytest

from volt.errors import RegistryError
from volt.images import credentials as module
from volt.images.credentials import credentials

ME = base64.b64encode(b"me:secret").decode()
GIVES = """#!/bin/sh
test "$1" = get || exit 9
read -r name || true
echo "$name" >>"$HOME/asked"
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home, with a folder of programs of its own."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"relative:{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def helper(place, name, script):
    path = place / f"bin/docker-credential-{name}"
    path.write_text(f"{GIVES}{script}\n")
    path.chmod(0o755)
    return path


def config(place, **known):
    path = place / f"config-{len(list(place.iterdir()))}.json"
    path.write_text(json.dumps(known))
    return str(path)


ANSWER = """echo '{"ServerURL": "x", "Username": "me", "Secret": "secret"}'"""


def test_a_helper_of_one_registry_and_one_of_all_are_asked_for_what_no_file_has(place):
    helper(place, "one", ANSWER)
    helper(place, "none", "echo 'credentials not found in native keychain'; exit 1")
    file = config(place, auths={"b.example": {"auth": "there"}}, credHelpers={"a.example": "one"}, credsStore="none")
    assert credentials([file], ["a.example"]) == ME
    assert credentials([file], ["b.example"]) == "there"
    assert credentials([file], ["c.example", "d.example"]) == ""
    assert (place / "asked").read_text().split() == ["a.example", "c.example", "d.example"]
    of_volt = config(place, auths={"a.example": {"auth": "volt's own"}})
    assert credentials([file, of_volt], ["a.example"]) == "volt's own"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'the keyring is locked' >&2; exit 1", "the keyring is locked"),
        ("exit 3", "it ends with 3"),
        ("echo nothing", "its answer has no Username and Secret"),
        ("echo '[1]'", "its answer has no Username and Secret"),
        (ANSWER.replace('"me"', '"<token>"'), "it has a token and no password, which is not taken"),
    ],
)
def test_a_helper_that_fails_is_named_with_what_it_says(place, script, why):
    path = helper(place, "bad", script)
    with pytest.raises(RegistryError) as refused:
        credentials([config(place, credsStore="bad")], ["a.example"])
    assert refused.value.message == f"{path}, which keeps the password for a.example: {why}"


def test_a_helper_that_hangs_is_named_and_ends_with_all_that_it_has_started(place, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 2)
    path = helper(place, "slow", 'sleep 60 & echo $! >"$HOME/child"; wait')
    with pytest.raises(RegistryError, match=r"does not answer within 2 seconds") as refused:
        credentials([config(place, credsStore="slow")], ["a.example"])
    assert str(path) in refused.value.message
    assert not alive(int((place / "child").read_text()))


def alive(pid):
    """A zombie is not: who reaps it may take its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_a_helper_gets_nothing_of_the_callers_environment_but_where_keyrings_are(place, monkeypatch):
    for name, value in {"LD_LIBRARY_PATH": "/x", "MINE": "1", "XDG_RUNTIME_DIR": "/run/user/0"}.items():
        monkeypatch.setenv(name, value)
    helper(place, "env", f'env >"$HOME/env"; pwd >"$HOME/pwd"; {ANSWER}')
    assert credentials([config(place, credsStore="env")], ["a.example"]) == ME
    said = dict(line.split("=", 1) for line in (place / "env").read_text().splitlines())
    given = {key: said[key] for key in sorted({*said} - {"PWD", "SHLVL", "_", "USER", "LOGNAME"})}
    path = os.environ["PATH"].removeprefix("relative:")
    assert given == {"HOME": str(place), "LANG": "C.UTF-8", "PATH": path, "XDG_RUNTIME_DIR": "/run/user/0"}
    assert (place / "pwd").read_text() == "/\n"


@pytest.mark.parametrize("what", ["writable", "absent", "relative", "a path"])
def test_only_a_program_of_roots_is_a_helper(place, monkeypatch, what):
    path = helper(place, "bad", ANSWER)
    name = "bad"
    if what == "writable":
        path.chmod(0o777)
    elif what == "absent":
        path.unlink()
    elif what == "relative":
        monkeypatch.setenv("PATH", "bin")
        monkeypatch.chdir(place)
    else:
        name = "x/../docker-credential-bad"
    with pytest.raises(RegistryError, match=r"no folder of PATH has it|it is no name of a program"):
        credentials([config(place, credsStore=name)], ["a.example"])
    assert not (place / "asked").exists()


def test_what_is_no_file_of_credentials_is_named(place):
    bad = place / "bad.json"
    bad.write_text('{"auths": []}')
    assert credentials([str(bad)], ["a.example"]) == ""
    bad.write_text('{"credHelpers": ["x"]}')
    with pytest.raises(RegistryError, match=r"bad\.json: credHelpers is no table"):
        credentials([str(bad)], ["a.example"])
