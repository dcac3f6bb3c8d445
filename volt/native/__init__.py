"""The static program: its C sources, and what generates their table and builds them."""
