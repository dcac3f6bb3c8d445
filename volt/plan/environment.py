"""The payload's environment: a few variables of its own, the manifest's, and nothing of the caller's."""

from __future__ import annotations

from volt.model.facts import Call, ImageFact
from volt.model.text import Text, text
from volt.model.workload import Workload
from volt.plan import ready
from volt.plan.users import Identity

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def defaults(workload: Workload, identity: Identity, call: Call, image: ImageFact | None = None) -> tuple[Text, ...]:
    """What every payload starts with, and its image's; an env_file, the manifest and `--env` may replace each."""
    variables = {
        "PATH": PATH,
        "HOME": identity.home,
        "USER": identity.name,
        "HOSTNAME": workload.host_name,
    }
    if call.terminal:
        variables["TERM"] = call.term or "xterm"
    for one in image.env if image else ():
        name, _, value = one.partition("=")
        variables[name] = value
    return _lines(variables)


def given(workload: Workload, call: Call) -> tuple[Text, ...]:
    """workload.env, then `--env`, then where the payload says that it is ready."""
    return _lines({**workload.env, **dict(call.env), **ready.variables(workload)})


def _lines(variables: dict[str, str]) -> tuple[Text, ...]:
    return tuple(text(f"{name}={value}") for name, value in variables.items())
