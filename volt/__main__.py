"""The Python entry: `volt` and `python -m volt`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on sys.argv; the exit status."""
    from volt.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
