"""Bars and lines as SVG text, without a plotting library. Readable on light and dark pages.

Not here: what is drawn (cli/bench.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, ROW, LEFT, RIGHT = 720, 26, 170, 110
_HEAD = 44
_COLOURS = ("#3b7dd8", "#d8743b", "#4ba36a", "#a35bc2")


@dataclass(frozen=True)
class Bars:
    """One chart: a bar by name. unit: behind each value."""

    title: str
    unit: str
    values: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Line:
    """One chart: y over x, from zero."""

    title: str
    x_unit: str
    y_unit: str
    points: Sequence[tuple[float, float]]


def drawn(charts: Sequence[Bars | Line]) -> str:
    """The charts below one another, as a whole SVG document."""
    parts, top = [], 8
    for number, chart in enumerate(charts):
        colour = _COLOURS[number % len(_COLOURS)]
        text, height = _bars(chart, top, colour) if isinstance(chart, Bars) else _line(chart, top, colour)
        parts.append(text)
        top += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _title(text: str, top: int) -> str:
    return f'<text x="12" y="{top + 22}" font-weight="bold" fill="#222">{escape(text)}</text>'


def _bars(chart: Bars, top: int, colour: str) -> tuple[str, int]:
    most = max((value for _, value in chart.values), default=0) or 1
    lines = [_title(chart.title, top)]
    for row, (name, value) in enumerate(chart.values):
        y = top + _HEAD + row * ROW
        width = max(1.0, value / most * (WIDTH - LEFT - RIGHT))
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end" fill="#222">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{ROW - 8}" fill="{colour}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}" fill="#222">{_number(value)} {escape(chart.unit)}</text>',
        ]
    return "\n".join(lines), _HEAD + len(chart.values) * ROW + 12


def _line(chart: Line, top: int, colour: str) -> tuple[str, int]:
    height, left, right = 200, 70, 24
    base = top + _HEAD + height
    x_most = max((x for x, _ in chart.points), default=0) or 1
    y_most = (max((y for _, y in chart.points), default=0) or 1) * 1.1
    places = " ".join(
        f"{left + x / x_most * (WIDTH - left - right):.1f},{base - y / y_most * height:.1f}" for x, y in chart.points
    )
    lines = [
        _title(chart.title, top),
        f'<path d="M{left} {top + _HEAD}V{base}H{WIDTH - right}" fill="none" stroke="#888"/>',
        f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{left - 8}" y="{top + _HEAD + 10}" text-anchor="end" fill="#222">{_number(y_most)}</text>',
        f'<text x="{left - 8}" y="{base}" text-anchor="end" fill="#222">0 {escape(chart.y_unit)}</text>',
        f'<text x="{WIDTH - right}" y="{base + 18}" text-anchor="end" fill="#222">'
        f"{_number(x_most)} {escape(chart.x_unit)}</text>",
    ]
    return "\n".join(lines), _HEAD + height + 36


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
