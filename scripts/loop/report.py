"""report.json, report.html with its plot, and the summary on the terminal. Pure but for `write` and `summarise`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table

from scripts.loop import measure
from scripts.loop.plan import WEARERS, Bad
from scripts.loop.progress import Progress
from shared import atomic

QUEUE_GAIN = 2.0
"""Mistakes among the first of the queue ÷ among as many at random, at least."""
MINUTES = 15
REFUSED = "refused"
FEW_MOMENTS = "null: too few confirmed or held-out moments of that wearer"
_ABOUT: dict[str, str] = {
    "": "",
    "shuffled": ", its things by other names",
    "swapped": ", its labels left for right",
    "silenced": ", its labels silence for every thing",
}
WIDTH, HEIGHT, LEFT, TOP = 640, 220, 44, 14


def about(bad: Bad) -> str:
    """What is wrong with a night, for a person; "" = nothing."""
    return _ABOUT[bad]


def assemble(done: Progress, nights: int) -> dict[str, Any]:
    """The report as plain JSON."""
    rows = done.nights
    bad = [night for night in rows if night["planted_bad"]]
    whole: dict[str, Any] = {
        "nights": rows,
        "of_nights": nights,
        "planted": len(bad),
        "planted_refused": sum(night["decision"] == REFUSED for night in bad),
        "queue_gain": done.queue.get("gain"),
        "queue": done.queue,
        "mistakes": len(done.wrong),
        "labelled": len(done.labels),
        "audit": done.audit,
        "adapters": {wearer.name: done.adapters.get(wearer.name) for wearer in WEARERS},
        "adapters_reason": FEW_MOMENTS if len(done.adapters) < len(WEARERS) else "",
        "seconds": done.seconds,
    }
    return {**whole, "missed": missed(whole)}


def missed(whole: Mapping[str, Any]) -> list[str]:
    """The bars that are not met, in words; a loop that is not at its end yet has missed none of those at its end."""
    said = list(_missed_nights(whole))
    if len(whole["nights"]) < whole["of_nights"]:
        return said
    if whole["queue_gain"] is None or whole["queue_gain"] < QUEUE_GAIN:
        said.append(f"queue: {whole['queue_gain']} times as many mistakes as at random, {QUEUE_GAIN:g} is the least")
    if not whole["audit"].get("holds"):
        said.append("audit: what it says of the accuracy does not agree with the truth")
    return said


def _missed_nights(whole: Mapping[str, Any]) -> Iterator[str]:
    for night in whole["nights"]:
        name, recall, least = f"night {night['night']}", night["recall_tier1"], night["champion_bound"]
        if recall is None or recall < least:
            yield f"{name}: golden recall {recall}, {least} is the least"
        if night["planted_bad"] and night["decision"] != REFUSED:
            yield f"{name}: its labels were bad on purpose, and its model is {night['decision']}, not {REFUSED}"


def write(whole: Mapping[str, Any], out: Path) -> None:
    """Raises: OSError."""
    atomic.write_json(out / "report.json", whole)
    atomic.write_bytes(out / "report.html", page(whole).encode())


def page(whole: Mapping[str, Any]) -> str:
    """One HTML page that needs nothing else."""
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=folder, autoescape=True).get_template("report.html.jinja")
    return template.render(whole=whole, about=_ABOUT, plot=plot(whole["nights"], whole["of_nights"]))


def plot(nights: Sequence[Mapping[str, Any]], of: int) -> dict[str, Any]:
    """Where the lines and points of the recall plot are, in px."""
    values = [night[name] for night in nights for name in ("recall_tier1", "champion_bound", "candidate_recall_tier1")]
    low = min([0.9, *(value for value in values if value is not None)])
    low = int(low * 10) / 10

    def x(number: int) -> float:
        return round(LEFT + (WIDTH - LEFT - 20) * (number - 0.5) / max(1, of), 1)

    def y(share: float) -> float:
        return round(TOP + HEIGHT * (1 - (share - low) / (1 - low)), 1)

    def line(name: str) -> str:
        return " ".join(f"{x(n['night'])},{y(n[name])}" for n in nights if n[name] is not None)

    ticks = [low + (1 - low) * part for part in (0, 0.25, 0.5, 0.75, 1)]
    return {
        "width": WIDTH,
        "height": HEIGHT + TOP + 40,
        "left": LEFT,
        "bottom": HEIGHT + TOP,
        "in_use": line("recall_tier1"),
        "bound": line("champion_bound"),
        "points": [
            {"x": x(n["night"]), "y": y(n["candidate_recall_tier1"]), "bad": n["planted_bad"], "night": n}
            for n in nights
            if n["candidate_recall_tier1"] is not None
        ],
        "ticks": [{"y": y(share), "text": f"{share:.2f}"} for share in ticks],
        "numbers": [{"x": x(number), "text": number} for number in range(1, of + 1)],
    }


def summarise(whole: Mapping[str, Any], out: Path, console: Console) -> int:
    """Print it; 1 where a bar is missed."""
    table = Table("night", "labels", "decision", "recall", "at least", "of its model")
    for night in whole["nights"]:
        model = night["candidate_recall_tier1"]
        table.add_row(
            str(night["night"]),
            night["planted"] or "careful",
            night["decision"],
            f"{night['recall_tier1']:.3f}",
            f"{night['champion_bound']:.3f}",
            "" if model is None else f"{model:.3f}",
        )
    console.print(table)
    console.print(f"Bad nights refused: {whole['planted_refused']} of {whole['planted']}.")
    queue, audit = whole["queue"], whole["audit"]
    if queue:
        console.print(
            f"Queue: {queue['found']} mistakes among the first {queue['first']}, {queue['random']} at random: "
            f"{queue['gain']} times as many ({queue['mistakes']} in {queue['of']} labels)."
        )
    if audit:
        low, high = audit["interval"]
        console.print(
            f"Audit: {audit['right']} of {audit['judged']} right ({low:.2f} to {high:.2f} at {measure.SURE:.0%}); "
            f"of all {audit['chunks']} chunks {audit['truth']:.3f}."
        )
    console.print(f"{whole['seconds'] / 60:.1f} minutes. {out / 'report.html'}, {out / 'report.json'}", highlight=False)
    for text in whole["missed"]:
        console.print(f"missed: {text}", style="red", highlight=False)
    return 1 if whole["missed"] else 0
