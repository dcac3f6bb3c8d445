"""How a registry is spoken to."""

from __future__ import annotations

from volt.model.values import Value


class Access(Value):
    """One registry: `ca` is the file of certificates that it is checked against, "" for those of the requests library;
    `http` says that it may be spoken to in the clear; `mirror` is asked first; `tokens` is the host that may get its
    credentials too; `files` have those, in the format of Docker's config.json."""

    host: str
    ca: str = ""
    http: bool = False
    mirror: str = ""
    tokens: str = ""
    files: tuple[str, ...] = ()
