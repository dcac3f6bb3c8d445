"""strace's lines as system calls, and what they need. The lines are strace 6.1's and 6.13's."""

from __future__ import annotations

import pytest

from volt.plan.traced import Reader, Traced, parse_call

BEFORE = """\
10 execve("/usr/bin/systemd-nspawn", [...], 0x7ff9 /* 9 vars */) = 0
11 openat(AT_FDCWD</>, "/etc/of-nspawn", O_RDONLY) = 3</etc/of-nspawn>
12 execve("/proc/self/fd/3", [...], 0x55aa /* 12 vars */) = 0
12 openat(AT_FDCWD</>, "/etc/of-the-init", O_RDONLY) = 3</etc/of-the-init>
13 openat(AT_FDCWD</>, "/etc/before-its-exec", O_RDONLY) = 3</etc/before-its-exec>
13 execve("/usr/local/bin/sh", [...], 0x7f60 /* 4 vars */) = -1 ENOENT (No such file or directory)
13 execve("/usr/bin/sh", [...], 0x7f60 /* 4 vars */) = 0
"""
START = {("/usr/bin/sh", "execute"), ("/usr/bin/sh", "read_file")}


def traced(*lines: str, folder: str = "/") -> Traced:
    return Reader(folder).read([*BEFORE.splitlines(), *lines])


def needs(*lines: str, folder: str = "/") -> set[tuple[str, str]]:
    return set(traced(*lines, folder=folder).paths) - START


def test_only_the_payload_counts_and_from_its_exec_on():
    assert traced().paths == START
    assert traced().calls == {"execve"}
    assert traced().executed == ("/usr/bin/sh",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '13 openat(AT_FDCWD</>, "/lib/libc.so.6", O_RDONLY|O_CLOEXEC) = 3</usr/lib/libc.so.6>',
            {("/usr/lib/libc.so.6", "read_file")},
        ),
        ('13 openat(AT_FDCWD</tmp>, "x", O_RDWR|O_TRUNC) = 3</tmp/x>',
         {("/tmp/x", "read_file"), ("/tmp/x", "write_file"), ("/tmp/x", "truncate")}),
        ('13 openat(4</srv>, "x", O_RDONLY|O_DIRECTORY) = 3</srv/x>', {("/srv/x", "read_dir")}),
        ('13 openat(AT_FDCWD</>, "/missing", O_RDONLY) = -1 ENOENT (No such file or directory)', set()),
        ('13 openat(AT_FDCWD</>, "/refused", O_WRONLY) = -1 EACCES (Permission denied)', {("/refused", "write_file")}),
        ('13 openat(AT_FDCWD</>, "/x", O_RDONLY|O_PATH) = 3</x>', set()),
        ('13 openat(AT_FDCWD</>, "/proc/self/comm", O_RDONLY) = 3</proc/8/comm>', {("/proc", "read_file")}),
        ('13 openat2(AT_FDCWD</>, "/a", {flags=O_WRONLY|O_CLOEXEC, resolve=0}, 24) = 3</a>', {("/a", "write_file")}),
        ('13 mkdir("d", 0777) = 0', {("/srv", "make_dir")}),
        ('13 unlink("/a/b") = 0', {("/a", "remove_file")}),
        ('13 mknodat(AT_FDCWD</tmp>, "f", S_IFIFO|0666) = 0', {("/tmp", "make_fifo")}),
        ("13 ftruncate(3</tmp/x>, 0) = 0", {("/tmp/x", "truncate")}),
        ("13 ioctl(0</dev/pts/0>, TCGETS, {...}) = 0", {("/dev/pts", "ioctl_dev")}),
        ("13 ioctl(0</dev/null<char 1:3>>, TCGETS, 0x7f) = -1 ENOTTY (Inappropriate)", {("/dev/null", "ioctl_dev")}),
        ('13 bind(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/s"}, 110) = 0', {("/run", "make_sock")}),
        ('13 read(3<pipe:[19]>, ""..., 10) = 4', set()),
        ("13 +++ exited with 0 +++", set()),
        ("no line of strace at all", set()),
    ],
)  # fmt: skip
def test_a_call_needs_these_rights(line, expected):
    assert needs(line, folder="/srv") == expected


def test_what_the_payload_makes_belongs_to_the_folder_that_was_there():
    found = needs(
        '13 mkdir("/tmp/d", 0777) = 0',
        '13 openat(AT_FDCWD</>, "/tmp/d/e", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</tmp/d/e>',
        '13 rename("/tmp/d/e", "/tmp/d/f") = 0',
        '13 openat(AT_FDCWD</>, "/tmp/d/f", O_RDONLY) = 3</tmp/d/f>',
    )
    assert {place for place, _ in found} == {"/tmp"}
    assert {right for _, right in found} >= {"make_dir", "make_reg", "write_file", "read_file", "remove_file"}


def test_a_file_that_may_have_been_there_is_asked_for_by_itself_and_by_its_folder():
    found = needs('13 openat(AT_FDCWD</>, "/srv/log", O_WRONLY|O_CREAT|O_APPEND, 0600) = 3</srv/log>')
    assert found >= {("/srv/log", "write_file"), ("/srv", "write_file"), ("/srv", "make_reg")}


def test_a_call_that_another_interrupts_in_the_log_is_one_call():
    found = needs(
        '13 openat(AT_FDCWD</>, "/a b", O_RDONLY <unfinished ...>',
        '14 execve("/usr/bin/true", [...], 0x1 /* 1 var */ <unfinished ...>',
        "13 <... openat resumed>)             = 3</a b>",
        "14 <... execve resumed>)             = 0",
    )
    assert found == {("/a b", "read_file"), ("/usr/bin/true", "execute"), ("/usr/bin/true", "read_file")}


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (r"/tmp/g \74x\76", "/tmp/g <x>"),
        (r"/tmp/\"q\\", '/tmp/"q\\'),
        (r"/tmp/\303\244", "/tmp/ä"),
        (") = 3", "/"),
    ],
)
def test_names_are_read_as_they_are(written, path):
    call = parse_call("1", f'open("{written}", O_RDONLY) = 3<{written}>')
    assert call is not None
    assert call.given in (path, written)
    assert call.arguments == (f'"{written}"', "O_RDONLY")


@pytest.mark.parametrize("name", [r"a\nb", r"\33[31m", r"\377\376"])
def test_a_name_that_no_policy_can_hold_is_given_by_its_folder(name):
    found = needs(f'13 openat(AT_FDCWD</>, "/srv/{name}/x", O_RDONLY) = 3</srv/{name}/x>')
    assert found == {("/srv", "read_file")}


def test_ports_of_either_family():
    found = traced(
        '13 bind(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("0.0.0.0")}, 16) = 0',
        "13 connect(3<socket:[1]>, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0)}, 28) = 0",
    )
    assert found.ports == {(8080, "bind_tcp"), (443, "connect_tcp")}
