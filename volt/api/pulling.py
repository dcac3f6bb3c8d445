"""Images from registries: fetched, checked, unpacked into the store; and who volt is to a registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from volt.api.imaging import image_of, require_root, told, wanted_platform
from volt.api.trusting import Origin, Taken, first_of, require_allowed, require_signed, required_origin, taking
from volt.errors import NoSuchImage, RegistryError, StoreError
from volt.host import registries
from volt.host.folders import folders
from volt.host.registries import HOST
from volt.host.settings import Settings, read_settings
from volt.images import records
from volt.images.config import parsed
from volt.images.manifest import INDEXES, Blob, Listed, Packed, listed, packed
from volt.images.platforms import Platform, best
from volt.images.reference import LATEST, Reference, parse, registry_of
from volt.model.values import Value, replace
from volt.store.locks import adding
from volt.store.place import PREFIX, Store, make_store
from volt.store.transaction import Transaction, write_whole
from volt.store.tree import objects

if TYPE_CHECKING:
    from volt.images.records import Image
    from volt.images.registry import Registry

# What is being done, and the bytes so far, of how many.
Progress = Callable[[str, int, int], None]


def pull_image(written: str, *, platform: str = "", devices: bool = False, progress: Progress | None = None) -> Image:
    """Fetch an image from its registry: `[REGISTRY/]NAME[:VERSION][@sha256:…]`, the digest being that of its manifest
    there; it is called so here, and by a digest without a version no other name moves. Of several architectures and
    variants the one that is best for `platform`, `linux/arm/v7`, or for this machine's processor. What an
    interrupted pull has fetched is not fetched again. `devices` takes devices over, which are refused by name
    otherwise. `progress` is called with what is being done, and the bytes of how many. Raises RegistryError,
    StoreError, HostUnfit without root, VoltError for settings that are not understood."""
    from volt.images.download import opened
    from volt.images.folders import fetching
    from volt.images.unpack import merge
    from volt.store.intake import Intake

    require_root()
    named, state, wanted = parse(written), folders().state, wanted_platform(platform)
    if not named.name:
        raise NoSuchImage(f"{written} is no name of an image", hint="write REGISTRY/NAME:VERSION")
    with told(f"{written} cannot be pulled"):
        make_store(state)
        with fetching(state):
            registry, image, digests, taken = _found(named, _Choice(wanted))
            if kept := _kept(named, digests, taken, state):
                return kept
            _download(registry, image, state, progress)
            with Transaction(make_store(state)) as transaction:
                intake = Intake(transaction, devices=devices, progress=_unpacking(progress))
                root, config = merge(image, partial(opened, state=state), intake)
                made = image_of(named, transaction.put_tree(root), root, digests["source"])
                made = replace(made, left_out=dict(intake.left_out), config=config, **digests)
                records.require_short(made)
                transaction.commit()
                with taking(taken):
                    records.write(state, made)
    return made


def fetch_again(image: Image, *, progress: Progress | None = None) -> None:
    """Have all content of an image that was pulled in the store again, from the registry that it is from: the very tree
    that it was, or nothing comes in. Raises RegistryError, StoreError, PolicyError, OSError."""
    from volt.images.download import opened
    from volt.images.folders import fetching
    from volt.images.unpack import merge
    from volt.store.intake import Intake

    named = Reference(image.source, LATEST, (image.index or image.manifest).removeprefix(PREFIX))
    state = folders().state
    with fetching(state):
        registry, found, *_ = _found(named, _Choice(wanted_platform(""), image.manifest))
        _download(registry, found, state, progress)
        with Transaction(make_store(state)) as transaction:
            # Devices that it has were asked for then, and no tree but that one comes in.
            intake = Intake(transaction, devices=True, progress=_unpacking(progress))
            root, _ = merge(found, partial(opened, state=state), intake)
            tree = transaction.put_tree(root)
            if tree != image.digest:
                raise StoreError(f"{named} is the tree {PREFIX}{tree} there, and was {image.tree}")
            transaction.commit()


def has_registry(written: str) -> bool:
    """Whether it is known where an image would be pulled from. Raises VoltError for settings that are not
    understood."""
    try:
        named = parse(written)
    except StoreError:
        return False
    return bool(registry_of(named.name)[0] or read_settings().registry)


def _kept(named: Reference, digests: dict[str, Any], taken: Taken | None, state: str) -> Image | None:
    """An image that is the same in its registry, and whole here, by its new name too."""
    store = make_store(state)
    with adding(store.path):
        for one in records.images(state):
            if one.manifest == digests["manifest"] and _is_whole(store, one.digest):
                found = replace(one, name=named.name, version=named.version, **digests)
                with taking(taken):
                    records.write(state, found)
                return found
    return None


def _is_whole(store: Store, tree: str) -> bool:
    """Whether its tree is, and `volt store verify --repair` has taken nothing of it away."""
    try:
        return all(map(store.has, objects(store.tree(tree))))
    except StoreError:
        return False


# And of its record `manifest`, `index`, `source`, `signatures`; and what `taking` is to be told.
Found = tuple["Registry", Packed, dict[str, Any], Taken | None]


class _Choice(Value):
    """Which manifest of an index: the one of this digest, `sha256:…`, or else the one that is best for a platform."""

    platform: Platform
    manifest: str = ""

    def of(self, lines: tuple[Listed, ...]) -> tuple[Listed, ...]:
        return tuple(one for one in lines if str(one.blob) == self.manifest) or best(lines, self.platform)


def _found(named: Reference, wanted: _Choice) -> Found:
    """The repository that has the image, and what its manifest says, with the digest of that."""
    settings = read_settings()
    origin = required_origin(named, settings)
    require_allowed(origin)
    return first_of(origin, lambda host: _at(host, origin, named, wanted, settings))


def _at(host: str, origin: Origin, named: Reference, wanted: _Choice, settings: Settings) -> Found:
    from volt.images.registry import Registry

    registry = Registry(registries.access(host, settings.registries), origin.repository)
    data, kind = registry.manifest(named)
    first = data
    for _ in range(4):  # indexes in indexes
        if kind not in INDEXES:
            break
        lines = listed(parsed(data, "the index"))
        found = wanted.of(lines)
        if not found:
            there = ", ".join(sorted({str(one.platform) for one in lines}))
            hint = f"it is there for {there}" if there else ""
            raise RegistryError(f"{host} has {named} for no {wanted.platform}", hint=hint)
        data, kind = registry.manifest(replace(named, digest=found[0].blob.digest))
    manifest, index = (f"{PREFIX}{hashlib.sha256(one).hexdigest()}" for one in (data, first))
    digests: dict[str, Any] = {"manifest": manifest, "index": index if first is not data else "", "source": str(origin)}
    digests["signatures"], taken = require_signed(registry, origin, named, (digests["index"], manifest))
    return registry, packed(parsed(data, "the manifest")), digests, taken


def _download(registry: Registry, image: Packed, state: str, progress: Progress | None) -> None:
    from volt.images.download import download

    blobs = (image.config, *image.layers)
    download(registry, blobs, state, _telling(blobs, progress))


def _telling(blobs: tuple[Blob, ...], progress: Progress | None) -> Callable[[int], None]:
    """Adds up what several threads say."""
    whole, got, lock = sum(blob.size for blob in {*blobs}), 0, Lock()

    def tell(more: int) -> None:
        nonlocal got
        if progress:
            with lock:
                got += more
                progress("fetching", got, whole)

    return tell


def _unpacking(progress: Progress | None) -> Callable[[int, int], None] | None:
    return (lambda _, size: progress("unpacking", size, 0)) if progress else None


def log_in(host: str, user: str, password: str) -> None:
    """Keep who we are to a registry, once it has said that it knows us. Raises RegistryError, HostUnfit without root,
    VoltError for settings that are not understood."""
    from volt.images.registry import Registry

    require_root()
    if not HOST.fullmatch(host):
        raise RegistryError(f"{host!r} is no registry", hint="write HOST or HOST:PORT")
    access = registries.access(host, read_settings().registries)
    Registry(replace(access, files=()), "").log_in(user, password)  # who we were does not matter, nor who keeps that
    with told(f"who you are to {host} cannot be kept"):
        write_whole(registries.CREDENTIALS, registries.with_credentials(host, user, password))


def log_out(host: str) -> None:
    """Forget it. Raises RegistryError where nothing was kept, HostUnfit without root."""
    require_root()
    with told(f"who you are to {host} cannot be forgotten"):
        left = registries.without_credentials(host)
        if left is None:
            raise RegistryError(f"volt keeps nothing for {host}")
        write_whole(registries.CREDENTIALS, left)
