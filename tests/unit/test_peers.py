"""The table of verbs against the peers: volt's column is what the command definitions have, and nothing else."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP / "docs"))
TABLE = tomllib.loads((TOP / "docs/peers.toml").read_text())


def option(*names: str) -> SimpleNamespace:
    return SimpleNamespace(param_type_name="option", opts=list(names), secondary_opts=[])


def lines(rows, **verbs) -> str:
    from peers import peers_lines

    commands = {
        name: SimpleNamespace(hidden=False, params=[option(*one) for one in options]) for name, options in verbs.items()
    }
    peers = {"podman": {"title": "podman", "source": "its help"}}
    return "\n".join(peers_lines({"peers": peers, "row": rows}, commands.items()))


def row(volt: str, podman: str = "") -> dict[str, str]:
    return {"what": "This", "volt": volt, "podman": podman}


def test_what_volt_does_not_have_is_said_not_to_be_there():
    assert "| This | **not yet** | `events` |" in lines([row("events", "events")])
    assert "| This | **not yet** |  |" in lines([row("stop --ignore")], stop=[("--all", "-a")])


def test_what_volt_has_is_shown_by_the_spelling_that_it_has():
    assert "| This | `stop --time` | `stop -t` |" in lines(
        [row("stop --timeout|--time", "stop -t")], stop=[("--time",)]
    )


def test_a_row_may_be_done_by_several_verbs():
    assert "| This | `pause`, `unpause` |  |" in lines([row("pause, unpause")], pause=[], unpause=[])
    assert "| This | `pause` |  |" in lines([row("pause, unpause")], pause=[])


def test_what_no_row_names_is_listed():
    text = lines([row("stop --all")], stop=[("--all", "-a"), ("--json",)], new=[])
    assert "| `stop` | `--json` |" in text
    assert "| `new` |  |" in text


def test_every_row_says_something_of_everybody():
    for one in TABLE["row"]:
        assert {"what", "volt", *TABLE["peers"]} == one.keys()
        assert one["what"]
        assert one["volt"]
    assert len({one["what"] for one in TABLE["row"] if not one["what"].startswith("…")}) > 40
