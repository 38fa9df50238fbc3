"""Coverage as one HTML page with an inline plot; nothing is loaded from elsewhere. Pure."""

from __future__ import annotations

from html import escape

from server.review.coverage import Cell, Coverage, next_up

_LINE, _LEFT, _RIGHT = 24, 250, 640
_STYLE = """
:root { color-scheme: light dark;
  --ink: #16202a; --paper: #f4f2ed; --soft: #3f4a56; --sure: #0b4f8a; --guess: #9dbad6; --want: #b45309; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #eef2f6; --paper: #10151b; --soft: #b4bfca; --sure: #8ec5ff; --guess: #39536d; --want: #ffc53d; } }
body { margin: 2rem auto; max-width: 52rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.5 system-ui, sans-serif; }
svg { width: 100%; height: auto; } text { fill: var(--ink); font-size: 14px; }
.dim { fill: var(--soft); } .sure { fill: var(--sure); } .guess { fill: var(--guess); }
.want { stroke: var(--want); stroke-width: 3; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: right; }
th:first-child { text-align: left; }
"""


def page(coverage: Coverage) -> str:
    """The whole page."""
    todo = "".join(f"<li>{escape(sentence)}</li>" for sentence in next_up(coverage))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Coverage</title><style>{_STYLE}</style><h1>What was recorded</h1>"
        f"<p>{coverage.moments} moments. Dark: confirmed by a person; light: only guessed; the line: what the plan asks"
        f" for.</p>{plot(coverage)}<h2>Next</h2><ol>{todo}</ol><h2>Environment by lighting</h2>{_grid(coverage)}</html>"
    )


def plot(coverage: Coverage) -> str:
    """One bar for each choice and each combination of the plan."""
    most = max((max(cell.want, cell.confirmed + cell.guessed) for cell in coverage.cells), default=0) or 1
    bars = "".join(_bar(index, cell, (_RIGHT - _LEFT) / most) for index, cell in enumerate(coverage.cells))
    height = _LINE * len(coverage.cells) + 8
    title = "Moments by surroundings, against the plan"
    return f'<svg viewBox="0 0 760 {height}" role="img" aria-label="{title}">{bars}</svg>'


def _bar(index: int, cell: Cell, px: float) -> str:
    y = index * _LINE + 4
    sure, guess = cell.confirmed * px, cell.guessed * px
    want = _LEFT + cell.want * px
    line = f'<line class="want" x1="{want:.1f}" x2="{want:.1f}" y1="{y - 2}" y2="{y + 18}"/>' if cell.want else ""
    counts = f"{cell.confirmed} + {cell.guessed}" + (f" of {cell.want}" if cell.want else "")
    return (
        f'<text x="{_LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(cell.name)}</text>'
        f'<rect class="sure" x="{_LEFT}" y="{y}" width="{sure:.1f}" height="16"/>'
        f'<rect class="guess" x="{_LEFT + sure:.1f}" y="{y}" width="{guess:.1f}" height="16"/>{line}'
        f'<text class="dim" x="{_RIGHT + 12}" y="{y + 13}">{counts}</text>'
    )


def _grid(coverage: Coverage) -> str:
    lights = list(next(iter(coverage.grid.values()), {}))
    head = "".join(f"<th>{escape(light)}</th>" for light in lights)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{counts[light]}</td>' for light in lights)}</tr>"
        for name, counts in coverage.grid.items()
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"
