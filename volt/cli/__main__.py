"""The command line itself, `python -m volt.cli`: what the static program starts where it has no plan to perform."""

from __future__ import annotations

import sys

from volt.cli import main


def entry() -> int:
    """Run the command line on sys.argv; the exit status. What `volt-python` calls."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(entry())
