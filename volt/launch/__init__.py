"""Launching: a finished plan handed to the static program, which does everything from there."""
