"""What a model hears: an encoder that is never changed, and a gate that begins shut."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import WhisperModel

from exporters.onnx.parity import Given
from server.learn import lora
from server.learn.batches import Layout, collate, from_sentence
from server.learn.bundles import exportable, writer
from server.learn.recipe import Recipe
from server.model import checkpoint as checkpoints
from server.model import sound
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from shared.errors import ConfigError
from shared.mel import FRAMES, log_mel
from tests.server.learn.parts import examples, flat, save_field_checkpoint, save_whisper, tone

LOW, HIGH = tone(220.0), tone(1500.0)
RECIPE = Recipe(rank=4, alpha=8, steps=40, batch=8, rate=1e-2, head_rate=1e-2, ear_rate=3e-2, replay=0, threads=1)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_field_checkpoint(tmp_path_factory.mktemp("hub") / "vlm")


@pytest.fixture
def hearing(hub: Path, whisper: Path) -> Checkpoint:
    base = checkpoints.load(hub)
    base.ear = sound.fresh(whisper, base.width)
    return base


def test_two_seconds_become_one_vector_as_wide_as_an_image_token(hearing: Checkpoint) -> None:
    ear = hearing.ear
    assert ear is not None
    features = ear.features([LOW, HIGH, LOW[:4000]])
    assert features.shape == (3, 80, FRAMES)
    np.testing.assert_array_equal(features[0].numpy(), log_mel(LOW))
    ear.gate.data.fill_(0.5)
    added = ear(features)
    assert added.shape == (3, 1, hearing.width)
    assert (added[0] - added[1]).abs().max() > 1e-3


def test_the_encoder_is_whispers_own_over_its_first_positions(whisper: Path) -> None:
    ear = sound.fresh(whisper, 8, frames=300)  # all three seconds that this one was made for
    whole = WhisperModel.from_pretrained(whisper).encoder.train(mode=False)
    features = ear.features([tone(440.0, seconds=3.0)])
    with torch.no_grad():
        states = whole(features).last_hidden_state
        assert torch.equal(ear.pool(features), torch.cat([states.mean(1), states.amax(1)], dim=-1))
    shorter = sound.fresh(whisper, 8)
    kept = shorter.encoder.embed_positions.weight
    assert torch.equal(kept, whole.embed_positions.weight[:100])


def test_a_fresh_ear_changes_no_logit_and_can_still_learn(hearing: Checkpoint) -> None:
    guide, ear = Guide(hearing).train(), hearing.ear
    assert ear is not None
    assert not ear.taught
    batch = collate(examples(2, hearing), hearing)
    with torch.no_grad():
        heard = ear.pool(ear.features([LOW, HIGH]))
        features = guide.features(batch["pixel_values"])
        deaf = guide.answer_logits(features, batch["answers"])
        assert torch.equal(guide.answer_logits(features, batch["answers"], sound=guide.sound(heard)), deaf)
    guide({**batch, "heard": heard})["loss"].backward()
    assert ear.gate.grad is not None
    assert ear.gate.grad != 0
    assert all(parameter.grad is None for parameter in ear.encoder.parameters())
    assert not ear.encoder.training


def test_rows_without_sound_are_left_as_they_are(hearing: Checkpoint) -> None:
    guide, ear = Guide(hearing).eval(), hearing.ear
    assert ear is not None
    ear.gate.data.fill_(1.0)
    with torch.no_grad():
        added = guide.sound(ear.pool(ear.features([LOW, LOW])), torch.tensor([1.0, 0.0]))
    assert added is not None
    assert added[0].abs().max() > 0
    assert not added[1].any()


def test_a_checkpoint_that_hears_is_saved_and_loads_as_it_was(hearing: Checkpoint, tmp_path: Path) -> None:
    assert hearing.ear is not None
    hearing.ear.gate.data.fill_(0.25)
    hearing.frames = 2
    checkpoints.save(hearing, tmp_path / "saved")
    again = checkpoints.load(tmp_path / "saved")
    assert again.ear is not None
    assert again.frames == 2
    features = again.ear.features([HIGH])
    with torch.no_grad():
        assert torch.equal(again.ear(features), hearing.ear(features))
    assert checkpoints.load(checkpoints_without(tmp_path / "saved")).ear is None


def checkpoints_without(folder: Path) -> Path:
    (folder / sound.FOLDER).rename(folder.with_name("ear taken out"))
    return folder


def test_what_is_no_whisper_is_refused_with_what_to_do(hub: Path, tmp_path: Path) -> None:
    for wrong in (hub, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match=r"could not be loaded.*learn\.audio_encoder"):
            sound.fresh(wrong, 8)
    with pytest.raises(ConfigError, match=r"listens to 1 s, 2 s are needed"):
        sound.fresh(save_whisper(tmp_path / "short", positions=50), 8)


def test_a_night_teaches_what_only_the_sound_can_tell(hearing: Checkpoint, tmp_path: Path) -> None:
    layout = Layout.of(hearing)
    said = {"Stop, vehicle ahead.": LOW, "Caution, pole on the left.": HIGH}
    rows = [from_sentence(flat(0), text, layout, sound=heard) for text, heard in said.items() for _ in range(4)]
    before = {name: value.clone() for name, value in _ear(hearing).encoder.state_dict().items()}
    lora.train(hearing, rows, [], RECIPE, tmp_path / "night")
    ear = _ear(hearing)
    assert ear.taught
    assert all(torch.equal(value, before[name]) for name, value in ear.encoder.state_dict().items())
    assert (tmp_path / "night" / "adapter" / sound.PROJECTION_FILE).is_file()
    assert exportable(hearing).ear is ear
    guide = Guide(hearing).eval()
    batch = collate(rows[:1], hearing)
    for text, heard in said.items():
        with torch.no_grad():
            features = guide.features(batch["pixel_values"])
            (ids,) = guide.write(features, end_id=hearing.end_id, sound=ear(ear.features([heard])))
        assert str(hearing.tokenizer.decode(ids)).strip() == text


def test_an_ear_that_no_row_taught_stays_shut_and_is_not_exported(hearing: Checkpoint, tmp_path: Path) -> None:
    short = Recipe(**{**asdict(RECIPE), "steps": 3})
    lora.train(hearing, examples(4, hearing), [], short, tmp_path / "night")
    assert not _ear(hearing).taught
    assert exportable(hearing).ear is None


def test_a_night_teaches_what_only_the_picture_before_can_tell(hub: Path, tmp_path: Path) -> None:
    base = checkpoints.load(hub)
    base.frames = 2
    layout = Layout.of(base)
    said = {"Stop, vehicle ahead.": flat(1), "Caution, pole on the left.": flat(2)}
    rows = [from_sentence(flat(0), text, layout, previous=earlier) for text, earlier in said.items() for _ in range(4)]
    lora.train(base, rows, [], replace(RECIPE, steps=60), tmp_path / "night")
    write = writer(base)
    for text, earlier in said.items():
        ids = write(_given(earlier))
        assert str(base.tokenizer.decode(list(ids))).strip() == text


def _given(earlier: NDArray[np.uint8]) -> Given:
    return Given(flat(0), previous=earlier)


def _ear(of: Checkpoint) -> sound.Ear:
    assert of.ear is not None
    return of.ear
