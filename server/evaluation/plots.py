"""Plots as inline SVG, drawn with currentColor and the page's own classes, so that they follow light and dark. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from server.evaluation.facts import Drive
from server.evaluation.speech import Alarm, EventResult

TIERS = ("1", "2", "3")
_LANES = {"on the left": 0, "ahead": 8, "on the right": 16}
"""Where in its tier's row an event is drawn, in px."""


def intervals(rows: Sequence[tuple[str, Mapping[str, Any]]], *, bar: float | None = None, title: str) -> str:
    """Proportions with their 95 % intervals, one line each; `bar` is drawn as a dashed line.

    rows: (name, Proportion as dict)
    """
    left, right, line = 130, 520, 26
    height = line * len(rows) + 34

    def x(share: float) -> float:
        return left + (right - left) * share

    parts = [_ticks(x, line * len(rows) + 6)]
    if bar is not None:
        parts.append(f'<line class="bar" x1="{x(bar):.1f}" x2="{x(bar):.1f}" y1="0" y2="{height - 28}"/>')
    for index, (name, share) in enumerate(rows):
        y = line * index + 16
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        if share["share"] is not None:
            parts.append(
                f'<line class="range" x1="{x(share["low"]):.1f}" x2="{x(share["high"]):.1f}" y1="{y}" y2="{y}"/>'
            )
            parts.append(f'<circle class="dot" cx="{x(share["share"]):.1f}" cy="{y}" r="5"/>')
        parts.append(f'<text class="dim" x="{right + 14}" y="{y + 4}">{share["hits"]} of {share["count"]}</text>')
    return _svg(620, height, parts, title)


def reliability(calibration: Mapping[str, Any]) -> str:
    """Share right against confidence; the diagonal is a model that knows what it knows."""
    size, left, top = 300, 44, 10
    parts = [
        f'<rect class="frame" x="{left}" y="{top}" width="{size}" height="{size}"/>',
        f'<line class="bar" x1="{left}" y1="{top + size}" x2="{left + size}" y2="{top}"/>',
    ]
    most = max((bin_["count"] for bin_ in calibration["bins"]), default=1)
    points = []
    for bin_ in calibration["bins"]:
        x, y = left + size * bin_["confidence"], top + size * (1 - bin_["right"])
        if 100 * bin_["count"] >= calibration["count"]:  # the line leaves out what a few answers happen to be
            points.append(f"{x:.1f},{y:.1f}")
        about = f"confidence {bin_['confidence']:.2f}: right {bin_['right']:.2f}, {bin_['count']} answers"
        radius = 3 + 8 * (bin_["count"] / most) ** 0.5
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{about}</title></circle>')
    parts.append(f'<polyline class="curve" points="{" ".join(points)}"/>')
    for share in (0, 0.5, 1):
        parts.append(
            f'<text class="dim" x="{left + size * share}" y="{top + size + 18}" text-anchor="middle">{share:g}</text>'
        )
        parts.append(
            f'<text class="dim" x="{left - 8}" y="{top + size * (1 - share) + 4}" text-anchor="end">{share:g}</text>'
        )
    parts.append(f'<text x="{left + size / 2}" y="{top + size + 38}" text-anchor="middle">confidence</text>')
    parts.append(
        f'<text transform="translate(12 {top + size / 2}) rotate(-90)" text-anchor="middle">share right</text>'
    )
    return _svg(left + size + 20, top + size + 46, parts, "Reliability: share right against confidence")


def histogram(values: Sequence[float], *, low: float, high: float, unit: str, bar: float, title: str) -> str:
    """How often which value; what lies outside is counted at the edge. `bar` is drawn as a dashed line."""
    count, left, width, height = 24, 30, 480, 150
    bins = [0] * count
    for value in values:
        bins[min(count - 1, max(0, int((value - low) / (high - low) * count)))] += 1
    most, step = max([1, *bins]), width / count
    parts = [
        f'<rect class="fill" x="{left + i * step + 1:.1f}" y="{height * (1 - n / most) + 10:.1f}" '
        f'width="{step - 2:.1f}" height="{height * n / most:.1f}"/>'
        for i, n in enumerate(bins)
    ]
    at = left + width * (bar - low) / (high - low)
    parts.append(f'<line class="bar" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{height + 10}"/>')
    parts.append(f'<line class="frame" x1="{left}" x2="{left + width}" y1="{height + 10}" y2="{height + 10}"/>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        value, x = low + (high - low) * share, left + width * share
        parts.append(f'<text class="dim" x="{x:.0f}" y="{height + 28}" text-anchor="middle">{value:g} {unit}</text>')
    return _svg(left + width + 30, height + 36, parts, title)


def timeline(drive: Drive, answers: Sequence[EventResult], alarms: Sequence[Alarm], *, seconds: float = 60.0) -> str:
    """The first minute of a walk: events as bars by tier, utterances below; what was missed or false stands out."""
    left, width, row = 60, 760, 34
    span = min(seconds, drive.course.duration_s)

    def x(t_s: float) -> float:
        return left + width * min(t_s, span) / span

    parts = [f'<text x="{left - 8}" y="{row * i + 22}" text-anchor="end">tier {t}</text>' for i, t in enumerate(TIERS)]
    for answer in answers:
        event = answer.event
        if event.t_visible_s < span:
            about = f"{event.object} {event.side}, {event.t_visible_s:.1f} to {event.t_deadline_s:.1f} s"
            begin, end = x(event.t_visible_s), x(event.t_deadline_s)
            y = row * (event.tier - 1) + 8 + _LANES.get(event.side, 8)
            parts.append(_block(_state(answer), begin, max(3.0, end - begin), y, 7, about))
    false = {id(alarm.utterance) for alarm in alarms}
    base = row * 3 + 14
    parts.append(f'<text x="{left - 8}" y="{base + 9}" text-anchor="end">said</text>')
    for said in drive.utterances:
        if said.guides and said.t_s < span:
            state = "bad" if id(said) in false else "said"
            parts.append(_block(state, x(said.t_s), max(2.0, x(said.end_s) - x(said.t_s)), base, 12, said.text))
    for tick in range(0, int(span) + 1, 10):
        parts.append(f'<text class="dim" x="{x(tick):.0f}" y="{base + 32}" text-anchor="middle">{tick} s</text>')
    return _svg(left + width + 20, base + 40, parts, f"{drive.course.name}: what was there and what was said")


def _block(state: str, x: float, width: float, y: float, height: float, about: str) -> str:
    shape = f'class="{state}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f"<rect {shape}><title>{escape(about)}</title></rect>"


def _state(answer: EventResult) -> str:
    """The class of an event's bar: warned of, missed on purpose, or missed."""
    if answer.missed:
        return "bad"
    return "quiet" if answer.covered else "fill"


def _ticks(x: Any, y: float) -> str:
    lines = [f'<line class="grid" x1="{x(s):.1f}" x2="{x(s):.1f}" y1="0" y2="{y}"/>' for s in (0, 0.25, 0.5, 0.75, 1)]
    marks = [
        f'<text class="dim" x="{x(s):.1f}" y="{y + 18}" text-anchor="middle">{100 * s:g} %</text>'
        for s in (0, 0.25, 0.5, 0.75, 1)
    ]
    return "".join(lines + marks)


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )
