"""volt launches the workload that a TOML manifest describes, behind the wall that one word picks."""

__version__ = "0.1.0"
