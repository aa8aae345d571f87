"""A line plot as SVG, written by hand: a logarithmic x axis, medians with the lowest and the highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, log10

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 36, 40, 48
COLOURS = ("#1f6f8b", "#c0504d", "#6a8f3c", "#7a5c99")


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    low: float
    high: float


def plot(title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[Point]]) -> str:
    """One picture of all `series`, by name.  Every series needs a point; all x are above 0."""
    points = [point for line in series.values() for point in line]
    xs = sorted({point.x for point in points})
    top = nice(max(point.high for point in points))
    first, last = log10(xs[0]), log10(xs[-1])

    def at(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - first) / (last - first or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">',
        f"{escape(y_label)}</text>",
    ]
    for step in range(5):
        value = top * step / 4
        _, y = at(xs[0], value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for x in xs:
        place, _ = at(x, 0)
        parts.append(f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:,.0f}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(point.x, point.y)) for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            x, y = at(point.x, point.y)
            _, high = at(point.x, point.high)
            _, low = at(point.x, point.low)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        y = TOP + 8 + 18 * number
        parts.append(f'<rect x="{LEFT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 28}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def nice(value: float) -> float:
    """The next larger number that four steps divide well."""
    size = float(10 ** (ceil(log10(value)) - 1)) if value > 0 else 1.0
    return next(factor * size for factor in (1, 2, 4, 6, 8, 10, 20) if factor * size >= value)
