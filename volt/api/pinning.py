"""From what a manifest names as its image to one tree of the store: found once, while planning."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from volt.errors import HostUnfit, NoSuchImage, StoreError
from volt.host.mounts import mounts
from volt.host.paths import path_fact
from volt.images import records
from volt.images.defaults import filled
from volt.images.defaults import folders as given_folders
from volt.images.reference import URL, Reference, parse
from volt.model.facts import Facts, ImageFact, PullPolicy
from volt.model.values import replace
from volt.plan.bounds import allows
from volt.plan.image import way_to_mount
from volt.store.place import PREFIX, Store, is_digest, open_store

if TYPE_CHECKING:
    from volt.host.watch import Watch
    from volt.images.config import ImageConfig
    from volt.images.records import Image
    from volt.model.workload import Workload

BY_DIGEST, BY_NAME = "storage.rootfs", "workload.image"


def pin(
    workload: Workload, facts: Facts, watch: Watch | None, pull: PullPolicy = "never"
) -> tuple[Workload, ImageFact | None]:
    """The workload with its image's tree as its root, by digest, and what the image says of how it is run; and what is
    known of the tree. `watch` notes what decided. Raises StoreError for a store that is damaged or not root's,
    HostUnfit without root."""
    written = workload.storage.rootfs or ""
    if workload.image and written:
        return workload, None  # two roots, which is a finding
    if os.geteuid() != 0:
        raise HostUnfit("images are root's alone", hint="run it with sudo")
    state = facts.folders.state
    if workload.image and pull != "never" and allowed(facts) and (refused := _fetch(workload, facts, pull, watch)):
        return workload, refused
    found, config = by_name(workload.image, state, watch) if workload.image else (_by_digest(written), None)
    if not found.there:
        return workload, found
    store = open_store(state)
    if watch:
        watch.place(f"{state}/store")
    found = _judged(found, workload, facts, watch)
    found = _image(found, store, facts, watch) if store else replace(found, state="absent")
    root = f"{URL}{PREFIX}{found.digest}"
    if not found.there:
        return workload, found
    pinned = replace(workload, image=None, storage=replace(workload.storage, rootfs=root))
    if config:
        workdir, volumes = given_folders(config)
        found = replace(found, env=config.env, architecture=config.architecture, workdir=workdir, volumes=volumes)
        pinned, _ = filled(pinned, config)
    return pinned, found


def allowed(facts: Facts) -> bool:
    """Whether the machine's policy allows images at all: what it refuses is not fetched first."""
    return facts.policy is None or facts.policy.rootfs is None or "image" in facts.policy.rootfs


def _judged(found: ImageFact, workload: Workload, facts: Facts, watch: Watch | None) -> ImageFact:
    """With where it comes from, and who has not signed it; of a tree by digest the name counts that does best. A name
    that means another tree by now says nothing of this one. Raises StoreError."""
    policy, state = facts.policy, facts.folders.state
    if policy is None or (policy.image_registries is None and policy.image_signers is None):
        return found
    from volt.api.trusting import best

    if workload.image:
        known: tuple[Image | None, ...] = (records.exact(state, parse(workload.image)),)
    else:
        if watch:
            watch.file(records.folder(state))
        known = records.images(state)
    origins, unsigned = best((one for one in known if one and one.digest == found.digest), policy)
    return replace(found, origins=origins, unsigned=unsigned)


def bounded(facts: Facts) -> tuple[str, ...] | None:
    """The registries that images may come from, None where the policy says nothing of them."""
    return facts.policy.image_registries if facts.policy else None


def _fetch(workload: Workload, facts: Facts, pull: PullPolicy, watch: Watch | None) -> ImageFact | None:
    """Have the image here, as `pull` says; a name without a registry is one of this machine's, unless the settings name
    one. From where the policy lets none come nothing is fetched, and planning is told of it. Raises RegistryError,
    StoreError."""
    from volt.api.pulling import has_registry, pull_image

    written, state, most = workload.image or "", facts.folders.state, bounded(facts)
    if pull == "always":
        if watch:
            watch.certain = False  # who asks the registry each time has no plan for later
    elif by_name(written, state, None)[0].there or not has_registry(written):
        return None
    if most is not None:
        from volt.api.trusting import wanted_from

        origins = wanted_from(written)
        if not all(allows(most, one) for one in origins):
            return ImageFact(BY_NAME, state="absent", origins=origins)
    pull_image(written, platform=workload.platform or "")
    return None


def _by_digest(written: str) -> ImageFact:
    digest = written.removeprefix(URL).removeprefix(PREFIX)
    if written != f"{URL}{PREFIX}{digest}" or not is_digest(digest):
        return ImageFact(BY_DIGEST, state="malformed")
    return ImageFact(BY_DIGEST, digest)


def by_name(written: str, state: str, watch: Watch | None) -> tuple[ImageFact, ImageConfig | None]:
    """The tree that a name stands for now, and what its image says about itself. Raises StoreError."""
    try:
        named = parse(written)
    except StoreError as error:  # a name that a registry may have, and that no import takes
        return ImageFact(BY_NAME, state="absent", problem=error.message), None
    if watch:
        watch.link(records.path(state, named))
    try:
        image = records.exact(state, named)
    except NoSuchImage as error:
        return ImageFact(BY_NAME, state="absent", problem=error.message), None
    if not image:
        return ImageFact(BY_NAME, state="absent"), None
    if watch:  # found by a digest, it may be called otherwise
        watch.link(records.path(state, Reference(image.name, image.version)))
    return ImageFact(BY_NAME, image.digest), image.config


def _image(found: ImageFact, store: Store, facts: Facts, watch: Watch | None) -> ImageFact:
    """What the tree is mounted by, made where it is missing: its image, or the tree unpacked. Raises StoreError."""
    mounted, kernel = mounts(), facts.kernel
    place = path_fact(store.path, mounted, kernel)
    way = way_to_mount(kernel, place.filesystem, loops=partial(_loops, watch))
    unpacked = place.idmappable and way == "unpacked"
    file = store.unpacked(found.digest) if unpacked else store.image(found.digest)
    if not os.path.lexists(file):
        if not store.has(found.digest):
            return replace(found, state="absent")
        if problem := _make(store, found.digest, unpacked=unpacked):
            return replace(found, state="no-tree", problem=problem)
    if watch:
        (watch.place if unpacked else watch.file)(file)
    found = replace(found, file=file, leases=store.leases, filesystem=place.filesystem, loop=way == "loop")
    if unpacked:
        return replace(found, folder=path_fact(file, mounted, kernel))
    return replace(found, objects=store.objects)


def _loops(watch: Watch | None) -> bool:
    """Asked for where an image may need one: no other launch imports this."""
    from volt.host.loop import LOOP_CONTROL, has_loops

    if watch:
        watch.place(LOOP_CONTROL)
    return has_loops()


def _make(store: Store, digest: str, *, unpacked: bool) -> str:
    """Why it is no tree, or a damaged one; "" when it is done. Raises StoreError where there is no room for it."""
    from volt.api.imaging import told
    from volt.store.locks import unpacking
    from volt.store.transaction import Transaction

    with ExitStack() as held:
        held.enter_context(told(f"{PREFIX}{digest} cannot be made ready"))
        if unpacked:  # launches at once would each write a copy
            held.enter_context(unpacking(store.path))
        transaction = held.enter_context(Transaction(store))
        try:
            tree = store.tree(digest)  # with all its objects: nothing is collected now
        except StoreError as error:
            return error.message
        put = transaction.put_unpacked if unpacked else transaction.put_image
        put(digest, tree)
        transaction.commit()
    return ""
