"""The records of runs, and what they say about what is left of them."""
