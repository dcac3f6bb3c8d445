"""What `volt doctor` says about one thing that the machine has, or lacks."""

from __future__ import annotations

from typing import Literal

from volt.model.values import Value

State = Literal["ok", "degraded", "missing"]


class Check(Value):
    """One line. `missing`: no launch is possible without it; `degraded`: what `needed` names is not.

    `found` is what is there, `mend` the command or the change that helps, "" where nothing has to be done.
    """

    name: str
    state: State
    needed: str
    found: str
    mend: str = ""
