"""What is mounted inside: the host's /usr, generated files, volumes, tmpfs, shared memory."""

from __future__ import annotations

from volt.model.facts import Facts
from volt.model.part import FILES, LOCKED, Part
from volt.model.sizes import Size
from volt.model.steps import (
    MAKE_FILE,
    MAKE_FOLDER,
    AttachInside,
    CloneMount,
    LockMount,
    MakeFile,
    MakeFilesystem,
    MakeFolder,
    MakeIdmap,
    Open,
    SetMount,
    Step,
)
from volt.model.text import UIDS, Slot, Text, text
from volt.model.values import Value, replace
from volt.model.workload import Tmpfs, Volume, Workload
from volt.plan import files
from volt.plan.capabilities import payload_sets
from volt.plan.root import HOST, WHOLE_RANGE
from volt.plan.users import Identity, identify

SHM_SIZE = Size(64 * 2**20)
LOCAL = "/usr/local"
# tmpfs(5); the options that docker and podman give too.
SHM_ATTRS = ("nosuid", "nodev", "noexec")


class Mount(Value):
    """One mount of the inside: a descriptor handed in (`inherited`), or made there by `make`. `of_host`: what it shows
    is the host's own."""

    path: str
    source: str
    folder: bool
    part: Part
    handed: bool = True
    of_host: bool = False
    note: str = ""

    def locked(self, number: int) -> Mount:
        """The same where root inside may mount, and would take attributes off again."""
        path, to = text(f"{LOCKED}/{number}"), f"{self.source}:locked"
        made = MakeFolder(path=path) if self.folder else MakeFile(path=path)
        lock = LockMount(mount=self.source, path=path, to=to, note=self.note)
        return replace(self, source=to, part=self.part + Part(guard=(made, lock)))


def mounts(
    workload: Workload, facts: Facts, passwd: str, group: str, more: tuple[Mount, ...] = ()
) -> tuple[Mount, ...]:
    """Everything that the init attaches, in order: a deeper path after the path above it; `more` among it."""
    found = [
        *host_mounts(workload, facts),
        *file_mounts(workload, facts),
        *more,
        shared_memory(workload, facts),
        *(tmpfs_mount(number, item, facts) for number, item in enumerate(workload.storage.tmpfs)),
        *volume_mounts(workload, facts, passwd, group),
    ]
    ordered = sorted(found, key=lambda mount: mount.path.count("/"))
    if "SYS_ADMIN" not in payload_sets(workload, 0).bounding:
        return tuple(ordered)
    return tuple(one.locked(number) if one.of_host else one for number, one in enumerate(ordered))


def mounts_part(found: tuple[Mount, ...]) -> Part:
    """The steps that prepare each mount, and the init's steps that attach them."""
    part = _folders(found)
    for mount in found:
        kind = MAKE_FOLDER if mount.folder else MAKE_FILE
        attach = AttachInside(mount=mount.source, path=text(mount.path), kind=kind, note=mount.note)
        handed = (mount.source,) if mount.handed else ()
        part += mount.part + Part(init=(attach,), inherited=handed)
    return part


def host_mounts(workload: Workload, facts: Facts) -> list[Mount]:
    """rootfs = "host": /usr and the harmless part of /etc, read-only and not idmapped: what only the
    host's root may read stays closed to the workload's root."""
    if workload.storage.rootfs != HOST:
        return []
    paths = ["/usr", *(f"/etc/{name}" for name in facts.host_etc)]
    return [*(_host_mount(path, facts.paths[path].kind == "folder") for path in paths), *_local(workload, facts)]


def _local(workload: Workload, facts: Facts) -> list[Mount]:
    """/usr/local is the administrator's own, with whatever lies there: empty inside, unless a volume asks
    for it or for something in it."""
    asked = [volume.container for volume in workload.storage.volumes]
    if LOCAL not in facts.paths or facts.paths[LOCAL].kind != "folder" or LOCAL in asked:
        return []
    below = any(path.startswith(f"{LOCAL}/") for path in asked)
    attrs = ("nosuid", "nodev") + (() if below else ("ro",))
    options = (text("mode=0755"), text("size=64k"))
    step = MakeFilesystem(type=text("tmpfs"), options=options, attrs=attrs, to="local")
    return [Mount(LOCAL, "local", True, Part(init=(step,)), handed=False, note="the host's is not shown")]


def _host_mount(path: str, folder: bool) -> Mount:
    name = f"host:{path}"
    steps: tuple[Step, ...] = (
        Open(path=text(path), to=f"{name}:source", note="the host's, read-only"),
        CloneMount(source=f"{name}:source", to=name),
        SetMount(mount=name, attrs=("ro", "nosuid", "nodev")),
    )
    return Mount(path, name, folder, Part(host=steps), of_host=True, note="the host's, read-only")


def file_mounts(workload: Workload, facts: Facts) -> list[Mount]:
    """/etc/hosts, /etc/hostname and /etc/resolv.conf: mounts, so that the image is not changed."""
    return [file_mount(workload, path, body) for path, body in files.generated(workload, facts).items()]


def file_mount(workload: Workload, path: str, content: Text) -> Mount:
    """A file that is made for the run, and mounted at `path`."""
    name = path.rpartition("/")[2]
    attrs = ("nosuid", "nodev", "noexec") + (() if workload.writable else ("ro",))
    steps: tuple[Step, ...] = (
        MakeFile(path=text(f"{FILES}/{name}"), content=content, note=path),
        Open(path=text(f"{FILES}/{name}"), to=f"{name}:source"),
        CloneMount(source=f"{name}:source", to=name),
        SetMount(mount=name, attrs=attrs),
    )
    return Mount(path, name, False, Part(guard=steps))


def _folders(found: tuple[Mount, ...]) -> Part:
    """The staging folders of generated files, and of mounts that are locked, where there are any."""
    locked = any(isinstance(step, LockMount) for mount in found for step in mount.part.guard)
    return Part(guard=tuple(MakeFolder(path=text(path)) for path in (FILES, *((LOCKED,) if locked else ()))))


def shared_memory(workload: Workload, facts: Facts) -> Mount:
    size = _size(workload.storage.shm_size, facts) or _size(SHM_SIZE, facts)
    step = MakeFilesystem(
        type=text("tmpfs"),
        options=(text("mode=1777"), *size),
        attrs=SHM_ATTRS,
        to="shm",
        note="storage.shm_size",
    )
    return Mount("/dev/shm", "shm", True, Part(init=(step,)), handed=False)


def tmpfs_mount(number: int, tmpfs: Tmpfs, facts: Facts) -> Mount:
    mode = text(f"mode={0o1777 if tmpfs.mode is None else tmpfs.mode:04o}")
    name, note = f"tmpfs{number}", f"storage.tmpfs {tmpfs.path}"
    step = MakeFilesystem(
        type=text("tmpfs"),
        options=(mode, *_size(tmpfs.size, facts)),
        attrs=("nosuid", "nodev"),
        to=name,
        note=note,
    )
    return Mount(tmpfs.path, name, True, Part(init=(step,)), handed=False, note=note)


def _size(size: Size | None, facts: Facts) -> tuple[Text, ...]:
    """In bytes: tmpfs(5) knows whole percents alone. Its 0 is no limit at all; ours is none given."""
    number = size.of(facts.memory) if size else 0
    return (text(f"size={number}"),) if number else ()


def volume_mounts(workload: Workload, facts: Facts, passwd: str, group: str) -> list[Mount]:
    """One mount a volume; volumes with the same id map share it."""
    maps: dict[tuple[Text, Text], str] = {(WHOLE_RANGE, WHOLE_RANGE): "ids"}
    found = []
    # In the order of their mounts, so that a map is made before the next volume shares it.
    for number, volume in sorted(enumerate(workload.storage.volumes), key=lambda item: item[1].container.count("/")):
        identity = identify(volume.as_user, passwd, group)
        pair = id_maps(volume, facts, identity)
        known = pair in maps
        idmap = maps.setdefault(pair, f"ids{number}")
        note = f"volume {volume.container}"
        make = () if known else (MakeIdmap(uids=pair[0], gids=pair[1], to=idmap, note=note),)
        found.append(_volume(number, volume, facts, make, idmap))
    return found


def id_maps(volume: Volume, facts: Facts, identity: Identity) -> tuple[Text, Text]:
    """The uid and gid map of the volume's mount, as lines of uid_map: an id on disk, the host id that
    it is shown as, a count. One identity, the path's owner, stands for one inside."""
    if volume.ids == "same":
        return WHOLE_RANGE, WHOLE_RANGE
    fact = facts.paths[volume.host]
    return _single(fact.uid, identity.uid), _single(fact.gid, identity.gid)


def _single(outside: int, inside: int) -> Text:
    return text(f"{outside} ", Slot(UIDS.kind, inside), " 1\n")


def _volume(number: int, volume: Volume, facts: Facts, make: tuple[Step, ...], idmap: str) -> Mount:
    fact, name, note = facts.paths[volume.host], f"volume{number}", f"volume {volume.container}"
    folder = fact.kind == "folder"
    attrs = ("nosuid", "nodev") + (("ro",) if volume.readonly else ())
    steps = (
        *make,
        Open(path=text(volume.host), device=fact.device, inode=fact.inode, to=f"{name}:source", note=note),
        CloneMount(source=f"{name}:source", recursive=folder, to=name, note=note),
        SetMount(mount=name, attrs=attrs, idmap=idmap, recursive=folder, note=note),
    )
    return Mount(volume.container, name, folder, Part(host=steps), of_host=True, note=note)
