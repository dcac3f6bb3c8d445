"""From a file tree that holds the layers of an image to the tree that they come to."""

from __future__ import annotations

import hashlib

from volt.errors import StoreError
from volt.images.config import CONFIG_MOST, ImageConfig, read_config
from volt.images.layout import find_image
from volt.store.intake import Intake
from volt.store.layers import Layered
from volt.store.place import PREFIX
from volt.store.tree import Node, objects

# Go's names of what uname(2) calls otherwise: go.dev/src/internal/goarch.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "loongarch64": "loong64"}


def unpack(root: Node, intake: Intake, wanted: str, architecture: str) -> tuple[Node, ImageConfig]:
    """The image that is called `wanted`, "" for the only one, for an architecture as Go calls it; what its layers come
    to is all that is left in the transaction. Raises StoreError, OSError."""
    transaction = intake.transaction
    packed = find_image(root, transaction.open, wanted, architecture)
    with transaction.open(packed.config) as file:
        config, plain = read_config(file.read(CONFIG_MOST + 1))
    if len(plain) != len(packed.layers):
        raise StoreError(f"the image has {len(packed.layers)} layers, and its config says {len(plain)}")
    tree = Layered(intake)
    for packed_layer, said in zip(packed.layers, plain, strict=True):
        _add(tree, packed_layer, said)
    transaction.keep_only(objects(tree.root))
    return tree.root, config


def _add(tree: Layered, packed: str, said: str) -> None:
    known = hashlib.sha256()
    with tree.intake.transaction.open(packed) as file:
        try:
            tree.add(file, known)
        except StoreError as error:
            raise StoreError(f"layer {PREFIX}{packed}: {error.message}", hint=error.hint) from error
    if said != f"{PREFIX}{known.hexdigest()}":
        raise StoreError(f"layer {PREFIX}{packed} holds {PREFIX}{known.hexdigest()}, and the image says {said}")
