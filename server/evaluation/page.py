"""The report as one HTML page that needs nothing else: figures, plots, and the worst moments as pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from server.evaluation import plots, slots, speech, summary
from server.evaluation.facts import Drive
from server.evaluation.worst import worst

DISTANCES_M = (-1.0, 7.0)


def render(whole: Mapping[str, Any], drives: Sequence[Drive]) -> str:
    """HTML of a summary and the drives it was made from."""
    results = {id(drive): speech.event_results(drive) for drive in drives}
    return _TEMPLATE.render(
        whole=whole,
        rows=summary.headlines(whole),
        compared=summary.compared(whole),
        acts=slots.ACTS,
        costs=slots.COSTS,
        number=summary.number,
        percent=summary.percent,
        tiers=_plot(
            plots.intervals(
                [(f"tier {tier}", whole["recall"][tier]["recall"]) for tier in plots.TIERS],
                bar=0.9,
                title="Share of events warned of in time, by tier",
            )
        ),
        objects=_plot(plots.intervals(list(whole["objects"].items()), title="Share of events warned of, by object")),
        reliability=_plot(plots.reliability(whole["calibration"])),
        distances=_plot(
            plots.histogram(
                [r.distance_m for of in results.values() for r in of if r.event.tier == 1 and r.distance_m],
                low=DISTANCES_M[0],
                high=DISTANCES_M[1],
                unit="m",
                bar=speech.REACH_M,
                title="Distance left at the word for a tier-1 hazard",
            )
        ),
        timelines=[
            (d.course.name, _plot(plots.timeline(d, results[id(d)], speech.false_alarms(d))))
            for d in _first_of_each(drives)
        ],
        pictures=[(moment, base64.b64encode(moment.picture).decode()) for moment in worst(drives)],
    )


def _first_of_each(drives: Sequence[Drive]) -> list[Drive]:
    """The first drive of each group, four at most."""
    first = {drive.course.group: drive for drive in reversed(drives)}
    return [drive for drive in drives if first[drive.course.group] is drive][:4]


def _plot(svg: str) -> Markup:
    """Our own SVG, whose texts are escaped where they are put in."""
    return Markup(svg)


_ENVIRONMENT = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_TEMPLATE = _ENVIRONMENT.from_string((Path(__file__).parent / "page.html.jinja").read_text(encoding="utf-8"))
