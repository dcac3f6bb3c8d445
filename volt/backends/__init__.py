"""Backends: each contributes its part of a plan, as data; none acts."""
