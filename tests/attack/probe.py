"""Attempts from inside, each a word ACT=WHAT: prints "done", or the name of the errno that it met.

Runs in the workload, with nothing but Python's own library.
"""

import ctypes
import errno
import fcntl
import os
import pty
import signal
import socket
import sys
import time

TIOCSTI = 0x5412
TCGETS = 0x5401
ENDED = 0.2  # s, within which a process that was killed has ended
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    if libc.syscall(ctypes.c_long(int(number, 0)), *(ctypes.c_long(int(word, 0)) for word in arguments)) == -1:
        raise OSError(ctypes.get_errno(), "")


def write(path, flags=os.O_CREAT):
    file = os.open(path, os.O_WRONLY | flags, 0o644)
    os.write(file, b"attacked\n")
    os.close(file)


def put(what):
    """WHAT is PATH,TEXT: written to a file that is there."""
    path, _, text = what.partition(",")
    file = os.open(path, os.O_WRONLY)
    os.write(file, text.encode())
    os.close(file)


def read(path):
    with open(path, "rb") as file:
        file.read(64)


def full(path):
    """Read, and something is there."""
    with open(path, "rb") as file:
        if not file.read(64).strip(b"\0"):
            raise OSError(errno.ENODATA, "")


def ioctl(path):
    with open(path, "rb") as file:
        fcntl.ioctl(file, TCGETS, bytes(64))


def tcp(act, port):
    with socket.socket() as one:
        getattr(one, act)(("127.0.0.1", int(port)))


def abstract(name):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(chr(0) + name)


def stream(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)


def type_into(_):
    """A character typed into the terminal of one's own, tty_ioctl(4)."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, TIOCSTI, b"x")
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(master)
    if status:
        raise OSError(status, "")


def kill(pid):
    """Killed, and gone."""
    os.kill(int(pid), signal.SIGKILL)
    time.sleep(ENDED)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return
    raise OSError(errno.EBUSY, "")


def trace(pid):
    attach, detach = 16, 17
    if libc.ptrace(attach, int(pid), 0, 0):
        raise OSError(ctypes.get_errno(), "")
    os.waitpid(int(pid), 0x40000000)  # __WALL
    libc.ptrace(detach, int(pid), 0, 0)


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def peek(pid):
    """process_vm_readv(2) of what is mapped first."""
    with open(f"/proc/{pid}/maps") as maps:
        start = int(maps.readline().partition("-")[0], 16)
    buffer = ctypes.create_string_buffer(8)
    local, remote = Vector(ctypes.addressof(buffer), 8), Vector(start, 8)
    if libc.process_vm_readv(int(pid), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "")


def node(what):
    """WHAT is PATH,MAJOR,MINOR: a character device."""
    path, major, minor = what.split(",")
    os.mknod(path, 0o20666, os.makedev(int(major), int(minor)))


def two(act, what):
    return act(*what.split(","))


ACTS = {
    "call": lambda what: call(*what.split(",")),
    "write": write,
    "new": lambda path: write(path, os.O_CREAT | os.O_EXCL),
    "append": lambda path: write(path, os.O_APPEND),
    "put": put,
    "read": read,
    "full": full,
    "list": os.listdir,
    "there": os.lstat,
    "folder": os.mkdir,
    "truncate": lambda path: os.truncate(path, 0),
    "rename": lambda what: two(os.rename, what),
    "link": lambda what: two(os.symlink, what),
    "chmod": lambda path: os.chmod(path, 0o4777),
    "own": lambda path: os.chown(path, 0, 0),
    "ioctl": ioctl,
    "bind": lambda port: tcp("bind", port),
    "connect": lambda port: tcp("connect", port),
    "abstract": abstract,
    "stream": stream,
    "type": type_into,
    "kill": kill,
    "trace": trace,
    "peek": peek,
    "node": node,
    "open": lambda path: os.close(os.open(path, os.O_RDWR)),
    "wait": lambda seconds: time.sleep(float(seconds)),
    "setuid": lambda uid: os.setresuid(int(uid), int(uid), int(uid)),
    "setgid": lambda gid: os.setresgid(int(gid), int(gid), int(gid)),
}

for word in sys.argv[1:]:
    act, _, what = word.partition("=")
    said = "done"
    try:
        ACTS[act](what)
    except OSError as error:
        said = errno.errorcode[error.errno]
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
