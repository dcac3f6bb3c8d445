"""Where volt keeps what it keeps."""

from __future__ import annotations

from volt.model.values import Value

# The machine's, wherever VOLT_ROOT moves the rest: two states must not hand out the same ids.
UIDS_FOLDER = "/run/volt/uids"


# Likewise: two states must not hand out the same addresses of one bridge. In it a folder for each network namespace.
NETWORKS_FOLDER = "/run/volt/networks"


class Folders(Value):
    """Where volt keeps its state. VOLT_ROOT moves these three, and nothing else: then `root` is its value."""

    state: str = "/var/lib/volt"
    run: str = "/run/volt"
    log: str = "/var/log/volt"
    root: str = ""
