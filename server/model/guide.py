"""The model as it is trained: picture (or its frozen features) + sentence → losses.

    pixel_values [b, 3, s, s] → tower → features [b, p, d] ┬→ hazard head → patch loss, hazard loss
                                                           └→ connector → image tokens [b, n, e]
    heard [b, 2d] → projection, tanh gate → [b, 1, e], added to every token of the newest picture
    before [P] + image tokens [n] + after [S] + answer [A] → decoder → language loss on the answer only

The prompt is fixed, so embeddings are concatenated; nothing is searched for <image> ids. With two frames the previous
picture's tokens and `between` come before the newest's: sound is not added to them, it belongs to the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Required, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from server.model import answer_pass, eyes_tower
from server.model.checkpoint import Checkpoint

IGNORE = -100


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each supervision counts."""

    language: float = 1.0
    patch: float = 1.0
    hazard: float = 1.0
    ground: float = 0.3


class Batch(TypedDict, total=False):
    """One batch: either `pixel_values` or `features`; the rest where it is known."""

    answers: Required[Tensor]
    """int64 [b, A], answer ids padded with IGNORE; only that where nothing is known to be said"""
    pixel_values: Tensor
    """float [b, 3, s, s]"""
    features: Tensor
    """float [b, patches, dim], what the frozen part of the tower makes of them: all of it, or the eyes it stands on"""
    previous: Tensor
    """like features, of the picture before; without it the newest stands in"""
    heard: Tensor
    """float [b, 2d], what `Ear.pool` made"""
    hears: Tensor
    """float [b], 0 where there was no sound"""
    patch_labels: Tensor
    """int64 [b, patches], 0 = nothing, i + 1 = object i, IGNORE = unknown"""
    ground: Tensor
    """int64 [b, patches], places in shared.sight.ground.GROUND, IGNORE = unknown; for a model with eyes"""
    hazards: Tensor
    """float [b, objects, sides], 1 = there"""
    hazard_weights: Tensor
    """like hazards, 0 = not known"""


class Guide(nn.Module):
    """Trains a checkpoint in place."""

    def __init__(self, checkpoint: Checkpoint, weights: LossWeights | None = None, *, brief: bool = False) -> None:
        """brief: leave out of the decoder's pass what no loss looks at, where that can be (server.model.answer_pass)"""
        super().__init__()
        self.brief = brief
        self.model = checkpoint.model
        self.head = checkpoint.head
        self.ear = checkpoint.ear
        self.ground = None if checkpoint.eyes is None else checkpoint.eyes.ground
        self.frames = checkpoint.frames
        self.weights = weights or LossWeights()
        self.register_buffer("before", torch.tensor(checkpoint.before_ids()), persistent=False)
        self.register_buffer("between", torch.tensor(checkpoint.between_ids(), dtype=torch.long), persistent=False)
        self.register_buffer("after", torch.tensor(checkpoint.after_ids()), persistent=False)

    def features(self, pixel_values: Tensor) -> Tensor:
        """float [b, 3, s, s] → tower features [b, patches, dim]."""
        output: Tensor = self.model.model.vision_model(pixel_values=pixel_values).last_hidden_state
        return output

    def tower(self, frozen: Tensor) -> Tensor:
        """What the frozen part of the tower made of pictures [b, p, dim] → tower features [b, p, d]."""
        return eyes_tower.features_of(self.model.model.vision_model, frozen) if self.ground is not None else frozen

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one batch, each float []: "loss" and "language_loss", with masks "patch_loss", with the ground
        "ground_loss", with hazards "hazard_loss"."""
        answers = batch["answers"]
        features = self.tower(batch["features"]) if "features" in batch else self.features(batch["pixel_values"])
        previous = self.tower(batch["previous"]) if "previous" in batch else None
        sound = self.sound(batch.get("heard"), batch.get("hears"))
        language = self._language(features, answers, previous, sound)
        out = {"language_loss": language.detach(), "loss": self.weights.language * language}
        patch_logits, hazard_logits = self.head(features)
        if "patch_labels" in batch:
            patch = _by_place(patch_logits, batch["patch_labels"])
            out["loss"] = out["loss"] + self.weights.patch * patch
            out["patch_loss"] = patch.detach()
        if "ground" in batch and self.ground is not None:
            ground = _by_place(self.ground(features), batch["ground"])
            out["loss"] = out["loss"] + self.weights.ground * ground
            out["ground_loss"] = ground.detach()
        if "hazards" in batch:
            hazards, known = batch["hazards"], batch["hazard_weights"]
            loss = functional.binary_cross_entropy_with_logits(hazard_logits, hazards, known, reduction="sum")
            # Divided by the rows, not by the pairs: almost all pairs are "not there" and would drown the few that are.
            out["loss"] = out["loss"] + self.weights.hazard * loss / len(hazards)
            out["hazard_loss"] = (loss / len(hazards)).detach()
        return out

    def _language(self, features: Tensor, answers: Tensor, previous: Tensor | None, sound: Tensor | None) -> Tensor:
        """Mean over the rows that say something of their mean cross-entropy: []."""
        counted = answers != IGNORE
        said = counted.sum(1)
        if self.brief and answer_pass.fits(self.model.model.text_model, features):
            logits, targets = self._counted_logits(features, answers, previous, sound), answers[counted]
            each = functional.cross_entropy(logits, targets, reduction="none")
            rows = (each / said.clamp(min=1).repeat_interleave(said)).sum()
        else:
            logits = self.answer_logits(features, answers, previous=previous, sound=sound).flatten(0, 1)
            every = functional.cross_entropy(logits, answers.flatten(), ignore_index=IGNORE, reduction="none")
            rows = ((every.view_as(answers) * counted.float()).sum(1) / said.clamp(min=1)).sum()
        return rows / (said > 0).sum().clamp(min=1)

    def _counted_logits(
        self, features: Tensor, answers: Tensor, previous: Tensor | None, sound: Tensor | None
    ) -> Tensor:
        """Next-token logits of the counted positions alone, row by row: [counted, vocabulary]."""
        connector, embed = self.model.model.connector, self.model.get_input_embeddings()
        earlier = None if previous is None or self.frames == 1 else connector(previous)
        prompt, *others = self._before_answer(connector(features), earlier, sound)
        shown = torch.cat(others, dim=1)
        asked = torch.cat([shown[:, -1:], embed(answers.clamp(min=0)[:, :-1])], dim=1)
        text_model = self.model.model.text_model
        states = answer_pass.answer_states(text_model, prompt[0], shown[:, :-1], asked, answers != IGNORE)
        return answer_pass.project([self.model.lm_head], states)[0]

    def sound(self, heard: Tensor | None, hears: Tensor | None = None) -> Tensor | None:
        """heard [b, 2d] → what is added to image tokens [b, 1, e]; nothing where there was no sound."""
        if heard is None or self.ear is None:
            return None
        added = self.ear.gated(heard)
        return added if hears is None else added * hears[:, None, None]

    def answer_logits(
        self, features: Tensor, answers: Tensor, *, previous: Tensor | None = None, sound: Tensor | None = None
    ) -> Tensor:
        """Next-token logits for every answer position under teacher forcing: [b, A, vocabulary].

        sound: [b, 1, e], what `sound` gives
        """
        connector = self.model.model.connector
        earlier = None if previous is None or self.frames == 1 else connector(previous)
        return self.token_logits(connector(features), answers, earlier=earlier, sound=sound)

    def token_logits(
        self, image: Tensor, answers: Tensor, *, earlier: Tensor | None = None, sound: Tensor | None = None
    ) -> Tensor:
        """The same for image tokens [b, n, e]. earlier: those of the picture before"""
        embed = self.model.get_input_embeddings()
        parts = self._before_answer(image, earlier, sound)
        start = sum(part.shape[1] for part in parts) - 1
        inputs = torch.cat([*parts, embed(answers.clamp(min=0)[:, :-1])], dim=1)
        hidden = self.model.model.text_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        logits: Tensor = self.model.lm_head(hidden[:, start:])
        return logits

    def _before_answer(self, image: Tensor, earlier: Tensor | None, sound: Tensor | None) -> list[Tensor]:
        """Embeddings of the prompt with its pictures, each [b, tokens, e]; the first is the same in all rows."""
        embed, batch = self.model.get_input_embeddings(), image.shape[0]
        parts = [embed(self.before).expand(batch, -1, -1)]
        if self.frames == 2:
            parts += [image if earlier is None else earlier, embed(self.between).expand(batch, -1, -1)]
        return [*parts, image if sound is None else image + sound, embed(self.after).expand(batch, -1, -1)]

    @torch.no_grad()
    def write(
        self,
        features: Tensor,
        *,
        end_id: int,
        most: int = 16,
        previous: Tensor | None = None,
        sound: Tensor | None = None,
    ) -> list[list[int]]:
        """Greedy answers (ids, no end token) for features [b, p, d]. Plain and slow: the reference for parity."""
        answers = torch.empty((len(features), 0), dtype=torch.long, device=features.device)
        done = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        for _ in range(most):
            padded = torch.cat([answers, torch.zeros_like(done, dtype=torch.long)[:, None]], dim=1)
            last = self.answer_logits(features, padded, previous=previous, sound=sound)[:, -1].argmax(-1)
            answers = torch.cat([answers, last[:, None]], dim=1)
            done |= last == end_id
            if bool(done.all()):
                break
        return [row[: row.index(end_id)] if end_id in row else row for row in answers.tolist()]


def _by_place(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the places that are known, 0 where none is.

    logits: [b, p, classes]; labels: int64 [b, p]
    """
    total = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)
