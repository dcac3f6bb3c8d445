"""The root file system: an idmapped folder or a fresh root, a generated layer below, a writable one above."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from volt.model.facts import Call, Facts, ImageFact, PathFact
from volt.model.part import EMPTY, LAYER, LOWER, OBJECTS, ROOT, SKELETON, Part
from volt.model.steps import (
    ActAs,
    Attach,
    ClaimName,
    CloneMount,
    MakeFile,
    MakeFilesystem,
    MakeFolder,
    MakeIdmap,
    MakeLink,
    MountLoop,
    Open,
    PinFile,
    SetAside,
    SetMount,
    Step,
)
from volt.model.text import RUN, UIDS, Text, text
from volt.model.workload import Workload
from volt.plan import files
from volt.plan.image import image_folders
from volt.plan.users import HOST_GROUP, HOST_PASSWD

HOST = "host"
# One map for root, layer and volumes with ids = "same": ids on disk stay as the workload sees them.
WHOLE_RANGE = text("0 ", UIDS, " 65536\n")

# What nspawn and the init mount onto, in a root that may lack it.
MOUNT_POINTS = ("dev", "etc", "proc", "run", "sys", "usr", "var")
# Of these, the ones below which nspawn makes what it needs by their path on the host.
WRITTEN = ("dev", "proc", "run", "sys")
# A fresh root for host programs: where a merged-usr distribution has links, and where programs write.
HOST_FOLDERS = ("home", "mnt", "opt", "srv", "usr", "var", "var/cache", "var/lib", "var/log")
HOST_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
HOST_VAR_LINKS = {"var/run": "/run", "var/lock": "/run/lock", "etc/os-release": "../usr/lib/os-release"}


def layer_base(workload: Workload, facts: Facts) -> str:
    """What a kept layer records of the root it was made on: its path and inode (device numbers change
    with a reboot)."""
    root = workload.storage.rootfs or ""
    inode = 0 if root == HOST or facts.image else facts.paths[root].inode
    return json.dumps({"version": 1, "root": root, "inode": inode}) + "\n"


def layer_folder(workload: Workload, facts: Facts) -> str:
    return f"{facts.folders.state}/layers/{workload.name}"


def root_part(workload: Workload, facts: Facts, mount_points: tuple[tuple[str, bool], ...], call: Call) -> Part:
    """Steps that build the merged root, in the guard, acting as the workload's root from there on.
    `mount_points` are (path inside, is a folder) of what the init will mount."""
    host = (
        MakeIdmap(uids=WHOLE_RANGE, gids=WHOLE_RANGE, to="ids", note="ids on disk are ids inside"),
        *_open_root(workload, facts),
        *(_open_layer(workload, facts, call) if workload.kept else ()),
    )
    guard = (
        *_attach_lower(workload, facts),
        *_attach_layer(workload, facts),
        ActAs(uid=text(UIDS), note="the root of the workload makes its root"),
        *_skeleton(workload, (*mount_points, *((path, True) for path in image_folders(facts)))),
        *_upper(workload),
        _overlay(workload, facts),
    )
    return Part(host=host, guard=guard)


def attach_root() -> Part:
    """Back as the host's root: the merged root where nspawn looks for it, and in it no link of the image's that
    nspawn would follow on the host: all of these are there already, if only from the generated layer."""
    steps = (ActAs(uid=text("0")), MakeFolder(path=text(ROOT)), Attach(mount="merged", path=text(ROOT)))
    note = "the image's must be no link: device nodes and files are made in it"
    return Part(guard=(*steps, *(MakeFolder(path=text(f"{ROOT}/{name}"), note=note) for name in WRITTEN)))


def _open_root(workload: Workload, facts: Facts) -> tuple[Step, ...]:
    root = workload.storage.rootfs or ""
    if root == HOST:
        return ()
    if facts.image:
        return _open_image(facts.image)
    return _open_folder(root, facts.paths[root], "storage.rootfs")


def _open_folder(path: str, fact: PathFact, note: str) -> tuple[Step, ...]:
    """A folder as the root: the one that planning has seen."""
    return (
        Open(path=text(path), device=fact.device, inode=fact.inode, to="root-folder", note=note),
        CloneMount(source="root-folder", to="lower", note=note),
        SetMount(mount="lower", attrs=("ro", "nodev"), idmap="ids", note=note),
    )


def _open_image(image: ImageFact) -> tuple[Step, ...]:
    """The tree from its image, and the folder that has the content of its files; or the tree unpacked. The lease comes
    first: collecting removes both before it looks at leases again, so what can be mounted now stays as long as the
    lease is held."""
    tree, note = f"sha256:{image.digest}", f"the tree sha256:{image.digest}"
    lease = ClaimName(folder=text(image.leases), label=text(RUN), content=text(f"{tree}\n"), note="nothing of it goes")
    if image.folder:
        return lease, *_open_folder(image.file, image.folder, note)
    return (
        lease,
        _mount_image(image, note),
        SetMount(mount="lower", attrs=("ro", "nodev"), idmap="ids", note=image.key),
        Open(path=text(image.objects), to="objects-folder"),
        CloneMount(source="objects-folder", to="objects"),
        SetMount(mount="objects", attrs=("ro", "nosuid", "nodev", "noexec"), note="what its files hold"),
    )


def _mount_image(image: ImageFact, note: str) -> Step:
    if image.loop:
        return MountLoop(type=text("erofs"), file=text(image.file), attrs=("ro", "nodev"), to="lower", note=note)
    source = text(f"source={image.file}")
    return MakeFilesystem(type=text("erofs"), options=(source,), attrs=("ro", "nodev"), to="lower", note=note)


def _open_layer(workload: Workload, facts: Facts, call: Call) -> tuple[Step, ...]:
    layers = f"{facts.folders.state}/layers"
    folder = text(f"{layers}/.run-", RUN) if call.discard else text(layer_folder(workload, facts))
    old = (SetAside(path=folder, to=text(f"{layers}/.old-", RUN), note="--fresh"),) if call.fresh else ()
    return (
        *(() if call.discard else old),
        MakeFolder(path=folder, mode=0o700, keep=not call.discard, note="--rm" if call.discard else "the kept layer"),
        PinFile(
            path=(*folder, "/root"),
            content=text(layer_base(workload, facts)),
            otherwise=text(
                f"the kept layer of '{workload.name}' was made on another root: "
                "discard it with --fresh, or choose another name"
            ),
        ),
        MakeFolder(path=(*folder, "/upper"), keep=True),
        MakeFolder(path=(*folder, "/work"), keep=True),
        Open(path=folder, to="layer-folder"),
        CloneMount(source="layer-folder", to="layer"),
        SetMount(mount="layer", attrs=("nodev",), idmap="ids", note="the kept layer"),
    )


def _attach_lower(workload: Workload, facts: Facts) -> tuple[Step, ...]:
    if workload.storage.rootfs == HOST:
        return ()
    lower = (MakeFolder(path=text(LOWER)), Attach(mount="lower", path=text(LOWER)))
    if not facts.image or facts.image.folder:
        return lower
    return (*lower, MakeFolder(path=text(OBJECTS)), Attach(mount="objects", path=text(OBJECTS)))


def _attach_layer(workload: Workload, facts: Facts) -> tuple[Step, ...]:
    if not workload.writable:
        return ()
    if workload.kept:
        return (MakeFolder(path=text(LAYER)), Attach(mount="layer", path=text(LAYER)))
    size = workload.storage.layer_size
    bound = (text(f"size={size.of(facts.memory)}"),) if size else ()
    return (
        MakeFolder(path=text(LAYER)),
        MakeFilesystem(
            type=text("tmpfs"),
            options=(text("mode=0755"), *bound),
            attrs=("nodev",),
            to="layer",
            note="writable_layer",
        ),
        Attach(mount="layer", path=text(LAYER)),
    )


def _upper(workload: Workload) -> tuple[Step, ...]:
    if not workload.writable or workload.kept:
        return ()
    return (MakeFolder(path=text(f"{LAYER}/upper")), MakeFolder(path=text(f"{LAYER}/work")))


def _skeleton(workload: Workload, mount_points: tuple[tuple[str, bool], ...]) -> tuple[Step, ...]:
    """The lowest layer: mount points that the root may lack, or all of a fresh root."""
    entries = {**_folders(MOUNT_POINTS), "tmp": _folder("tmp", 0o1777)}
    if workload.storage.rootfs == HOST:
        entries |= _fresh_root()
    for path, folder in mount_points:
        inside = PurePosixPath(path.lstrip("/"))
        parents = [str(parent) for parent in reversed(inside.parents[:-1])]
        if any(isinstance(entries.get(name), MakeLink) for name in (*parents, str(inside))):
            continue  # it lies where the link leads, which the init follows
        if any(isinstance(entries.get(name), MakeFile) for name in parents):
            continue  # of an image alone, which says that there is a folder below a file
        for parent in parents:
            entries.setdefault(parent, _folder(parent))
        entries.setdefault(str(inside), _folder(str(inside)) if folder else _file(str(inside)))
    made = (entries[name] for name in sorted(entries))
    return (MakeFolder(path=text(EMPTY)), MakeFolder(path=text(SKELETON)), *made)


def _fresh_root() -> dict[str, Step]:
    """Name below the root → the step that makes it."""
    links = {**HOST_LINKS, **HOST_VAR_LINKS}
    accounts = {"etc/passwd": HOST_PASSWD, "etc/group": HOST_GROUP, "etc/nsswitch.conf": files.NSSWITCH}
    return {
        **_folders(HOST_FOLDERS),
        "root": _folder("root", 0o700),
        "var/tmp": _folder("var/tmp", 0o1777),
        **{name: MakeLink(path=text(f"{SKELETON}/{name}"), target=text(target)) for name, target in links.items()},
        **{name: _file(name, content) for name, content in accounts.items()},
    }


def _folders(names: tuple[str, ...]) -> dict[str, Step]:
    return {name: _folder(name) for name in names}


def _folder(name: str, mode: int = 0o755) -> MakeFolder:
    return MakeFolder(path=text(f"{SKELETON}/{name}"), mode=mode)


def _file(name: str, content: str = "") -> MakeFile:
    return MakeFile(path=text(f"{SKELETON}/{name}"), content=text(content))


def _overlay(workload: Workload, facts: Facts) -> MakeFilesystem:
    """overlayfs: Documentation/filesystems/overlayfs.rst. Two lower layers, since a mount without an
    upper one needs two; metadata-only copies and an index would tie a kept upper layer to its lowers. An image is
    made of such copies, of what lies in a data-only layer; and of a layer on it the digest says which it is tied to, by
    names that are the same in the tree unpacked: so a layer that was made on the one goes on over the other."""
    lowers = [SKELETON, EMPTY] if workload.storage.rootfs == HOST else [LOWER, SKELETON]
    data = f"::{OBJECTS}" if facts.image and not facts.image.folder else ""
    options: list[Text] = [text(f"lowerdir={':'.join(lowers)}{data}")]
    if workload.writable:
        options += [text(f"upperdir={LAYER}/upper"), text(f"workdir={LAYER}/work")]
    if workload.writable or data:
        options += [text("redirect_dir=on")]
    if workload.writable:
        options += [text("index=off")]
    copies = data or (facts.image and workload.writable)
    options += [text("metacopy=on" if copies else "metacopy=off")]
    attrs = ("nodev",) if workload.writable else ("ro", "nodev")
    return MakeFilesystem(type=text("overlay"), options=tuple(options), attrs=attrs, to="merged", note="the root")
