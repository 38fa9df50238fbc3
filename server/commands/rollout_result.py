"""`waycue-server rollout result`: what an A/B by wearer-day came to, in words, as JSON and as one page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from server.commands.opening import add_json, opened, print_json
from server.gate import wearer_days
from server.gate.wearer_days import CHAMPION, DAYS_LEAST, TRIED, DaysResult, OutcomeMeasure
from server.releases.registry import Registry
from server.releases.rollouts import Rollouts
from shared import atomic
from shared.clock import SystemClock

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>waycue: {{ result.version }} against the champion</title>
<style>
  :root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
    padding: 0 1.2rem } table { border-collapse: collapse } th, td { text-align: left; padding: .3rem .9rem .3rem 0;
    border-bottom: 1px solid #8884 } td { font-variant-numeric: tabular-nums }
</style></head><body><main>
<h1>{{ result.version }} against the champion</h1>
<p>{{ days[0] }} wearer-days were drawn for it and {{ days[1] }} for the champion; the rollout is {{ result.state }}.
{{ as_drawn }}</p>
<table><thead><tr><th scope="col">Measure</th><th scope="col">{{ result.version }}</th><th scope="col">Champion</th>
<th scope="col">Difference</th><th scope="col">95 % interval, by wearer-day</th><th scope="col">So it is</th></tr>
</thead><tbody>{% for measure in measures %}<tr><th scope="row">{{ measure.name }} ({{ measure.better }} is better)</th>
<td>{{ measure.tried }}</td><td>{{ measure.champion }}</td><td>{{ measure.difference }}</td>
<td>{{ measure.interval }}</td><td>{{ measure.verdict }}</td></tr>{% endfor %}</tbody></table>
<h2>Wearer-days</h2>
<table><thead><tr><th scope="col">Day</th><th scope="col">Wearer</th><th scope="col">Drawn for</th>
<th scope="col">Hours</th><th scope="col">Flags</th><th scope="col">Corrections</th><th scope="col">Audited: right</th>
<th scope="col">Moments as drawn</th></tr></thead><tbody>
{% for day in result.days %}<tr><td>{{ day.day }}</td><td>{{ day.wearer }}</td><td>{{ day.arm }}</td>
<td>{{ "%.2f"|format(day.hours) }}</td><td>{{ day.flags }}</td><td>{{ day.corrections }}</td>
<td>{{ day.audited }}: {{ day.right }}</td><td>{{ day.as_drawn }} of {{ day.moments }}</td></tr>
{% endfor %}</tbody></table>
</main></body></html>
"""
_TEMPLATE = jinja2.Environment(autoescape=True).from_string(_PAGE)


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser("result", help="what an A/B by wearer-day came to, against the champion")
    parser.add_argument("version", nargs="?", help="which one, where there were several")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as one page that needs nothing else")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    clock = SystemClock()
    with opened(options.home) as (store, dataset):
        rollout, devices = Rollouts(Registry(options.home, store=store), clock=clock).by_days(options.version)
        found = wearer_days.result(rollout, dataset.rows(), devices, now_utc=clock.utc_s())
    if options.html is not None:
        atomic.write_bytes(options.html, page(found).encode())
    if options.json:
        print_json(to_json(found))
    else:
        print("\n".join(described(found)))
    return 0


def to_json(found: DaysResult) -> dict[str, Any]:
    """As `--json` prints it."""
    measures = [{**asdict(measure), "verdict": measure.verdict} for measure in found.measures]
    return {**asdict(found), "measures": measures}


def described(found: DaysResult) -> Iterator[str]:
    """In words. Pure."""
    tried, champion = _counts(found)
    yield f"{found.version}, {found.state}: {tried} wearer-days drawn for it, {champion} for the champion."
    yield _as_drawn(found)
    for measure in found.measures:
        shown = _shown(measure)
        against = f"{shown['tried']:>8} against {shown['champion']:>8}"
        yield f"  {shown['name']:<20} {against}, difference {shown['difference']}"
        yield f"  {'':<20} {shown['interval']}: {shown['verdict']} ({measure.better} is better)"


def page(found: DaysResult) -> str:
    """HTML. Pure."""
    shown = [_shown(measure) for measure in found.measures]
    return _TEMPLATE.render(result=found, days=_counts(found), measures=shown, as_drawn=_as_drawn(found))


def _counts(found: DaysResult) -> tuple[int, int]:
    tried, champion = (sum(day.arm == arm for day in found.days) for arm in (TRIED, CHAMPION))
    return tried, champion


def _as_drawn(found: DaysResult) -> str:
    moments = sum(day.moments for day in found.days)
    as_drawn = sum(day.as_drawn for day in found.days)
    return f"Of {moments} moments {as_drawn} came from the model that was drawn for the day."


def _shown(measure: OutcomeMeasure) -> dict[str, str]:
    numbers = {name: getattr(measure, name) for name in ("tried", "champion", "difference")}
    texts = {name: "–" if value is None else f"{value:.3f}" for name, value in numbers.items()}
    few = f"fewer than {DAYS_LEAST} wearer-days in an arm"
    interval = few if measure.interval is None else f"{measure.interval[0]:+.3f} to {measure.interval[1]:+.3f}"
    return {**texts, "name": measure.name, "better": measure.better, "interval": interval, "verdict": measure.verdict}
