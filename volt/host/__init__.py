"""What this machine is and has: read once, handed on as data."""
