"""From a file tree that holds the layers of an image to the tree that they come to."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from volt.errors import StoreError
from volt.images.config import CONFIG_MOST, ImageConfig, read_config
from volt.images.layout import Open, find_image
from volt.images.manifest import Blob, Packed
from volt.images.platforms import Platform
from volt.store.intake import Intake
from volt.store.place import PREFIX
from volt.store.tree import Node, objects

if TYPE_CHECKING:
    from volt.store.layers import Layered


def unpack(root: Node, intake: Intake, wanted: str, platform: Platform) -> tuple[Node, ImageConfig]:
    """The image that is called `wanted`, "" for the only one, for a platform; what its layers come to is all
    that is left in the transaction. Raises StoreError, OSError."""
    image = find_image(root, intake.transaction.open, wanted, platform)
    return merge(image, intake.transaction.open, intake)


def merge(image: Packed, read: Open, intake: Intake) -> tuple[Node, ImageConfig]:
    """What the layers of an image come to, whose blobs are `read` by their digests and have them; and what it says
    about itself. Raises StoreError, OSError."""
    from volt.store.layers import Layered  # a folder that holds none needs nothing of it

    with read(image.config.digest) as file:
        config, plain = read_config(file.read(CONFIG_MOST + 1))
    if len(plain) != len(image.layers):
        raise StoreError(f"the image has {len(image.layers)} layers, and its config says {len(plain)}")
    tree = Layered(intake)
    for blob, said in zip(image.layers, plain, strict=True):
        with read(blob.digest) as file:
            _add(tree, file, blob, said)
    intake.transaction.keep_only(objects(tree.root))
    return tree.root, config


def _add(tree: Layered, file: BinaryIO, blob: Blob, said: str) -> None:
    known = hashlib.sha256()
    try:
        tree.add(file, known)
    except StoreError as error:
        raise StoreError(f"layer {blob}: {error.message}", hint=error.hint) from error
    if said != f"{PREFIX}{known.hexdigest()}":
        raise StoreError(f"layer {blob} holds {PREFIX}{known.hexdigest()}, and the image says {said}")
