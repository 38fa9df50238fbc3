"""The starter's model card: README.md beside its weights, with what was measured and how."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporters.onnx.bundle import Label
from server import walks
from server.evaluation import answers as evaluate
from server.eyes import packaged
from server.eyes.ssd_tokens import SsdTokens
from server.gate import golden
from server.gate.judge import on_walks, recalibrate
from server.learn.bundles import BundlePlan, make_bundles
from server.model import checkpoint as checkpoints
from shared import atomic

FRAMES = 1000
SEED = 5
CLEAR = "(clear)"


def write(folder: Path, *, training: str, progress: Callable[[str], None], eyes: packaged.Eyes | None = None) -> None:
    """Measure the checkpoint in `folder` on held-out rendered frames, as the quantised bundle, and write its card.

    training: a sentence about how it was trained; eyes: for one that stands on them. raises: OSError
    """
    starter = checkpoints.load(folder, eyes=None if eyes is None else SsdTokens(eyes))
    with tempfile.TemporaryDirectory() as temp:
        label = Label(starter.name, starter.name, "", starter.intended_use, dict(starter.thresholds), 0.0)
        plan = BundlePlan(label, golden.drawn(starter), golden.parity_moments(starter, Path(temp), []))
        made = make_bundles(starter, plan, Path(temp), progress=progress)
        recalibrate(made.folder, [], on_walks(starter, made.folder))
        answers = evaluate.run(made.folder, evaluate.rendered_cases(FRAMES, seed=SEED), progress=progress)
    parameters = sum(p.numel() for p in starter.model.parameters()) + sum(p.numel() for p in starter.head.parameters())
    figures = evaluate.summary(answers)
    text = _CARD.format(
        name=starter.name,
        millions=parameters / 1e6,
        size_mb=sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".md") / 1e6,
        bundle_mb=made.size_bytes / 1e6,
        training=training,
        without=_WITHOUT if eyes is None else _WITH_EYES.format(eyes=eyes.record),
        patch_px=starter.model.config.vision_config.patch_size,
        known=", ".join(walks.KNOWN),
        held_back=" and ".join(walks.HELD_BACK),
        frames=FRAMES,
        parity_float=made.parity_float,
        parity=made.parity,
        figures=_figures(figures),
        confusion=_table(evaluate.confusion(answers)),
    )
    atomic.write_bytes(folder / "README.md", text.encode())


def _figures(figures: Mapping[str, Any]) -> str:
    lines = [
        ("object named right, on frames with something to name", f"{figures['object_right']:.3f}"),
        ("whole instruction right (action, object, side)", f"{figures['instruction_right']:.3f}"),
        ("silence right, on frames with nothing within reach", f"{figures['silence_right']:.3f}"),
        ('"path is clear" although something is within reach', f"{figures['false_clear']:.3f}"),
        ("sentences clean under the grammar, before any filter", f"{figures['grammar']:.3f}"),
    ]
    for tier, recall in figures["recall_by_tier"].items():
        low, high = recall["wilson"]
        lines.append((f"tier {tier}: object named right", f"{recall['recall']:.3f} ({low:.3f} to {high:.3f})"))
    return "\n".join(f"| {name} | {value} |" for name, value in lines)


def _table(confusion: Mapping[str, Counter[str]]) -> str:
    names: Sequence[str] = [name for name in (*walks.KNOWN, CLEAR) if name in confusion]
    others = sorted({said for row in confusion.values() for said in row} - set(names))
    columns = [*names, *others]
    head = "| there ↓ said → | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1)
    rows = [
        f"| **{name}** | " + " | ".join(str(confusion[name][said] or "·") for said in columns) + " |" for name in names
    ]
    return "\n".join([head, *rows])


_WITHOUT = "without downloading anything"
_WITH_EYES = """on real pictures as well. It stands on the {eyes.name} of {eyes.package} {eyes.version}
({eyes.licence} by its package.json), frozen, which is fetched and no part of this folder: 4.5 M of the parameters"""
_CARD = """\
---
license: apache-2.0
pipeline_tag: image-text-to-text
tags: [waycue, smolvlm, demonstration]
---
# {name}

A walking-guidance model of {millions:.1f} M parameters (SmolVLM classes, {size_mb:.1f} MB here in half precision,
{bundle_mb:.1f} MB as a quantised ONNX bundle). It exists so that the whole of waycue runs, is tested and can be shown
{without}.

**Intended use: demonstration and tests. It was trained on drawn pictures only and must not guide a real walk.** A
device refuses it outside replay unless told otherwise.

## Training

{training}
Pictures, masks and sentences come from `server/walks`, code only. The language loss alone leaves the tower on the
language prior, so each {patch_px}×{patch_px} patch is also supervised with the renderer's exact mask, and a hazard head
scores every (object, side). No recording of a person or place was used.

Knows: {known}. Left out on purpose: {held_back}; `make demo` teaches one of them.

## Measured

On {frames} held-out rendered frames (seeds that training never draws from), as the quantised bundle through the
device's own runtime. Intervals are 95 % (Wilson).

| what | share |
| --- | --- |
{figures}

Tokens equal to PyTorch's greedy answers on 50 held-out frames: {parity_float:.1%} before quantisation, {parity:.1%}
after (vision int8, decoder 8-bit).

## Confusion table

Objects named, by the object that should have been named.

{confusion}

## Limits

Real pictures look different: expect wrong words there. Distances, speeds and signals are not estimated. Rendered light
covers day, dusk, night, rain and mist, none of it as hard as the real thing.
"""
