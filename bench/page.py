"""docs/reference/benchmarks.md: a part for each measurement, written by it alone."""

from __future__ import annotations

import re

PARTS = ("launch", "boot", "memory", "life", "network", "store", "validate")
HEAD = """\
# Benchmarks

Each part says by which command, of which commit and on which machine it was measured.
"""
SECTION = """\
## {title}

{about}

```
{command}
```

| | |
| --- | --- |
{facts}

{body}"""
PART = re.compile(r"<!-- part: (\w+) -->\n\n(.*?)\n<!-- end of \1 -->\n", re.DOTALL)


def section(title: str, about: str, command: str, facts: str, body: str) -> str:
    """One measurement's part: what it is about, its command, the machine's `facts` as rows, what was found."""
    return SECTION.format(title=title, about=about, command=command, facts=facts, body=body)


def renewed(page: str, part: str, text: str) -> str:
    """The page with one part in the place of what it said before; the others stay as they were measured."""
    found = {match[1]: match[2] for match in PART.finditer(page)} | {part: text}
    parts = [f"<!-- part: {name} -->\n\n{found[name]}\n<!-- end of {name} -->\n" for name in PARTS if name in found]
    return "\n".join([HEAD, *parts])
