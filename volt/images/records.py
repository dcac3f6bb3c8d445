"""The images of this machine: for each a record, whose file is named after it. A tree with a record is never
collected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress

from volt.errors import NoSuchImage, StoreError
from volt.images.config import CONFIG_MOST, ImageConfig, document, of_document
from volt.images.reference import Reference, parse
from volt.model.values import Value, kinds, replace
from volt.store.locks import adding
from volt.store.place import PREFIX, Store, is_digest
from volt.store.transaction import UNFINISHED, sync_folder, write_whole

VERSION = 1
_MOST = 2 * CONFIG_MOST
HINT = "volt image ls lists what there is; volt image import DIR|TAR NAME brings one in"
_SHORTEST = 6  # digits of a digest that are enough


class Signature(Value):
    """A payload, and the signature over it, both base64: volt/images/signatures.py. `kind` is the media type of a
    payload that is signed in an envelope, "" of one that is signed as it is."""

    payload: str
    signature: str
    kind: str = ""


class Image(Value):
    """One image of this machine. `name` and `version` are "" where it was imported without a name; the version is
    `sha256:…` where it was pulled by a digest alone, which is that of its manifest or its index; `tree` is
    `sha256:…`. `created` is when it was imported, in seconds since 1970, `source` from what; `files` and `bytes` are
    those of the tree, each file counted as often as it has names. `left_out` are attributes that were not taken over,
    with the number of files that had them. `config` is what an image of layers says about itself, None of a tree;
    `manifest` is the digest, `sha256:…`, that it has in the registry that it is from, and `index` that of what was
    chosen from there, "" where there was no choice; `signatures` are those of it that a key of the policy has made."""

    name: str
    version: str
    tree: str
    created: float
    source: str
    files: int
    bytes: int
    left_out: dict[str, int]
    config: ImageConfig | None = None
    manifest: str = ""
    index: str = ""
    signatures: tuple[Signature, ...] = ()

    @property
    def digest(self) -> str:
        return self.tree.removeprefix(PREFIX)

    @property
    def reference(self) -> str:
        """What it is called."""
        return str(Reference(self.name, self.version, self.digest))


def folder(state: str) -> str:
    """Where the records lie."""
    return f"{state}/images"


def path(state: str, reference: Reference) -> str:
    """The record of an image, if it is there."""
    return f"{folder(state)}/{str(reference).replace('/', '%2F')}"


def images(state: str) -> tuple[Image, ...]:
    """Every image, by name and version. Raises StoreError for a record that is none."""
    return tuple(sorted(_images(state), key=lambda one: (not one.name, one.name, one.version, one.tree)))


def _images(state: str) -> Iterator[Image]:
    with suppress(FileNotFoundError):
        for file in sorted(os.listdir(folder(state))):
            if UNFINISHED not in file:
                with suppress(FileNotFoundError):
                    yield _read(f"{folder(state)}/{file}")


def _read(where: str) -> Image:
    with open(where, "rb") as file:
        data = file.read(_MOST)
    try:
        known = json.loads(data)
        version = known["record"]
        config = of_document(known["config"]) if known.get("config") else None
        later = {name: str(known.get(name, "")) for name in ("manifest", "index")}
        signatures = tuple(Signature(*map(str, one)) for one in known.get("signatures", ()))
        given = {name: known[name] for name in kinds(Image) if name not in ("config", "signatures", *later)}
        image = replace(Image(**given), config=config, signatures=signatures, **later)
        sound = is_digest(image.digest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{where} is damaged", hint="remove it and import the image again") from error
    if version != VERSION or not sound:
        raise StoreError(f"{where} was written by another version of volt", hint="import the image again")
    return image


def sweep(state: str) -> None:
    """Remove what crashes left. The caller holds the store as `collecting` does."""
    with suppress(FileNotFoundError):
        for file in os.listdir(folder(state)):
            if UNFINISHED in file:
                os.unlink(f"{folder(state)}/{file}")


def write(state: str, image: Image) -> None:
    """Give a tree this record. The caller holds the store as `adding` does. Raises StoreError for one that is too
    long to be read again, OSError."""
    with suppress(FileExistsError):
        os.mkdir(folder(state), 0o700)
    reference = Reference(image.name, image.version, image.digest)
    write_whole(path(state, reference), _encoded(image))


def require_short(image: Image) -> None:
    """Raises StoreError for one whose record would be too long to be read again."""
    _encoded(image)


def _encoded(image: Image) -> bytes:
    known = {"record": VERSION, **{name: getattr(image, name) for name in kinds(Image)}}
    known["config"] = document(image.config) if image.config else None
    known["signatures"] = [(one.payload, one.signature, one.kind) for one in image.signatures]
    data = json.dumps(known, ensure_ascii=False).encode() + b"\n"
    if len(data) > _MOST:
        raise StoreError(f"what the image says about itself has more than {_MOST} bytes")
    return data


def find(state: str, word: str) -> Image:
    """The image that is called so: by name and version, by the digest of its tree or its beginning. With
    `name@sha256:…` both have to hold. Raises NoSuchImage, StoreError."""
    known = images(state)
    if word.startswith(PREFIX) and (begun := _begun(word, known)):
        return begun
    wanted = parse(word)
    if found := exact(state, wanted) if wanted.name else None:
        return found
    same = (image for image in known if not wanted.name and image.digest == wanted.digest)
    if found := next(same, None) or _begun(word, known):
        return found
    raise NoSuchImage(f"there is no image {word}", hint=HINT)


def exact(state: str, wanted: Reference) -> Image | None:
    """The image of this name and version, None without one; by a digest alone any version of the name that has it.
    Raises NoSuchImage where it is another tree than the reference says, StoreError."""
    try:
        image = _read(path(state, wanted))
    except FileNotFoundError:
        same = (one for one in images(state) if wanted.pinned and one.name == wanted.name and _is(one, wanted))
        return next(same, None)
    if wanted.digest and not _is(image, wanted):
        raise NoSuchImage(f"{wanted} is {image.tree} here, not {PREFIX}{wanted.digest}", hint=HINT)
    return image


def _is(image: Image, wanted: Reference) -> bool:
    return f"{PREFIX}{wanted.digest}" in (image.tree, image.manifest, image.index)


def _begun(word: str, known: tuple[Image, ...]) -> Image | None:
    """The image whose digest begins so, if it is one tree alone."""
    begun = word.removeprefix(PREFIX)
    if len(begun) < _SHORTEST or begun.strip("0123456789abcdef"):
        return None
    found = [image for image in known if image.digest.startswith(begun)]
    trees = {image.tree for image in found}
    return found[0] if len(trees) == 1 else None


def remove(store: Store, state: str, image: Image) -> None:
    """Take the record away; the tree goes when it is collected, if nothing else holds it. Raises OSError."""
    with adding(store.path):
        with suppress(FileNotFoundError):
            os.unlink(path(state, Reference(image.name, image.version, image.digest)))
        sync_folder(folder(state))


def trees(state: str) -> set[str]:
    """The digests of the trees that have a record."""
    return {image.digest for image in _images(state)}
