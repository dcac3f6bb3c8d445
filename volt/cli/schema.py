"""volt schema: the JSON Schema of the manifest."""

from __future__ import annotations

import json

from volt import api
from volt.cli.failure import FAILED, failing


@failing(FAILED)
def schema() -> int:
    """Print the JSON Schema of the manifest, with which editors complete and explain every field."""
    print(json.dumps(api.schema(), indent=2, ensure_ascii=False))
    return 0
