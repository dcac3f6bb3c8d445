"""Looking at every byte of the store; what is damaged or lost is had again from the registry that it is from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from volt.api.imaging import Progress, require_root, told
from volt.errors import StoreError, VoltError
from volt.host.folders import folders
from volt.images import records
from volt.model.values import replace
from volt.store import manifests
from volt.store.place import PREFIX, Store, open_store
from volt.store.tree import objects
from volt.store.verify import Damage, Verified, verify

if TYPE_CHECKING:
    from volt.api.pulling import Progress as Transfer

# What some digests are had from again: they, the place, and what does it.
Source = tuple[set[str], str, Callable[[], object]]


def verify_store(
    *, repair: bool = False, progress: Progress | None = None, transfer: Transfer | None = None
) -> Verified:
    """Look at every byte of the store. With `repair` damaged objects are taken out of it, what can be made again is,
    and what an image or a manifest from a registry lacks is fetched again from there, checked and bounded by the
    policy as a pull is. Of other content it is enough to import the same again. `progress` is called with numbers of
    objects and bytes, `transfer` as that of `pull_image`. Raises StoreError, HostUnfit without root."""
    require_root()
    state = folders().state
    store = open_store(state)
    if store is None:
        return Verified()
    with told("the store cannot be looked at"):
        found = verify(store, records.trees(state), repair=repair, progress=progress)
        known = {one.digest for one in found.damage}
        gone = sorted(one for one in manifests.digests(state) if not store.has(one) and one not in known)
        missing = (Damage("object", digest, "it is missing, and was added as a manifest") for digest in gone)
        damage = (*found.damage, *missing)
        return replace(found, damage=_fetched(store, state, damage, transfer) if repair else damage)


def _fetched(store: Store, state: str, damage: tuple[Damage, ...], transfer: Transfer | None) -> tuple[Damage, ...]:
    """What is lacking, from where it came from; of what is there by then it is told, and of what is not why."""
    lacking = {one.digest for one in damage if one.kind != "image" and not store.has(one.digest)}
    origins, reasons = dict[str, str](), dict[str, str]()
    for wanted, origin, fetch in (*_images(store, state, transfer), *_manifests(state)):
        if not (asked := {one for one in wanted & lacking if not store.has(one)}):
            continue
        try:
            with told(f"{origin} cannot be fetched again"):
                fetch()
        except VoltError as error:
            reasons |= dict.fromkeys(asked, error.message)
        origins |= {digest: origin for digest in asked if store.has(digest)}
    return tuple(_told(one, origins, reasons) if one.digest in lacking else one for one in damage)


def _told(one: Damage, origins: dict[str, str], reasons: dict[str, str]) -> Damage:
    if origin := origins.get(one.digest):
        return replace(one, mended=True, origin=origin)
    return replace(one, unfetched=reasons.get(one.digest, ""))


def _images(store: Store, state: str, transfer: Transfer | None) -> Iterator[Source]:
    """The trees from registries with the digests of all that they need; of one that is lost that is not known, and it
    brings all of it along."""
    from volt.api.pulling import fetch_again

    for image in _once(one for one in records.images(state) if one.manifest):
        needed = {image.digest}
        with suppress(StoreError):
            needed |= objects(store.tree(image.digest))
        yield needed, image.source, partial(fetch_again, image, progress=transfer)


def _once(images: Iterable[records.Image]) -> Iterable[records.Image]:
    """Without further names of the same."""
    return {(one.digest, one.source, one.manifest): one for one in images}.values()


def _manifests(state: str) -> Iterator[Source]:
    """Those that were pulled: their source has the digest of an artifact, others' is a path."""
    from volt.api.sharing import pull_manifest

    for one in manifests.added(state):
        if f"@{PREFIX}" in one.source and not one.source.startswith("/"):
            digest = one.url.removeprefix(f"{manifests.URL}{PREFIX}")
            yield {digest}, one.source, partial(pull_manifest, one.source)
