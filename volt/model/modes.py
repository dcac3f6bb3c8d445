"""The words of the manifest that pick one of a few: light, so that launching can import them."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How strong the wall is."""

    CONTAINER = "container"
    HYBRID_NATIVE = "hybrid-native"
    HYBRID_KVM = "hybrid-kvm"
    HYBRID_EMULATED = "hybrid-emulated"


class LandlockProfile(StrEnum):
    """A shipped Landlock policy, or one of the author's own."""

    STRICT = "strict"
    DEFAULT = "default"
    PERMISSIVE = "permissive"
    CUSTOM = "custom"


class NetworkMode(StrEnum):
    """What the workload's network is joined to."""

    BRIDGE = "bridge"
    HOST = "host"
    NONE = "none"
    CUSTOM = "custom"


class WritableLayerMode(StrEnum):
    """What lies over the root, and how long it is kept."""

    OVERLAY = "overlay"
    TMPFS = "tmpfs"
    NONE = "none"


# Where an image has its init, in the order in which systemd-nspawn --boot looks.
INITS = ("usr/lib/systemd/systemd", "lib/systemd/systemd", "sbin/init")

VALID_MODES = frozenset(Mode)
VALID_LANDLOCK_PROFILES = frozenset(LandlockProfile)
VALID_NETWORK_MODES = frozenset(NetworkMode)
VALID_WRITABLE_LAYER_MODES = frozenset(WritableLayerMode)
HYBRID_MODES = frozenset(VALID_MODES - {Mode.CONTAINER})
KERNEL_MODES = frozenset({Mode.HYBRID_NATIVE, Mode.HYBRID_KVM})
