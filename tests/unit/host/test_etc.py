"""What of the host's /etc a host rootfs shows: an allow-list."""

import os

import pytest

from volt.host.etc import SHOWN, resolvers, shown_names

SECRETS = ("shadow", "gshadow", "sudoers", "machine-id", "passwd", "group", "hosts", "hostname", "resolv.conf", "ssh")


@pytest.fixture
def etc(tmp_path):
    for name in ("alternatives", "python3.11", "ssl/certs", "ssl/private", "perl", "ssh", "java-17-openjdk"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("ld.so.cache", "python3.conf", "shadow", "new-thing", "services"):
        (tmp_path / name).touch()
    return tmp_path


def test_what_is_listed_and_there_is_shown(etc):
    assert shown_names(str(etc)) == (
        "alternatives",
        "java-17-openjdk",
        "ld.so.cache",
        "perl",
        "python3.11",
        "services",
        "ssl/certs",
    )


def test_a_link_counts_as_what_it_leads_to(etc):
    (etc / "localtime").symlink_to("ld.so.cache")
    (etc / "timezone").symlink_to("missing")
    os.mkfifo(etc / "networks")
    shown = shown_names(str(etc))
    assert "localtime" in shown
    assert not {"timezone", "networks"} & set(shown)


def test_without_an_etc_nothing_is_shown(tmp_path):
    assert shown_names(f"{tmp_path}/missing") == ()


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_and_nothing_that_volt_writes_is_listed(name):
    assert not [shown for shown in (*SHOWN, *shown_names()) if shown.split("/")[0] == name]


def test_of_ssl_only_what_holds_no_key():
    assert [name for name in SHOWN if name.startswith("ssl")] == ["ssl/certs", "ssl/openssl.cnf"]


def test_resolvers(tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    assert resolvers(f"{tmp_path}/resolv.conf") == "nameserver 192.0.2.1\n"
    assert resolvers(f"{tmp_path}/missing") == ""
