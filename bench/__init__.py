"""Benchmarks: what a launch costs, against the tools that volt is compared with; scripts/bench runs them."""
