"""Manifests in the store, as bases of others: content like any other, and a name for each that says it stays."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext, suppress

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.place import PREFIX, is_digest, make_store, open_store
from volt.store.transaction import UNFINISHED, Transaction, sync_folder, write_whole
from volt.store.tree import is_tree

URL = "cas://"
_START = 64  # bytes that tell a tree
_SOURCE_MOST = 1 << 13  # bytes: two of PATH_MAX


def folder(state: str) -> str:
    """Where there is a file for each, by its digest, that holds what it was read from."""
    return f"{state}/manifests"


def digests(state: str) -> set[str]:
    """Of all that were added."""
    with suppress(FileNotFoundError):
        return {name for name in os.listdir(folder(state)) if UNFINISHED not in name and is_digest(name)}
    return set()


class Added(Value):
    """A manifest that was added: its `url`, `cas://sha256:…`, and where it was read from."""

    url: str
    source: str


def added(state: str) -> tuple[Added, ...]:
    """All of them, in the order of their digests. Raises OSError."""
    return tuple(_added(state, digest) for digest in sorted(digests(state)))


def _added(state: str, digest: str) -> Added:
    with open(f"{folder(state)}/{digest}", "rb") as file:
        source = os.fsdecode(file.read(_SOURCE_MOST)).removesuffix("\n")
    return Added(f"{URL}{PREFIX}{digest}", source)


def add(state: str, data: bytes, source: str, naming: AbstractContextManager[None] | None = None) -> str:
    """Its URL, for `extends`; what is to be held while it gets its name is `naming`. Raises StoreError, OSError, and as
    that."""
    store = make_store(state)
    with Transaction(store) as transaction:
        digest = transaction.put(data)
        transaction.commit()
        with suppress(FileExistsError):
            os.mkdir(folder(state), 0o700)
        with naming or nullcontext():
            write_whole(f"{folder(state)}/{digest}", os.fsencode(f"{source}\n"))
    return f"{URL}{PREFIX}{digest}"


def remove(state: str, url: str) -> str:
    """Nothing holds it any more. Gives its digest. Raises StoreError where none is called so, OSError."""
    digest = url.removeprefix(URL).removeprefix(PREFIX)
    if not is_digest(digest) or digest not in digests(state):
        raise StoreError(f"{url} is no manifest that was added", hint="volt store add FILE adds one")
    os.unlink(f"{folder(state)}/{digest}")
    sync_folder(folder(state))
    return digest


def place(state: str, url: str) -> str:
    """Where one lies. Raises OSError, with a message for people."""
    try:
        store = open_store(state)
        file = store.object(url.removeprefix(f"{URL}{PREFIX}")) if store else ""
        with open(file, "rb") as content:
            if is_tree(content.read(_START)):
                raise OSError(0, "it is a tree of files, no manifest: storage.rootfs takes it")
    except StoreError as error:
        raise OSError(0, error.message) from error
    except FileNotFoundError:
        raise OSError(0, "it is not in the store: volt store add FILE puts it there") from None
    except PermissionError:
        raise OSError(0, "the store is root's alone: run it with sudo") from None
    return file
