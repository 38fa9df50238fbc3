"""The model as it is trained, and its hazard head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from server.learn.bases import STARTER_FOLDER
from server.learn.batches import Layout, collate, from_rendered
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.model.guide import IGNORE, Guide
from server.model.hazard_head import HazardHead
from tests.server.learn.parts import examples, save_field_checkpoint, shot


@pytest.fixture
def small(tmp_path: Path) -> Checkpoint:
    return checkpoints.load(save_field_checkpoint(tmp_path / "hub"))


def test_the_hazard_head_scores_each_object_at_each_side() -> None:
    head = HazardHead(8, 16, 5, 3)
    patches, hazards = head(torch.randn(2, 16, 8))
    assert patches.shape == (2, 16, 6)
    assert hazards.shape == (2, 5, 3)


def test_every_weight_of_the_hazard_head_learns_from_sentences_alone() -> None:
    head = HazardHead(8, 16, 5, 3)
    features = torch.randn(2, 16, 8, requires_grad=True)
    torch.autograd.backward(torch.nn.functional.softplus(head(features)[1]).sum())
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert features.grad is not None
    assert features.grad.abs().sum() > 0


def test_one_patch_of_evidence_is_enough_for_a_hazard() -> None:
    head = HazardHead(4, 16, 2, 3)
    torch.nn.init.zeros_(head.patch.weight)
    torch.nn.init.zeros_(head.patch.bias)
    head.patch.weight.data[1, 0] = 1.0
    features = torch.zeros(1, 16, 4)
    before = head(features)[1][0, 0, 1]
    features[0, 7, 0] = 12.0
    assert head(features)[1][0, 0, 1] > before + 6
    assert torch.equal(head(features)[1][0, 1], head(torch.zeros(1, 16, 4))[1][0, 1])


def test_a_thing_far_off_can_be_known_and_yet_be_no_hazard() -> None:
    head = HazardHead(4, 16, 2, 3)
    torch.nn.init.zeros_(head.patch.bias)
    head.patch.weight.data = torch.eye(3, 4)  # feature 1 says that the first object is there, feature 3 that it is far
    near, far = torch.zeros(1, 16, 4), torch.zeros(1, 16, 4)
    near[0, 7, 1] = far[0, 7, 1] = 12.0
    far[0, 7, 3] = 1.0
    assert torch.equal(head(near)[1], head(far)[1]), "an untaught reach changes nothing"
    head.reach.weight.data[0:3, 3] = -12.0
    assert (head(near)[1][0, 0] > head(far)[1][0, 0] + 6).all()
    assert torch.equal(head(near)[0], head(far)[0]), "what a patch shows is the same"
    assert torch.equal(head(near)[1][0, 1], head(far)[1][0, 1]), "another object's reach is its own"


def test_losses_with_masks_are_finite_and_reach_the_tower() -> None:
    starter = checkpoints.load(STARTER_FOLDER)
    guide = Guide(starter)
    batch = collate([from_rendered(shot(n), Layout.of(starter)) for n in range(3)], starter)
    losses = guide(batch)
    assert set(losses) == {"loss", "language_loss", "patch_loss", "hazard_loss"}
    assert all(torch.isfinite(value) for value in losses.values())
    losses["loss"].backward()
    assert starter.head.patch.weight.grad is not None
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in starter.model.model.vision_model.parameters())


def test_losses_without_any_mask_are_finite(small: Checkpoint) -> None:
    guide = Guide(small)
    batch = collate(examples(3, small), small)
    assert "patch_labels" not in batch
    assert torch.isfinite(guide(batch)["loss"])
    unknown = torch.full((3, small.patches), IGNORE)
    losses = guide({**batch, "patch_labels": unknown})  # what a night's collator gives for rows without masks
    assert losses["patch_loss"] == 0
    losses["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in guide.parameters() if p.grad is not None)


def test_padding_changes_no_answers_loss(small: Checkpoint) -> None:
    guide = Guide(small)
    batch = collate(examples(1, small), small)
    wider = torch.cat([batch["answers"], torch.full((1, 4), IGNORE)], dim=1)
    losses = guide(batch)
    assert guide({**batch, "answers": wider})["language_loss"].item() == pytest.approx(
        losses["language_loss"].item(), rel=1e-4
    )


def test_writing_is_the_most_probable_next_token_each_time(small: Checkpoint) -> None:
    guide = Guide(small).eval()
    batch = collate(examples(3, small), small)
    with torch.no_grad():
        features = guide.features(batch["pixel_values"])
        answers = guide.write(features, end_id=small.end_id, most=5)
        assert [guide.write(features[n : n + 1], end_id=small.end_id, most=5)[0] for n in range(3)] == answers
        for row, ids in enumerate(answers):
            given = torch.tensor([[*ids, small.end_id]])
            best = guide.answer_logits(features[row : row + 1], given)[0].argmax(-1).tolist()
            assert best[: len(ids)] == ids


def test_batches_are_what_the_checkpoint_takes(small: Checkpoint) -> None:
    batch = collate(examples(2, small), small)
    assert batch["pixel_values"].shape == (2, 3, 256, 256)
    assert batch["pixel_values"].dtype == torch.float32
    assert batch["hazards"].shape == (2, len(small.objects), 3)
    assert np.isfinite(batch["pixel_values"].numpy()).all()
