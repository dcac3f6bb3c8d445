"""The policy of a machine: the most that its manifests may ask for."""

from __future__ import annotations

from volt.model.sizes import Size
from volt.model.values import Value

POLICY = "/etc/volt/policy.toml"  # wherever VOLT_ROOT moves the rest
POLICY_FOLDER = "/etc/volt"


class Signers(Value):
    """Who has to sign what comes from a `place`, a registry or a part of one: one of the `keys`, PEM. With `newest`
    what was signed before what was once taken for the same name is refused; with `any_repository` a signature that
    names no repository counts."""

    place: str
    keys: tuple[str, ...]
    newest: bool = False
    any_repository: bool = False


class Policy(Value):
    """Each field is None where nothing is bounded; () allows nothing.

    Lists of places hold absolute folders without links of their own, those of a root and of profiles words too
    (`host`, `strict`). `kernel_modules` alone allows nothing where it is None: what they do is done to the host.
    `quotable` says whether the caller may be told what it says.
    """

    env_file: tuple[str, ...] | None = None
    kernel_modules: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    seccomp_profile: tuple[str, ...] | None = None
    landlock_profile: tuple[str, ...] | None = None
    network_mode: tuple[str, ...] | None = None
    network_name: tuple[str, ...] | None = None
    rootfs: tuple[str, ...] | None = None
    image_registries: tuple[str, ...] | None = None
    image_signers: tuple[Signers, ...] | None = None
    volume_host: tuple[str, ...] | None = None
    volume_writable: tuple[str, ...] | None = None
    volume_owner: tuple[str, ...] | None = None
    memory_limit: Size | None = None
    pids_max: int | None = None
    allow_unenforced: tuple[str, ...] | None = None
    quotable: bool = True
