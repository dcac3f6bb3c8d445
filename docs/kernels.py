"""The page of what holds on which kernel and systemd: from the tables that volt itself goes by."""

from __future__ import annotations

from volt.host.doctor import KERNEL, NSPAWN
from volt.host.idmap import NEVER, SINCE, idmappable
from volt.host.limits import FIELDS
from volt.model.facts import DATA_KERNEL as DATA
from volt.model.facts import IMAGE_KERNEL as IMAGES

# Debian's release → its kernel and its systemd: both are tested, in guests.
RELEASES = {"Debian 12": ((6, 1), 252), "Debian 13": ((6, 12), 257)}

HEAD = """\
volt needs Linux {kernel} and systemd {nspawn}. Every wall below either holds or is refused with the reason; nothing is
weakened in silence. `volt doctor` says the same of the machine at hand. Both columns are tested in
guests (`scripts/ci-vm`).
"""

TAIL = """\
Refused are roots and volumes on such a file system, with the finding `no-idmap`. Idmapped on no kernel:
{never}.

What each Landlock profile holds on which kernel: [Landlock](landlock.md).
"""


def page() -> str:
    """docs/reference/kernels.md, below its heading."""
    head = HEAD.format(kernel=number(KERNEL), nspawn=NSPAWN)
    return "\n".join([head, *rows(), "", TAIL.format(never=", ".join(sorted(NEVER)))])


def rows() -> list[str]:
    columns = [f"{name}: Linux {number(kernel)}, systemd {systemd}" for name, (kernel, systemd) in RELEASES.items()]
    found = [f"| | needs | {' | '.join(columns)} |", "| --- " * (len(columns) + 2) + "|"]
    for wall, needs in WALLS.items():
        found.append(f"| {wall} | {needs} | {' | '.join('holds' for _ in RELEASES)} |")
    for controller, fields in FIELDS.items():
        found.append(
            f"| {fields} | the {controller} controller of cgroup v2 | {' | '.join('holds' for _ in RELEASES)} |"
        )
    states = ("holds" if kernel >= IMAGES else "holds, unpacked" for kernel, _ in RELEASES.values())
    needs = f"Linux {number(IMAGES)}, through a loop device {number(DATA)}, or unpacked once"
    found.append(f"| images as roots | {needs} | {' | '.join(states)} |")
    for kind in SINCE:
        states = ("holds" if idmappable(kind, kernel) else "refused" for kernel, _ in RELEASES.values())
        found.append(f"| ids kept on {kind} | Linux {number(SINCE[kind])} | {' | '.join(states)} |")
    return found


WALLS = {
    "ids of its own, root and capabilities that count only inside": f"Linux {KERNEL[0]}.{KERNEL[1]}",
    "no_new_privs, seccomp filter": "libseccomp 2.5",
    "masked and read-only kernel files": f"Linux {KERNEL[0]}.{KERNEL[1]}",
    "nothing lives on when any process of volt's is killed": "a pid namespace",
    "everything of a run ended at once": "cgroup.kill, Linux 5.14",
}


def number(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
