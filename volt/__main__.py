"""The Python entry of `python -m volt`: a cached launch is the static program's, all else the command line's."""

import os
import sys

PROGRAM = os.path.join(os.path.dirname(__file__), "native", "volt")  # noqa: PTH118, PTH120 (no pathlib: it costs)


def main() -> int:
    """Run the command line on sys.argv; the exit status."""
    if sys.argv[1:2] == ["run"] and os.access(PROGRAM, os.X_OK):
        # It comes back as `python -m volt.cli` where no plan is kept for these words.
        os.execv(PROGRAM, [f"python:{sys.executable}", *sys.argv[1:]])  # noqa: S606 (no shell is wanted)
    from volt.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
