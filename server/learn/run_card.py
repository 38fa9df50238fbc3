"""The model card of a night: README.md beside the adapter, with what taught it, how well it does and how to load it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.dataset.sample_row import SampleRow
from server.evaluation import answers as evaluate
from server.learn import lineage
from server.learn.lora import Trained
from shared import atomic

UNKNOWN_LICENCE = "as its publisher states it"


@dataclass(frozen=True, slots=True)
class RunCard:
    """What a card says. No moment, device or wearer is named: an adapter may be given away."""

    version: str
    base: str
    base_licence: str | None
    """None = not known here."""
    dataset: tuple[int, str]
    """As Dataset.version gives it."""
    taught: Sequence[SampleRow]
    trained: Trained
    verdict: str
    reasons: Sequence[str]
    figures: Mapping[str, Any]
    """The gate's evaluation."""
    masks: Sequence[str] = ()
    """Licences of masks that taught the ground."""


def write(folder: Path, card: RunCard) -> None:
    """Replace what peft wrote there. Raises: OSError."""
    atomic.write_bytes(folder / "README.md", text(card).encode())


def text(card: RunCard) -> str:
    """The card in Markdown."""
    return _CARD.format(
        version=card.version,
        base=card.base,
        licence=card.base_licence or UNKNOWN_LICENCE,
        masks="".join(f" Masks that taught the ground: {licence}." for licence in card.masks),
        length=card.dataset[0],
        digest=card.dataset[1] or "empty",
        rows=len(card.taught),
        walks=lineage.manifest_entry(card.taught)["walks"],
        root=lineage.root(lineage.identities(card.taught)),
        coverage=_coverage(card.taught),
        steps=card.trained.steps,
        drawn=card.trained.drawn,
        first=card.trained.loss_first,
        last=card.trained.loss_last,
        validation=_validation(card.trained),
        verdict=card.verdict,
        reasons="\n".join(f"- {reason}" for reason in card.reasons),
        figures="\n".join(f"| {name} | {value} |" for name, value in sorted(_numbers(card.figures).items())),
        code=lineage.code(),
    )


def _coverage(rows: Sequence[SampleRow]) -> str:
    named = Counter(evaluate.named(row.ground_truth) or "(nothing, or no thing)" for row in rows)
    return "\n".join(f"| {name} | {count} |" for name, count in named.most_common())


def _validation(trained: Trained) -> str:
    if not trained.validation:
        return "No rows were held back: there were too few."
    heads = "| step | loss | slot F1 |\n| --- | --- | --- |\n"
    return heads + "\n".join(
        f"| {found['step']:.0f} | {found['eval_loss']:.3f} | {found['eval_slot_f1']:.3f} |"
        for found in trained.validation
    )


def _numbers(figures: Mapping[str, Any]) -> dict[str, str]:
    """Without times: they are this machine's, and a night that was cut writes the same card as one that was not."""
    return {
        name: f"{value:.3f}" if isinstance(value, float) else str(value)
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and "_ms" not in name
    }


_CARD = """\
---
base_model: {base}
library_name: peft
pipeline_tag: image-text-to-text
tags: [waycue, lora]
---
# {version}

A night's LoRA adapter of `{base}` for walking guidance. The gate said: **{verdict}**.

{reasons}

Licence of the base: {licence}. The adapter holds nothing but what confirmed moments of its owner's dataset taught.
{masks}

## Load it

```python
from peft import PeftModel
from transformers import AutoModelForImageTextToText

base = AutoModelForImageTextToText.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "PATH/TO/THIS/FOLDER").merge_and_unload()
```

`hazard_head.safetensors` is the hazard head beside it, which waycue alone reads; `recipe.json` has every number of the
training.

## Taught by

{rows} confirmed moments of {walks} walks, root {root}. Dataset version: {length} bytes, SHA-256 {digest}.
Made with {code}.

| thing named | moments |
| --- | --- |
{coverage}

## Training

{steps} steps drew {drawn} different views; loss {first:.3f} at first, {last:.3f} at last.

{validation}

## Measured

By the gate, on walks that never teach, as the quantised bundle through the device's own runtime.

| figure | value |
| --- | --- |
{figures}

## Limits

A model that warns may be wrong and may say nothing where something is. It replaces no cane and no dog.
"""
