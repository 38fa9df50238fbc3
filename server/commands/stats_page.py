"""`waycue-server stats --html FILE`: the statistics as one page that needs nothing else, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import jinja2
from markupsafe import Markup

from server.dataset.blobs import Blobs
from server.evaluation import plots
from server.review.breakdown import Contributor
from server.review.patterns import ErrorPattern, MissingWord
from server.review.stats import Group, ReviewedShare, Summary, share_to_dict

TITLES = {
    "by_wearer": "By wearer",
    "by_place": "By place",
    "by_walk": "By walk",
    "by_light": "By light",
    "by_environment": "By environment",
    "by_weather": "By weather",
    "by_source": "By who said what was right",
}
_MOST_PICTURES = 12

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>waycue: how good guidance is</title>
<style>
  :root { color-scheme: light dark; --ink: #1d2228; --dim: #5d6772; --line: #d5dae0; --paper: #fff; --blue: #1f6feb }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6e9ed; --dim: #9aa5b1; --line: #363d46; --paper: #14181d; --blue: #79b0ff } }
  body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
    margin: 2rem auto; padding: 0 1.2rem }
  .scroll { overflow-x: auto } table { border-collapse: collapse }
  th, td { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top;
    border-bottom: 1px solid var(--line) } .dim { color: var(--dim) } img { width: 9rem; border-radius: .4rem }
  svg { width: 100%; height: auto; font: 13px system-ui, sans-serif } svg text { fill: var(--ink) }
  svg text.dim { fill: var(--dim) } svg .grid { stroke: var(--line) } svg .bar { stroke: var(--dim) }
  svg .range { stroke: var(--blue); stroke-width: 3; opacity: .45 } svg .dot { fill: var(--blue) }
</style></head><body><main>
<h1>How good guidance is</h1>
<p>Accuracy counts what people have reviewed. Only the audit stream, a uniform draw, tells how often guidance is right
on a walk; all other moments were chosen because something seemed wrong.</p>
{% for title, plot in plots %}<h2>{{ title }}</h2><figure>{{ plot }}</figure>{% endfor %}
<h2>Error patterns</h2>
{% if patterns %}<div class="scroll"><table><thead>
<tr><th scope="col">Times</th><th scope="col">Kind</th><th scope="col">Said</th>
<th scope="col">Right</th><th scope="col">What would mend it</th><th scope="col">Examples</th></tr></thead><tbody>
{% for item in patterns %}<tr><td>{{ item.count }}</td><td>{{ item.kind }}</td><td>{{ item.said or "nothing" }}</td>
<td>{{ item.should or "nothing" }}</td><td>{{ item.remedy }}</td><td>{% for example in item.examples %}
{% if pictures[example.sample_id] %}<img src="data:image/jpeg;base64,{{ pictures[example.sample_id] }}"
 alt="{{ example.sample_id }}: said {{ example.said or 'nothing' }}, right was {{ example.should or 'nothing' }}">
{% endif %}
<div class="dim">{{ example.sample_id }}</div>{% endfor %}</td></tr>{% endfor %}</tbody></table></div>
{% else %}<p>None yet.</p>{% endif %}
{% if words %}<h2>Words that the vocabulary does not know</h2><div class="scroll"><table><tbody>
{% for item in words %}<tr><th scope="row">{{ item.word }}</th><td>{{ item.count }}</td></tr>{% endfor %}
</tbody></table></div>{% endif %}
{% if people %}<h2>Contributors</h2><div class="scroll"><table><thead>
<tr><th scope="col">Who</th><th scope="col">Confirmed</th>
<th scope="col">Rejected</th><th scope="col">Spoken corrections</th></tr></thead><tbody>
{% for one in people %}<tr><th scope="row">{{ one.name }}</th><td>{{ one.confirmed }}</td><td>{{ one.rejected }}</td>
<td>{{ one.corrections }}</td></tr>{% endfor %}</tbody></table></div>{% endif %}
</main></body></html>
"""


def render(
    summary: Summary,
    groups: Mapping[str, Sequence[Group]],
    patterns: Sequence[ErrorPattern],
    words: Sequence[MissingWord],
    people: Sequence[Contributor],
    *,
    blobs: Blobs,
) -> str:
    """The page. blobs: the dataset's, for the examples' pictures."""
    sections: list[tuple[str, Sequence[Group]]] = [
        ("Over time", summary.over_time),
        ("By what should have been said", summary.by_object),
        ("By model", summary.by_model),
        *((TITLES[name], own) for name, own in groups.items()),
    ]
    overall = [("audit", summary.audit), ("all reviewed", summary.accuracy)]
    drawn = [
        ("Accuracy", _plot(overall, "Accuracy")),
        *((title, _groups(own, title)) for title, own in sections if own),
    ]
    return _TEMPLATE.render(
        plots=drawn, patterns=patterns, words=words, people=people, pictures=_pictures(patterns, blobs)
    )


def _groups(groups: Sequence[Group], title: str) -> Markup:
    return _plot([(group.name, group.all) for group in groups], title)


def _plot(shares: Sequence[tuple[str, ReviewedShare]], title: str) -> Markup:
    rows = []
    for name, share in shares:
        plain = share_to_dict(share)
        rows.append((name[:24], {**plain, "share": plain["rate"], "hits": plain["right"], "count": plain["judged"]}))
    return Markup(plots.intervals(rows, title=title))


def _pictures(patterns: Sequence[ErrorPattern], blobs: Blobs) -> dict[str, str]:
    """Sample id → its picture as base64, "" where it is missing or there are enough."""
    out: dict[str, str] = {}
    for example in (example for item in patterns for example in item.examples):
        wanted = sum(map(bool, out.values())) < _MOST_PICTURES and blobs.size(example.frame_path) is not None
        out[example.sample_id] = base64.b64encode(blobs.read(example.frame_path)).decode() if wanted else ""
    return out


_TEMPLATE = jinja2.Environment(autoescape=True).from_string(_PAGE)
