"""The settings of the machine: what is not given is as by default, what is not understood is refused."""

import pytest

from volt.errors import VoltError
from volt.host.settings import Settings, read_settings, span


def settings(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return read_settings(str(path))


def test_without_a_file_everything_is_as_by_default(tmp_path):
    assert read_settings(str(tmp_path / "none")) == Settings() == Settings(gc_older_than=604800)


@pytest.mark.parametrize(("text", "seconds"), [("", 604800), ("[gc]", 604800), ('[gc]\nolder_than = "1d12h"', 129600)])
def test_the_age_of_what_is_cleared_away(tmp_path, text, seconds):
    assert settings(tmp_path, text).gc_older_than == seconds


def test_the_network(tmp_path):
    text = '[network]\nbridge = "br0"\nsubnet = "10.9.0.0/24"\nsubnet6 = "fd12:3:4::/64"\nmtu = 9000\n'
    found = settings(tmp_path, text)
    assert (found.bridge, found.subnet, found.subnet6, found.mtu) == ("br0", "10.9.0.0/24", "fd12:3:4::/64", 9000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[gc", "config.toml: "),
        ("[gd]", "no section gd"),
        ("gc = 1", "no section gc"),
        ("[gc]\nolder = 1", "no gc.older"),
        ('[gc]\nolder_than = "soon"', "gc.older_than: 'soon' is not a duration"),
        ("[gc]\nolder_than = 7", "gc.older_than: 7 is not a duration"),
        ('[network]\nsubnet = "10.189.0.0/8"', "network.subnet: '10.189.0.0/8' is no|has host bits set"),
        ('[network]\nsubnet = "10.0.0.0/8"', "network.subnet: '10.0.0.0/8' is no subnet with a prefix from /16 to /29"),
        ('[network]\nsubnet = "10.9.0.1/16"', "network.subnet: .* has host bits set"),
        ('[network]\nsubnet6 = "fd12::/97"', "network.subnet6: .* from /8 to /96"),
        ('[network]\nbridge = "volt-1"', "network.bridge: 'volt-1' is no name of a bridge"),
        ('[network]\nbridge = "sixteen-letters0"', "network.bridge"),
        ("[network]\nmtu = 576", "network.mtu: 576 is not from 1280 to 65535"),
        ("[network]\nmtu = true", "network.mtu: True"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, text, problem):
    with pytest.raises(VoltError, match=problem):
        settings(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "seconds"), [("7d", 604800), ("0", 0), (0, 0), ("90m", 5400), ("1d1s", 86401), ("1500ms", 1)]
)
def test_spans(written, seconds):
    assert span(written) == seconds


@pytest.mark.parametrize("written", ["", "d", "7", "7d7", "-1d", None, 1.5])
def test_what_is_no_span(written):
    with pytest.raises(ValueError, match="is not a duration"):
        span(written)
