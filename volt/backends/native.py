"""hybrid-native: systemd-nspawn as in container mode, and in it the image's own init in a cgroup that is its own."""

from __future__ import annotations

from pathlib import PurePosixPath

from volt.backends import container
from volt.model.facts import Facts, Modules
from volt.model.part import Part
from volt.model.steps import LoadModules
from volt.model.text import Text, text
from volt.model.workload import Workload

SYSTEMD, BUSYBOX, OPENRC = "systemd", "busybox", "openrc-init"
# What asks each to end in an orderly way: systemd(1) SIGRTMIN+3, of glibc's counting; busybox's init powers off at
# USR2; openrc-init(8) shuts down at TERM. Others, sysvinit among them, know PWR.
STOP = {SYSTEMD: "RTMIN+3", BUSYBOX: "USR2", OPENRC: "TERM"}
OTHER_STOP = "PWR"


def kind_of(facts: Facts) -> str:
    """Which init the image has: the name of its file."""
    return PurePosixPath(facts.boot.program).name


def stop_signal(workload: Workload, facts: Facts) -> str:
    """The name of the signal that has the image's init end, without SIG."""
    return (workload.service.stop_signal or STOP.get(kind_of(facts), OTHER_STOP)).upper().removeprefix("SIG")


def cgroup_part(facts: Facts, path: Text) -> Part:
    """A cgroup of the run's own, which nspawn divides: it is itself in `supervisor`, and `payload`, all that is seen
    inside, is the init's to divide further. Limits are above both, where nothing inside reaches."""
    return container.own_cgroup(facts, path)


def start_part(workload: Workload, facts: Facts, inherited: tuple[str, ...], bounding: tuple[str, ...]) -> Part:
    """nspawn's exec. Where nobody inside takes signals any more nspawn asks the init to end."""
    started = container.start_part(workload, facts, inherited, bounding, stop_signal(workload, facts))
    return modules_part(workload, facts) + started


def modules_part(workload: Workload, facts: Facts) -> Part:
    """The modules of the host's kernel, but those that are part of it. The last that is done before the boot, since
    nothing takes it back."""
    found = facts.boot.modules or Modules()
    names = tuple(dict.fromkeys(name for name in workload.kernel.modules if name not in found.builtin))
    step = LoadModules(modules=tuple(map(text, names)), program=text(found.program), note="kernel.modules")
    return Part(host=(step,) if names else ())
