"""What `volt doctor` says about one thing that the machine has, or lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `missing`: no launch is possible without it; `degraded`: what `needed` names is not.

    `found` is what is there, `mend` the command or the change that helps, "" where nothing has to be done.
    """

    name: str
    state: State
    needed: str
    found: str
    mend: str = ""
