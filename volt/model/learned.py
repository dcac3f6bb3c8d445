"""What `volt learn` proposes."""

from __future__ import annotations

from volt.model.values import Value


class Learned(Value):
    """A Landlock policy and a seccomp profile, as TOML, under which a command passes.

    `minimal`: each of their rules has been taken away, and the command failed. `rules` are the policy's pairs of a
    path or port and a right; `calls` the profile's pairs of a system call and what it is answered. `runs` is how
    often the command ran for it. `compared` names what every run had to do alike besides ending with 0: "stdout" and
    "stderr" where two runs that nothing hindered wrote the same. `capabilities` belong into the manifest beside the
    two files where they are not None: the profiles that it named gave these.
    """

    landlock: str
    seccomp: str
    rules: int
    calls: int
    runs: int
    minimal: bool
    compared: tuple[str, ...] = ()
    capabilities: tuple[str, ...] | None = None
