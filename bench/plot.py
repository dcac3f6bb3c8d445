"""The plot of a report as SVG: a bar for each case from its minimum to p99, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from bench.figures import Summary
from bench.report import Report

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 230, 60, 40, 30
OURS, PEERS, INK, GRID = "#1f6f8b", "#b08968", "#222222", "#dddddd"
STEPS = (1, 2, 5)


def svg(report: Report) -> str:
    cases = report.summaries()
    scale = Scale(min(one.minimum for one in cases.values()), max(one.p99 for one in cases.values()))
    bottom = TOP + ROW * len(cases)
    height = bottom + 40
    bars = [
        line
        for number, (name, one) in enumerate(cases.items())
        for line in bar(report.titles[name], one, TOP + ROW * number, OURS if name in report.ours else PEERS, scale)
    ]
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
    lines = [
        f'{start} font-size="13" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *grid(scale, bottom),
        *bars,
        text(
            WIDTH / 2,
            bottom + 32,
            "ms from start to exit: a bar from the minimum (the number) to the median, a line to p99",
            "middle",
        ),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class Scale:
    """Milliseconds to a place on the axis, which begins and ends at a step."""

    def __init__(self, least: float, most: float) -> None:
        self.ticks = list(ticks(least, most))
        self._first = math.log(self.ticks[0])
        self._factor = (WIDTH - LEFT - RIGHT) / (math.log(self.ticks[-1]) - self._first)

    def __call__(self, value: float) -> float:
        return LEFT + (math.log(value) - self._first) * self._factor


def ticks(least: float, most: float) -> Iterator[float]:
    """1, 2, 5, 10 … from the last one that is at most `least` to the first one above `most`."""
    exponent = math.floor(math.log10(least))
    steps = [float(f"{step}e{power}") for power in range(exponent, exponent + 10) for step in STEPS]
    begin = max(number for number, step in enumerate(steps) if step <= least)
    for step in steps[begin:]:
        yield step
        if step > most:
            return


def grid(scale: Scale, bottom: float) -> Iterator[str]:
    for tick in scale.ticks:
        x = scale(tick)
        yield f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{GRID}"/>'
        yield text(x, bottom + 14, f"{tick:g}", "middle")


def bar(title: str, one: Summary, y: float, colour: str, scale: Scale) -> Iterator[str]:
    """A thin line to p99, a thick one up to the median, and the minimum as a number."""
    middle = y + ROW / 2 - 4
    least, median, most = (scale(value) for value in (one.minimum, one.median, one.p99))
    yield text(LEFT - 12, middle + 4, title, "end")
    yield f'<line x1="{least:.1f}" y1="{middle}" x2="{most:.1f}" y2="{middle}" stroke="{colour}" stroke-width="2"/>'
    yield f'<line x1="{least:.1f}" y1="{middle}" x2="{median:.1f}" y2="{middle}" stroke="{colour}" stroke-width="10"/>'
    yield text(most + 6, middle + 4, f"{one.minimum:.1f}", "start")


def text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
