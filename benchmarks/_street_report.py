"""The street benchmark as one page: the table, and every picture with what each row says of it, the worst first."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from server.evaluation import slots
from server.evaluation.drive import jpeg
from server.evaluation.facts import Truth
from shared import atomic

SHOWN = ("zero", "taught", "starter", "starter_night", "on_eyes", "on_eyes_night")
COLUMNS = ("silence_right", "false_stops", "stop_recall", "false_clear")
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Guidance on real streets</title>
<style>
 body { font: 16px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem }
 .wide { overflow-x: auto } table { border-collapse: collapse } td, th { padding: .3rem .6rem; text-align: left }
 tr { border-bottom: 1px solid #999 }
 ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; padding: 0 }
 li { list-style: none } img { width: 100%; height: auto }
 .wrong { background: #b00020; color: #fff; padding: 0 .3em }
</style>
<h1>Guidance on real streets: drive {{ found.held_out }}, never seen</h1>
<p>{{ found.pictures }} pictures. Camera {{ "%.1f m up, %.0f° down, %.0f° wide"|format(found.camera.height_m,
found.camera.pitch_deg, found.camera.fov_deg) }}. One look: {{ found.look.cpu_ms }} ms of one core,
{{ "%.2f"|format(found.look.share_of_256m_vision) }} of the vision encoder of a 256M model.</p>
<div class="wide"><table><tr><th scope="col">row<th scope="col">slot F1, 95 % interval<th scope="col">of perfect
<th scope="col">silence right
<th scope="col">false stops<th scope="col">stops seen<th scope="col">names nothing though something is there</tr>
{% for name, row in found.unseen.items() %}
<tr><th scope="row">{{ name }}<td>{{ "%.3f (%.3f to %.3f)"|format(*row.slot_f1) }}
<td>{{ "%.2f"|format(row.of_perfect) }}
{% for column in columns %}<td>{{ percent(row[column]) }}{% endfor %}</tr>{% endfor %}</table></div>
<h2>Every picture, the costliest answers first</h2>
<ol>{% for shot in shots %}<li><img alt="street" src="data:image/jpeg;base64,{{ shot.picture }}">
<div>right: <b>{{ shot.right }}</b></div>
{% for name, text, wrong in shot.said %}
<div>{{ name }}: <span{% if wrong %} class="wrong"{% endif %}>{{ text }}</span></div>{% endfor %}</li>{% endfor %}</ol>
</html>
"""


def write(
    file: Path,
    found: Mapping[str, Any],
    unseen: Sequence[tuple[NDArray[np.uint8], Truth]],
    answers: Mapping[str, Sequence[tuple[str, Truth]]],
) -> None:
    """Write the page whole. Raises: OSError."""
    rows = [name for name in SHOWN if name in answers]
    shots = []
    for at, (image, truth) in enumerate(unseen):
        texts = [(name, answers[name][at][0]) for name in rows]
        shots.append(
            {
                "cost": slots.cost(answers["zero"][at][0], truth.references),
                "picture": base64.b64encode(jpeg(image)).decode(),
                "right": truth.references[0],
                "said": [(name, text, not slots.right(text, truth.references)) for name, text in texts],
            }
        )
    shots.sort(key=lambda shot: -int(str(shot["cost"])))
    page = jinja2.Environment(autoescape=True).from_string(_PAGE)
    html = page.render(found=found, columns=COLUMNS, shots=shots, percent=_percent)
    atomic.write_bytes(file, html.encode())


def _percent(value: Any) -> str:
    if value is None:
        return "–"
    return "{:.1%} ({:.0%} to {:.0%})".format(*value) if isinstance(value, list) else f"{value:.1%}"
