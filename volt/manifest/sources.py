"""What the language reads of the world: files, the kind of a path, variables. The caller provides it."""

from __future__ import annotations

from typing import Protocol

FILE_LIMIT = 1 << 20  # bytes of one manifest


class Sources(Protocol):
    """The world, as far as resolving a manifest asks for it."""

    def read(self, path: str) -> bytes:
        """The bytes of a regular file of at most FILE_LIMIT, opened once; `-` is standard input.
        Raises OSError, with a message for people."""

    def stored(self, url: str) -> bytes:
        """The bytes of what `cas://sha256:…` names in the store. Raises OSError, with a message for people."""

    def quotable(self, path: str) -> bool:
        """Whether a line of this file may be shown to the caller."""

    def exists(self, path: str) -> bool:
        """Whether something lies at an absolute path."""

    def variable(self, name: str) -> str | None:
        """An environment variable."""

    def builtins(self) -> dict[str, str]:
        """HOSTNAME, VOLT_BASE, VOLT_CAS_DIR and VOLT_RUN_DIR."""

    def folder(self) -> str:
        """The current folder."""
