"""What makes a file one that root alone cannot have written, or none at all: none may be read from the plan cache."""

import os

SOMEBODY = 1000


def owned(entry):
    os.chown(entry, SOMEBODY, 0)


def writable_by_group(entry):
    entry.chmod(0o660)


def writable_by_others(entry):
    entry.chmod(0o602)


def linked(entry):
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")


def fifo(entry):
    entry.unlink()
    os.mkfifo(entry, 0o600)


def folder(entry):
    entry.unlink()
    entry.mkdir(0o700)


DAMAGES = (owned, writable_by_group, writable_by_others, linked, fifo, folder)
