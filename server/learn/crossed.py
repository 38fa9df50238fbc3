"""What a model says of each confirmed moment that did not learn from its walk: cross-validation by walk.

    walks → folds, by hash → for each: base → trained as in a night on the other folds → its words for this one

Each fold's answers are kept until all are there (<home>/doubt/<key>/witnesses.json): what was cut goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from server.dataset import feature_cache
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import meaning
from server.gate.judge import senses_of
from server.learn import examples, lora, nightly, presets, replayed, tonight
from server.learn.batches import Layout, pad_answers
from server.learn.features import TrainingSet, cache_of, prepare
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.model.checkpoint import Checkpoint
from server.model.guide import IGNORE, Guide
from server.review.doubts import Witness, may_doubt
from shared import atomic, vocabulary
from shared.clock import Clock

FOLDER, FILE = "doubt", "witnesses.json"
BATCH = 32
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Crossing:
    """How a cross-validation is done."""

    folds: int = 3
    """Trainings: each leaves the moments of so many parts of the walks out."""
    steps: int = 120
    """Optimiser steps of each."""


def folds_of(rows: Iterable[SampleRow], count: int) -> list[list[SampleRow]]:
    """Rows by fold, whole walks in each; folds without rows are left out. Walks are dealt out by hash, the largest
    first to the smallest fold, so that few walks fill all folds. Pure."""
    walks: dict[str, list[SampleRow]] = {}
    for row in rows:
        walks.setdefault(row.walk_id, []).append(row)
    folds: list[list[SampleRow]] = [[] for _ in range(count)]
    for walk in sorted(walks, key=lambda name: (-len(walks[name]), hashlib.sha256(name.encode()).hexdigest())):
        min(folds, key=len).extend(walks[walk])
    return [fold for fold in folds if fold]


def witnesses(
    home: Path, settings: LearnSettings, crossing: Crossing, *, progress: Progress, clock: Clock
) -> list[Witness]:
    """Of every confirmed moment that teaches and was not doubted before.

    raises: Transient where a night is running; ConfigError, DatasetError, BundleError, OSError
    """
    with tonight.single_flight(home), tonight.room(home), tonight.stoppable(progress) as progress:
        view = tonight.view_of(Dataset(home / "dataset"), blurred=settings.blurred)
        base = nightly.load_base(settings, home, progress)
        taken = tonight.take(view, [], base=base, recipe=Recipe(steps=1_000_000))
        for line in taken.put_aside:
            progress(line)
        folds = folds_of(taken.teaching, crossing.folds)
        if len(folds) < 2:
            return []
        found: list[Witness] = []
        for number, fold in enumerate(folds, start=1):
            progress(f"part {number} of {len(folds)}: {len(fold)} moments are left out")
            left_out = {row.row_id for row in fold}
            teaching = [row for row in taken.teaching if row.row_id not in left_out]
            job = _Fold(home, settings, crossing, teaching, [row for row in fold if may_doubt(row)], clock)
            found += _kept(job, view.folder, progress)
        atomic.remove_tree(home / FOLDER)
        return found


@dataclass(frozen=True, slots=True)
class _Fold:
    home: Path
    settings: LearnSettings
    crossing: Crossing
    teaching: Sequence[SampleRow]
    judged: Sequence[SampleRow]
    clock: Clock

    def recipe(self, base: Checkpoint, fits: int | None) -> Recipe:
        replay = bool(base.known)
        values = presets.recipe_values(self.settings, rows=len(self.teaching), replay=replay, fits=fits)
        return Recipe(**{**values, "steps": self.crossing.steps, "masks": ""})


def _kept(job: _Fold, folder: Path, progress: Progress) -> list[Witness]:
    """Of one fold: as an earlier run wrote it down, else computed."""
    base = nightly.load_base(job.settings, job.home, progress)
    most = round(job.settings.features_gb * 1e9)
    cache = cache_of(base, job.home / feature_cache.FOLDER, most_bytes=most, progress=progress)
    recipe = job.recipe(base, cache.capacity)
    key = tonight.key_of(base, job.teaching, recipe, len(job.judged))
    work = job.home / FOLDER / key
    known = _read(work / FILE)
    if known is not None:
        return known
    if not job.judged:
        return []
    layout = Layout.of(base)
    plan = examples.ViewPlan(
        recipe.variations, recipe.seed, senses=senses_of(base), most=recipe.draws(replay=bool(base.known))
    )
    fresh = examples.examples(folder, job.teaching, layout, plan)
    known_frames = nightly.replay(base, layout, recipe, progress, cache=replayed.folder(job.home))
    around = lora.Surroundings(cache, None, job.settings.hours_most * 3600, job.clock)
    lora.train(base, fresh, known_frames, recipe, work, around=around, progress=progress)
    shown = examples.examples(folder, job.judged, layout, replace(plan, variations=1, most=None))
    guide = Guide(base).eval()
    prepared = prepare(guide, base, shown, range(len(shown)), cache, folder=work, progress=progress)
    said = _asked(base, guide, TrainingSet(base, prepared, np.arange(len(shown))), job.judged)
    atomic.write_json(work / FILE, [_plain(witness) for witness in said])
    return said


@torch.no_grad()
def _asked(base: Checkpoint, guide: Guide, rows: TrainingSet, judged: Sequence[SampleRow]) -> list[Witness]:
    found = []
    for start in range(0, len(judged), BATCH):
        some = judged[start : start + BATCH]
        batch: Any = rows.tensors(range(start, start + len(some)))
        moment = _Moments(base, guide, batch)
        texts = moment.written()
        more = moment.chance(texts) - moment.chance([row.ground_truth or vocabulary.CLEAR for row in some])
        sure, looks = torch.sigmoid(more), _pooled(batch["features"])
        for at, row in enumerate(some):
            label, said = meaning(row.ground_truth), meaning(texts[at])
            found.append(Witness(row.sample_id, row.walk_id, label, said, round(float(sure[at]), 4), looks[at]))
    return found


class _Moments:
    """A batch of moments before a model."""

    def __init__(self, base: Checkpoint, guide: Guide, batch: Any) -> None:
        self._base, self._guide = base, guide
        self._features = guide.tower(batch["features"])
        self._beside = {
            "previous": guide.tower(batch["previous"]) if "previous" in batch else None,
            "sound": guide.sound(batch.get("heard"), batch.get("hears")),
        }

    def written(self) -> list[str]:
        """What it says."""
        ids = self._guide.write(self._features, end_id=self._base.end_id, **self._beside)
        return [str(self._base.tokenizer.decode(row, skip_special_tokens=True)).strip() for row in ids]

    def chance(self, texts: Sequence[str]) -> Tensor:
        """[b], the logarithm of how probable a sentence is to it."""
        answers = pad_answers([self._base.answer_ids(text) for text in texts])
        logits = self._guide.answer_logits(self._features, answers, **self._beside)
        loss = functional.cross_entropy(logits.transpose(1, 2), answers, ignore_index=IGNORE, reduction="none")
        return -loss.sum(1)


def _pooled(features: Tensor) -> Any:
    """float32 [b, columns × d] of length 1: the mean of each column of patches, so that left stays left.

    features: [b, patches, d] of a square picture
    """
    side = round(features.shape[1] ** 0.5)
    columns = features.unflatten(1, (side, -1)).mean(1).flatten(1)
    return functional.normalize(columns - columns.mean(1, keepdim=True), dim=1).numpy().astype(np.float32)


def _plain(witness: Witness) -> dict[str, Any]:
    names = ("sample_id", "walk_id", "label", "said", "sure")
    return {name: getattr(witness, name) for name in names} | {"feature": witness.feature.round(4).tolist()}


def _read(file: Path) -> list[Witness] | None:
    try:
        return [
            Witness(**{**value, "feature": np.asarray(value["feature"], np.float32)})
            for value in json.loads(file.read_bytes())
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return None
