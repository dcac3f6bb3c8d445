"""Whether the kernel that runs here is what a manifest asks for: [kernel] of a mode that shares it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from volt.model.facts import Facts, Modules
from volt.model.findings import Finding
from volt.model.workload import Workload

_COMPARED: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "": operator.eq,
    "=": operator.eq,
    "==": operator.eq,
}
_WANTED = re.compile(r"\s*(>=|<=|==|=|>|<|)\s*(\d+(?:\.\d+)*)\s*")


def check_kernel(workload: Workload, facts: Facts) -> Iterator[Finding]:
    """What [kernel] asks for and the running kernel is not."""
    wanted, path = workload.kernel.version, workload.kernel.path
    hint = 'boot that kernel, or write mode = "hybrid-kvm", which brings its own'
    if wanted and not fits(wanted, facts.kernel_release):
        message = f"the kernel that runs here is {facts.kernel_release}, and {wanted} is asked for"
        yield Finding("other-kernel", "kernel.version", message, hint)
    if path and facts.boot.named != facts.boot.kernel:
        found = facts.boot.named or "no kernel's image"
        message = f"{path} is {found}, and the kernel that runs here is {facts.boot.kernel}"
        yield Finding("other-kernel", "kernel.path", message, hint)
    yield from _check_modules(workload.kernel.modules, facts)


def _check_modules(asked: Sequence[str], facts: Facts) -> Iterator[Finding]:
    """Those that the kernel neither has nor can be given."""
    found = facts.boot.modules or Modules()
    for number, name in enumerate(asked):
        if name in (*found.builtin, *found.files, *found.loaded):
            continue
        if found.program:
            message = f"the kernel that runs here, {facts.kernel_release}, has no module {name}"
            hint = f"correct the name, or install what has its modules: apt install linux-image-{facts.kernel_release}"
        else:
            message = f"{name} is not loaded, and modprobe(8) is not installed"
            hint = "apt install kmod"
        yield Finding("no-module", f"kernel.modules[{number}]", message, hint)


def fits(wanted: str, release: str) -> bool:
    """Whether `6.12.7-cloud` is what `6.12` or `>=6.1` asks for: as many numbers as are asked for count."""
    found = _WANTED.fullmatch(wanted)
    if not found:
        return False
    asked = tuple(int(part) for part in found[2].split("."))
    numbers = re.match(r"\d+(?:\.\d+)*", release)
    own = tuple(int(part) for part in numbers[0].split(".")) if numbers else ()
    own += (0,) * (len(asked) - len(own))
    return _COMPARED[found[1]](own[: len(asked)], asked)
