"""A short training on some confirmed moments, and what comes of it on others: of doubts, and of learning curves.

As a night trains, from the base with replay, but nothing is exported, judged or registered. What a trial came to is
kept until its caller ends (<home>/cache/moments/trials/<key>/heard.json): what was cut goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from server.dataset import alike, derived, feature_cache
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import meaning
from server.gate.judge import senses_of
from server.learn import bases, examples, lora, presets, replayed, tonight
from server.learn.batches import Layout, pad_answers
from server.learn.features import TrainingSet, Work, cache_of, prepare
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.model.checkpoint import Checkpoint
from server.model.guide import IGNORE, Guide
from shared import atomic, vocabulary
from shared.clock import Clock

FILE = "heard.json"
BATCH = 32
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a trained model makes of a moment that it did not learn from."""

    sample_id: str
    said: str
    """Canonical, "" = silence."""
    sure: float
    """0..1: how probable its own words are to it, beside those that were confirmed; 0.5 where they are the same."""
    feature: NDArray[np.float32]
    """[d] of length 1: what the picture looks like to the tower."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One training, and whom it is asked about."""

    home: Path
    settings: LearnSettings
    steps: int
    teaching: Sequence[SampleRow]
    judged: Sequence[SampleRow]
    clock: Clock

    def recipe(self, base: Checkpoint, fits: int | None) -> Recipe:
        replay = bool(base.known)
        values = presets.recipe_values(self.settings, rows=len(self.teaching), replay=replay, fits=fits)
        return Recipe(**{**values, "steps": self.steps, "masks": ""})


def run(trial: Trial, *, progress: Progress) -> list[Heard]:
    """Of each judged moment. Raises: ConfigError, DatasetError, BundleError, OSError."""
    if not trial.judged:
        return []
    base = bases.load_base(trial.settings, trial.home, progress)
    most = round(trial.settings.features_gb * 1e9)
    cache = cache_of(base, trial.home / feature_cache.FOLDER, most_bytes=most, progress=progress)
    recipe, layout = trial.recipe(base, cache.capacity), Layout.of(base)
    folder = Dataset(trial.home / "dataset").blobs.gathered(())
    work = place(trial.home) / key_of(trial, base, recipe)
    known = _read(work / FILE)
    if known is not None:
        return known
    most_views = recipe.draws(replay=bool(base.known))
    plan = examples.ViewPlan(recipe.variations, recipe.seed, senses=senses_of(base), most=most_views)
    clusters = alike.clusters_of(trial.home, folder, trial.teaching, within=recipe.alike_bits)
    fresh = examples.examples(folder, trial.teaching, layout, replace(plan, clusters=clusters))
    frames = bases.replay(base, layout, recipe, progress, cache=replayed.folder(trial.home))
    around = lora.Surroundings(cache, None, trial.settings.hours_most * 3600, trial.clock)
    lora.train(base, fresh, frames, recipe, work, around=around, progress=progress)
    shown = examples.examples(folder, trial.judged, layout, replace(plan, variations=1, most=None))
    guide = Guide(base).eval()
    prepared = prepare(guide, base, shown, range(len(shown)), cache, Work(work, progress))
    heard = _asked(base, guide, TrainingSet(base, prepared, np.arange(len(shown))), trial.judged)
    atomic.write_json(work / FILE, [_plain(one) for one in heard])
    return heard


def key_of(trial: Trial, base: Checkpoint, recipe: Recipe) -> str:
    """Names all that a trial is made from: what teaches and what is asked about are told apart, for the folds of a
    cross-validation share all their rows."""
    asked = "\n".join(row.row_id for row in trial.judged)
    text = f"{tonight.key_of(base, trial.teaching, recipe, 0)} {asked}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def place(home: Path) -> Path:
    """Where trials under way are kept: deleted where a moment is erased, as all that was computed from moments."""
    return derived.folder(home) / "trials"


def forget(home: Path) -> None:
    """Delete what trials left. Raises: OSError."""
    atomic.remove_tree(place(home))


@torch.no_grad()
def _asked(base: Checkpoint, guide: Guide, rows: TrainingSet, judged: Sequence[SampleRow]) -> list[Heard]:
    found = []
    for start in range(0, len(judged), BATCH):
        some = judged[start : start + BATCH]
        batch: Any = rows.tensors(range(start, start + len(some)))
        moments = _Moments(base, guide, batch)
        texts = moments.written()
        more = moments.chance(texts) - moments.chance([row.ground_truth or vocabulary.CLEAR for row in some])
        sure, looks = torch.sigmoid(more), _pooled(batch["features"])
        for at, row in enumerate(some):
            found.append(Heard(row.sample_id, meaning(texts[at]), round(float(sure[at]), 4), looks[at]))
    return found


class _Moments:
    """A batch of moments before a model."""

    def __init__(self, base: Checkpoint, guide: Guide, batch: Any) -> None:
        self._base, self._guide = base, guide
        self._features = guide.tower(batch["features"])
        self._beside: dict[str, Any] = {
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


def _pooled(features: Tensor) -> NDArray[np.float32]:
    """[b, columns × d], each of length 1: the mean of each column of patches, so that left stays left.

    features: [b, patches, d] of a square picture
    """
    side = round(features.shape[1] ** 0.5)
    columns = features.reshape(len(features), side, -1, features.shape[2]).mean(1).flatten(1)
    centred = columns - columns.mean(1, keepdim=True)
    return np.asarray(functional.normalize(centred, dim=1).numpy(), np.float32)


def _plain(heard: Heard) -> dict[str, Any]:
    plain = {name: getattr(heard, name) for name in ("sample_id", "said", "sure")}
    return plain | {"feature": heard.feature.round(4).tolist()}


def _read(file: Path) -> list[Heard] | None:
    try:
        values = json.loads(file.read_bytes())
        return [Heard(**{**value, "feature": np.asarray(value["feature"], np.float32)}) for value in values]
    except (OSError, ValueError, TypeError, KeyError):
        return None
