"""The policy of this machine: looked for, read, and what it says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.errors import PolicyError, StoreError

if TYPE_CHECKING:
    from volt.manifest.policy import ReadPolicy
    from volt.model.doctor import Check


def machine_policy() -> ReadPolicy | None:
    """The policy, None where there is none. Raises PolicyError with all that is wrong with it."""
    from volt.host.policy import read_policy_file

    file = read_policy_file()
    if file is None:
        return None
    if file.data is None:
        raise PolicyError(file.problems)
    from volt.manifest.policy import read_policy

    read = read_policy(file.path, file.data, quotable=file.quotable)
    if problems := (*file.problems, *read.findings):
        raise PolicyError(problems)
    return read


def policy_check() -> Check:
    """What `volt doctor` says about the policy."""
    from volt.model.doctor import Check
    from volt.model.policy import POLICY

    name, needed = "policy", "limits on what manifests may ask"
    try:
        read = machine_policy()
    except PolicyError as error:
        first = error.findings[0]
        found = f"{first.place}: {first.message}" + (
            f", and {len(error.findings) - 1} more" * (len(error.findings) > 1)
        )
        return Check(name, "missing", "every launch: a policy that is not understood stops it", found, first.hint)
    if problem := _bad_key(read):
        stops = "every image that has to be signed by it"
        return Check(name, "missing", stops, f"{POLICY}: images.signers: {problem.message}", problem.hint)
    return Check(name, "ok", needed, POLICY if read else "none: nothing is bounded")


def _bad_key(read: ReadPolicy | None) -> StoreError | None:
    """What is wrong with the first key that is none: no launch looks at keys that it does not need."""
    signers = read.policy.image_signers if read and read.policy else None
    if not signers:
        return None
    from volt.images.signatures import fingerprint

    for one in signers:
        for key in one.keys:
            try:
                fingerprint(key)
            except StoreError as error:
                return error
    return None
