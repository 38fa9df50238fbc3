"""Charts as SVG, each with the table that says the same: a chart alone is nothing to a screen reader. Pure.

They are drawn in currentColor and classes of the page's style sheet, so that they follow light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from server.review.stats import Group, ReviewedShare

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 30
LABELS_MOST = 6


@dataclass(frozen=True, slots=True)
class AdminChart:
    """One chart."""

    title: str
    summary: str
    """What it says, in a sentence: its name for a screen reader."""
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The table of the same figures; the first cell of a row is its heading."""


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One bar."""

    name: str
    value: float
    of: float
    """What would fill it; 0 = nothing is asked for."""
    text: str
    """The value as a person reads it."""


def percent(share: ReviewedShare) -> str:
    """62 % (8 of 13; 36 to 82 %), or that nothing was judged."""
    if share.rate is None or share.interval is None:
        return "nothing judged yet"
    low, high = share.interval
    return f"{share.rate:.0%} ({share.right} of {share.judged}; {low:.0%} to {high:.0%})"


def shares(title: str, groups: Sequence[Group], *, what: str) -> AdminChart:
    """Shares of the audit stream one after the other, each with its interval. what: a group is one of these"""
    shown = [group for group in groups if group.audit.judged]
    parts = [*_grid()]
    step = (WIDTH - LEFT - RIGHT) / max(1, len(shown))
    points = []
    for n, group in enumerate(shown):
        x, rate, interval = LEFT + step * (n + 0.5), group.audit.rate or 0.0, group.audit.interval or (0.0, 1.0)
        points.append(f"{x:.1f},{_y(rate):.1f}")
        parts.append(
            f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(interval[0]):.1f}" y2="{_y(interval[1]):.1f}"/>'
        )
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{_y(rate):.1f}" r="5"/>')
        if n % (1 + (len(shown) - 1) // LABELS_MOST) == 0:
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(_short(group.name))}</text>')
    parts.insert(5, f'<polyline class="line" points="{" ".join(points)}"/>')
    last = f"The newest {what}, {shown[-1].name}: {percent(shown[-1].audit)}." if shown else "Nothing judged yet."
    rows = tuple((group.name, percent(group.audit), percent(group.all)) for group in groups)
    head = (what.capitalize(), "Audit stream: right", "All that was reviewed: right")
    return AdminChart(title, f"{title}. {last}", _svg(parts, f"{title}. {last}"), head, rows)


def bars(title: str, items: Sequence[ChartBar], *, head: tuple[str, str]) -> AdminChart:
    """Bars below each other, each filled as far as its value goes of what would fill it."""
    line, left = 26, 190
    most = max((max(item.value, item.of) for item in items), default=1.0) or 1.0
    parts = []
    for n, item in enumerate(items):
        y, width = n * line + 4, WIDTH - left - 70
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(_short(item.name, 28))}</text>')
        if item.of:
            parts.append(f'<rect class="wanted" x="{left}" y="{y}" width="{width * item.of / most:.1f}" height="18"/>')
        parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{width * item.value / most:.1f}" height="18"/>')
        parts.append(f'<text x="{WIDTH - 62}" y="{y + 14}">{escape(_short(item.text, 10))}</text>')
    summary = f"{title}. " + "; ".join(f"{item.name}: {item.text}" for item in items[:12])
    rows = tuple((item.name, item.text) for item in items)
    return AdminChart(title, summary, _svg(parts, summary, height=max(1, len(items)) * line + 6), head, rows)


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, share)))


def _grid() -> list[str]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        label = f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        parts.append(f'<g><line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>{label}</g>')
    return parts


def _short(name: str, most: int = 14) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(parts: Sequence[str], summary: str, *, height: int = HEIGHT) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(summary)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # every text in it went through escape()
