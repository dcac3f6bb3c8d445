"""Backends: each contributes its part of a plan, as data; none acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    from volt.model.facts import Facts
    from volt.model.part import Part
    from volt.model.text import Text
    from volt.model.workload import Workload

    class Backend(Protocol):
        """What a mode has of its own: a module of this package."""

        def cgroup_part(self, facts: Facts, path: Text) -> Part:
            """The run's cgroup, at `path` below the mount of cgroup v2."""

        def start_part(
            self, workload: Workload, facts: Facts, inherited: tuple[str, ...], bounding: tuple[str, ...]
        ) -> Part:
            """The guard's exec, with the descriptors and the capabilities that the init has."""
