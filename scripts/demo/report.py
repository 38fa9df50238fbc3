"""report.json, report.html (self-contained) and the one-screen summary."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table

from scripts.demo.measure import Taught
from server.evaluation.answers import Answer
from shared import atomic
from shared.jpeg import encode_jpeg

BAR_TAUGHT, BAR_KNOWN = 0.5, -0.02
PICTURES = 12
_OF_THE_NIGHT = ("samples", "seconds", "loss_first", "loss_last", "parity_float", "parity")


def assemble(
    *,
    walks: Sequence[Mapping[str, Any]],
    sync: Mapping[str, Any],
    night: Mapping[str, Any],
    taught: Taught,
    seconds: float,
) -> dict[str, Any]:
    """The report as plain JSON."""
    second = walks[1]
    figures = {key: value for key, value in asdict(taught).items() if key not in ("before", "after")}
    whole: dict[str, Any] = {
        "walks": [dict(walk) for walk in walks],
        "sync": dict(sync),
        "retrain": {name: night[name] for name in _OF_THE_NIGHT},
        "gate": {
            "champion": night["champion"],
            "candidate": night["version"],
            "decision": night["outcome"],
            "reasons": list(night["reasons"]),
            "champion_evaluation": night["champion_evaluation"],
            "candidate_evaluation": night["evaluation"],
        },
        "update": update_of(second, night["version"]),
        "taught": figures,
        "seconds": round(seconds, 1),
    }
    whole["promises"] = promises(whole)
    return whole


def update_of(walk: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The update before the second walk, as the device reported it."""
    update = walk["updates"][-1]
    return {
        "bytes": update["fetched_bytes"],
        "copied_bytes": update["copied_bytes"],
        "seconds": update["seconds"],
        "from_version": update["from_version"],
        "to_version": update["to_version"],
        "activated": walk["model_version"] == update["to_version"] == version,
    }


def promises(whole: Mapping[str, Any]) -> dict[str, bool]:
    """What the demo promises; it ends with status 0 only where all hold."""
    taught, sync = whole["taught"], whole["sync"]
    return {
        "every flagged chunk was merged": sync["merged"] == sync["flagged"] > 0,
        "every correction was merged": sync["corrections_merged"] == sync["corrections"] > 0,
        "the device runs the new model": bool(whole["update"]["activated"]),
        f"the new object is learnt (at least {BAR_TAUGHT:+.2f})": taught["right_after"] - taught["right_before"]
        >= BAR_TAUGHT,
        "the known objects are not forgotten": taught["known_objects_after"] - taught["known_objects_before"]
        >= BAR_KNOWN,
        "held out: at least 40 frames": taught["held_out_frames"] >= 40,
    }


def write(whole: Mapping[str, Any], taught: Taught, out: Path) -> None:
    """build/demo/report.json and report.html. Raises: OSError."""
    atomic.write_json(out / "report.json", whole)
    page = _TEMPLATE.render(report=whole, pictures=_pictures(taught.before, taught.after))
    atomic.write_bytes(out / "report.html", page.encode())


def summarise(whole: Mapping[str, Any], out: Path, console: Console) -> int:
    """One screen. Returns 0 where every promise was kept, else 1."""
    table = Table(title="waycue: one walk, one night, a better second walk", show_header=False, title_justify="left")
    for name, value in rows(whole):
        table.add_row(name, value)
    console.print(table)
    for text, kept in whole["promises"].items():
        console.print(f"[green]✔[/] {text}" if kept else f"[red]✘ {text}[/]")
    console.print(f"{out / 'report.html'} has the pictures; {out / 'report.json'} the figures.", highlight=False)
    return 0 if all(whole["promises"].values()) else 1


def rows(whole: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures worth one line each."""
    sync, retrain, gate, update, taught = (whole[key] for key in ("sync", "retrain", "gate", "update", "taught"))
    lines = [
        (
            f"walk {walk['name']}",
            f"{walk['chunks']} chunks, {len(walk['guidance'])} spoken, {walk['frames_dropped']} frames dropped, "
            f"frame → speech {speech_times(walk)}",
        )
        for walk in whole["walks"]
    ]
    return [
        *lines,
        (
            "sync",
            f"{sync['merged']} of {sync['flagged']} chunks and {sync['corrections_merged']} of {sync['corrections']} "
            f"corrections merged, {sync['bytes'] / 1e6:.1f} MB, {sync['resent_bytes']} sent twice",
        ),
        (
            "retrain",
            f"{retrain['samples']} rows, {retrain['seconds']:.0f} s, "
            f"loss {retrain['loss_first']:.2f} → {retrain['loss_last']:.2f}",
        ),
        ("gate", f"{gate['candidate']} {gate['decision']}: {'; '.join(gate['reasons'])}"),
        (
            "update",
            f"{update['from_version']} → {update['to_version']}, "
            f"{update['bytes'] / 1e6:.1f} MB in {update['seconds']:.1f} s",
        ),
        (
            f"taught: {taught['object']}",
            f"{taught['right_before']:.0%} → {taught['right_after']:.0%} of {taught['held_out_frames']} new frames; "
            f"known objects {taught['known_objects_before']:.1%} → {taught['known_objects_after']:.1%}",
        ),
        ("time", f"{whole['seconds']:.0f} s"),
    ]


def speech_times(walk: Mapping[str, Any]) -> str:
    """p50 and p95 of shutter → first sample of speech; "-" where nothing was spoken."""
    times = walk["time_to_speech_ms"]
    return "-" if times["p50"] is None else f"p50 {times['p50']:.0f} ms, p95 {times['p95']:.0f} ms"


def _pictures(before: Sequence[Answer], after: Sequence[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "src": "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(old.case.image)).decode(),
            "truth": old.case.text,
            "before": old.text,
            "after": new.text,
            "before_right": old.right,
            "after_right": new.right,
        }
        for old, new in list(zip(before, after, strict=True))[:PICTURES]
    ]


_ENVIRONMENT = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.globals["rows"] = rows
_TEMPLATE = _ENVIRONMENT.from_string((Path(__file__).parent / "report.html.jinja").read_text())
