"""Graphs as SVG, without scripts: a point for each commit, the range of its samples, and a link."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 150, 62, 10, 12, 22
LOGARITHMIC = 6  # from such a ratio of the largest value to the smallest on
NARROWEST = 0.2  # of the value: noise is not drawn as mountains

UNITS = {
    "bytes": [(1, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")],
    "seconds": [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1, "s")],
}


class Point(NamedTuple):
    """Where along the commits, the value and its range, where a click leads, and what hovering shows."""

    at: int
    value: float
    low: float
    high: float
    link: str
    words: str


def shown(value: float | None, unit: str) -> str:
    """A value with its unit, for people."""
    if value is None:
        return "failed"
    if math.isnan(value):
        return "not there"
    scale, name = 1.0, {"x": "×"}.get(unit, unit)
    for each, prefixed in UNITS.get(unit, ()):
        if abs(value) >= each or prefixed in ("B", "ns"):
            scale, name = each, prefixed
    number = value / scale
    return f"{number:,.0f} {name}" if number == round(number) or abs(number) >= 1000 else f"{number:.3g} {name}"


def graph(points: Sequence[Point], length: int, unit: str, label: str) -> str:
    """One case over `length` commits."""
    low, high = min(point.low for point in points), max(point.high for point in points)
    middle, log = (low + high) / 2, low > 0 and high > LOGARITHMIC * low
    if not log:
        half = max((high - low) * 0.6, abs(middle) * NARROWEST / 2, 1e-12)
        low, high = middle - half, middle + half
    else:
        low, high = low / 1.3, high * 1.3

    def x(at: int) -> float:
        return LEFT + 6 + (WIDTH - LEFT - RIGHT - 12) * at / max(length - 1, 1)

    def y(value: float) -> float:
        part = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * part

    ticks = [low * (high / low) ** part if log else low + (high - low) * part for part in (0.08, 0.5, 0.92)]
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        value = shown(tick, unit).removesuffix(f" {unit}")  # there is no room for a whole word, which the heading has
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{value}</text>')
    foot = HEIGHT - 6
    parts.append(f'<text x="{LEFT}" y="{foot}">oldest commit</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{foot}" text-anchor="end">newest{", log scale" if log else ""}</text>')
    line = " ".join(f"{x(point.at):.1f},{y(point.value):.1f}" for point in points)
    parts.append(f'<polyline points="{line}"/>')
    for point in points:
        spread = f'<path class="spread" d="M{x(point.at):.1f} {y(point.low):.1f}V{y(point.high):.1f}"/>'
        dot = f'<circle cx="{x(point.at):.1f}" cy="{y(point.value):.1f}" r="4"/>'
        parts.append(f'<a href="{point.link}">{spread}{dot}<title>{escape(point.words)}</title></a>')
    return "".join([*parts, "</svg>"])
