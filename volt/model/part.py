"""A part of a plan: what storage, network, confinement and the backend each contribute."""

from __future__ import annotations

from volt.model.steps import Step
from volt.model.text import Text
from volt.model.values import Value


class Part(Value):
    """Steps by section; descriptors handed to the init, in order; options for systemd-nspawn."""

    host: tuple[Step, ...] = ()
    guard: tuple[Step, ...] = ()
    init: tuple[Step, ...] = ()
    payload: tuple[Step, ...] = ()
    inherited: tuple[str, ...] = ()
    options: tuple[Text, ...] = ()

    def __add__(self, other: Part) -> Part:
        return Part(
            self.host + other.host,
            self.guard + other.guard,
            self.init + other.init,
            self.payload + other.payload,
            self.inherited + other.inherited,
            self.options + other.options,
        )


# The staging tmpfs: mounted over /run in the guard's own mount namespace, so it needs no folder on the
# host and hides the host's sockets from systemd-nspawn.
STAGE = "/run"
ROOT = f"{STAGE}/root"
LOWER = f"{STAGE}/lower"
OBJECTS = f"{STAGE}/objects"
LAYER = f"{STAGE}/layer"
SKELETON = f"{STAGE}/skeleton"
EMPTY = f"{STAGE}/empty"
FILES = f"{STAGE}/files"
LOCKED = f"{STAGE}/locked"
