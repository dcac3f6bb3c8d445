"""The policy of a machine: the most that its manifests may ask for."""

from __future__ import annotations

from volt.model.sizes import Size
from volt.model.values import Value

POLICY = "/etc/volt/policy.toml"  # wherever VOLT_ROOT moves the rest
POLICY_FOLDER = "/etc/volt"


class Policy(Value):
    """Each field is None where nothing is bounded; () allows nothing.

    Lists of places hold absolute folders without links of their own, those of a root and of profiles words too
    (`host`, `strict`). `image_signers` are pairs of a registry, or a part of one, and the public keys, PEM, of which
    one has to have signed what comes from there. `quotable` says whether the caller may be told what it says.
    """

    env_file: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    seccomp_profile: tuple[str, ...] | None = None
    landlock_profile: tuple[str, ...] | None = None
    network_mode: tuple[str, ...] | None = None
    network_name: tuple[str, ...] | None = None
    rootfs: tuple[str, ...] | None = None
    image_registries: tuple[str, ...] | None = None
    image_signers: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    volume_host: tuple[str, ...] | None = None
    volume_writable: tuple[str, ...] | None = None
    volume_owner: tuple[str, ...] | None = None
    memory_limit: Size | None = None
    pids_max: int | None = None
    allow_unenforced: tuple[str, ...] | None = None
    quotable: bool = True
