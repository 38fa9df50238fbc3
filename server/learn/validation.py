"""How a training does on rows that do not teach: loss and slots after every epoch, an early stop, the best weights.

The decision is made from what the trainer writes into its saves (log_history), so a training that was cut goes on to
the same end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import TrainerCallback

from server.dataset.sample_row import SampleRow
from server.evaluation import slots
from server.evaluation.measures import f1
from server.learn.features import TrainingSet, Work
from server.learn.recipe import Recipe
from server.model.guide import Guide
from shared import atomic

LOSS, SLOT_F1 = "eval_loss", "eval_slot_f1"
ROWS_LEAST = 50
"""With fewer rows all of them teach: five rows say nothing of a model."""
HELD_MOST = 128
"""Written out word by word after each epoch, on the CPU: more would take longer than the epoch."""
BEST = "best.safetensors"
Progress = Callable[[str], None]


def split(rows: Sequence[SampleRow], share: float) -> tuple[list[SampleRow], list[SampleRow]]:
    """(rows that teach, rows that are held back), whole walks where these are enough to choose from, else single rows.

    A walk or row stays on its side, however many come.
    """
    if len(rows) < ROWS_LEAST or share <= 0:
        return list(rows), []
    for by in (_walk, _moment):
        held = [row for row in rows if _lot(by(row)) < share]
        if 0.5 * share <= len(held) / len(rows) <= 2 * share:
            break
    kept = {row.row_id for row in held}
    return [row for row in rows if row.row_id not in kept], sorted(held, key=lambda row: _lot(row.row_id))[:HELD_MOST]


def _walk(row: SampleRow) -> str:
    return f"walk {row.device} {row.walk_id}"


def _moment(row: SampleRow) -> str:
    return f"moment {row.sample_id}"


def _lot(name: str) -> float:
    """0 to 1, the same for the same name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def slot_f1(said: Sequence[str], truth: Sequence[str]) -> float:
    """Micro F1 over the filled slots (server.evaluation.slots); 1 where neither side has any."""
    counts = [count for one, other in zip(said, truth, strict=True) for count in slots.compare(one, [other]).values()]
    found = f1(*(sum(column) for column in zip(*counts, strict=True))) if counts else None
    return 1.0 if found is None else found


def validated(history: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, float], ...]:
    """Of what a trainer logged, the validations."""
    return tuple({name: float(value) for name, value in logs.items()} for logs in history if LOSS in logs)


def best_of(found: Sequence[Mapping[str, float]]) -> int:
    """The first one with the lowest loss: its place."""
    return min(range(len(found)), key=lambda at: found[at][LOSS])


class Validation(TrainerCallback):
    """After every epoch, and at the end."""

    def __init__(
        self, guide: Guide, rows: TrainingSet, held: Sequence[int], recipe: Recipe, work: Work, *, epoch_steps: int
    ) -> None:
        """rows: collates what is held, too; held: its places"""
        self._base, self._guide, self._rows, self._held = rows.base, guide, rows, list(held)
        self._recipe, self._epoch, self._file, self._progress = recipe, epoch_steps, work.folder / BEST, work.progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every(state.max_steps) and state.global_step != state.max_steps:
            return
        loss, slots_right = self.measure()
        state.log_history.append({LOSS: loss, SLOT_F1: slots_right, "step": state.global_step})
        found = validated(state.log_history)
        self._progress(f"validation at step {state.global_step}: loss {loss:.3f}, slot F1 {slots_right:.3f}")
        best = best_of(found)
        if best == len(found) - 1:
            atomic.write_bytes(self._file, save(self._weights(), {"step": str(state.global_step)}))
        elif len(found) - 1 - best >= self._recipe.patience:
            self._progress(f"no better for {self._recipe.patience} epochs: the training stops early")
            control.should_training_stop = True

    @torch.no_grad()
    def measure(self) -> tuple[float, float]:
        """(mean language loss, slot F1) of what is held back."""
        self._guide.eval()
        device = next(self._guide.head.parameters()).device
        total, said = 0.0, list[str]()
        for start in range(0, len(self._held), self._recipe.batch):
            places = self._held[start : start + self._recipe.batch]
            rows: Any = self._rows.tensors(places)
            batch: Any = {name: tensor.to(device) for name, tensor in rows.items()}
            total += float(self._guide(batch)["language_loss"]) * len(places)
            said += self._written(batch)
        self._guide.train()
        return total / len(self._held), slot_f1(said, [self._rows.text(place) for place in self._held])

    def restore_best(self, found: Sequence[Mapping[str, float]]) -> None:
        """Give the guide the weights of its best epoch, where that was not the last. Raises: OSError."""
        if not found or best_of(found) == len(found) - 1 or not self._file.is_file():
            return
        best = load_file(self._file)
        with torch.no_grad():
            for name, weight in self._weights().items():
                weight.copy_(best[name])
        self._progress(f"the weights of step {found[best_of(found)]['step']:.0f} are kept: they did best")

    def _every(self, steps: int) -> int:
        """Steps between validations: an epoch, between a fiftieth and a quarter of the training."""
        return max(1, -(-steps // 50), min(self._epoch, -(-steps // 4)))

    def _written(self, batch: Mapping[str, Tensor]) -> list[str]:
        guide, sound = self._guide, self._guide.sound(batch.get("heard"), batch.get("hears"))
        features = guide.tower(batch["features"])
        previous = guide.tower(batch["previous"]) if "previous" in batch else None
        ids = guide.write(features, end_id=self._base.end_id, previous=previous, sound=sound)
        return [str(self._base.tokenizer.decode(row, skip_special_tokens=True)).strip() for row in ids]

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight for name, weight in self._guide.named_parameters() if weight.requires_grad}
