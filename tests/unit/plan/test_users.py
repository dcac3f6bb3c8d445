"""Who the payload is, from the image's own files."""

import pytest

from volt.model.workload import User
from volt.plan.users import UnknownUserError, identify

PASSWD = """root:x:0:0:root:/root:/bin/sh
web:x:1000:1001:Web:/srv/web:/bin/sh
broken line
nohome:x:7:7::  :/bin/sh
postgres:x:999:999::/var/lib/postgresql:/bin/sh
"""
GROUP = """root:x:0:
web:x:1001:
ssl-cert:x:104:postgres,web
video:x:44:web
"""


def test_without_a_user_it_is_root():
    who = identify(None, PASSWD, GROUP)
    assert (who.uid, who.gid, who.groups, who.name, who.home) == (0, 0, (0,), "root", "/root")


def test_a_name_brings_its_group_its_supplementary_groups_and_its_home():
    who = identify(User("web"), PASSWD, GROUP)
    assert (who.uid, who.gid, who.groups, who.home) == (1000, 1001, (44, 104, 1001), "/srv/web")


def test_a_number_that_the_image_knows_is_that_user():
    assert identify(User(1000), PASSWD, GROUP) == identify(User("web"), PASSWD, GROUP)


def test_a_number_that_the_image_does_not_know_has_group_0_and_no_home():
    who = identify(User(4711), PASSWD, GROUP)
    assert (who.uid, who.gid, who.groups, who.name, who.home) == (4711, 0, (0,), "4711", "/")


def test_a_given_group_is_the_only_one():
    who = identify(User("web", "video"), PASSWD, GROUP)
    assert (who.gid, who.groups) == (44, (44,))
    assert identify(User(1000, 12), PASSWD, GROUP).gid == 12


def test_root_needs_no_passwd_file():
    assert identify(None, "", "").home == "/root"


@pytest.mark.parametrize("user", [User("nobody-here"), User("web", "nogroup-here"), User(65536), User(0, 70000)])
def test_what_the_image_does_not_know_or_the_range_does_not_hold_is_refused(user):
    with pytest.raises(UnknownUserError):
        identify(user, PASSWD, GROUP)


def test_a_name_of_digits_is_never_taken_for_a_name():
    passwd = "1000:x:0:0::/root:/bin/sh\n"
    assert identify(User(1000), passwd, "").uid == 1000
