"""Bundles that hear, and bundles that are shown two pictures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from exporters.onnx.bundle import Exportable, Label, describe, export_bundle
from exporters.onnx.graphs import export_ear
from exporters.onnx.parity import Given, compare
from exporters.onnx.quantise import quantise_vision
from server.learn.bundles import exportable, writer
from server.model import checkpoint as checkpoints
from server.model import sound
from server.model.checkpoint import Checkpoint
from shared import bundle, mel, prompt
from shared.mel import log_mel
from shared.runtime import GuidanceModel, Instruction, Observation
from tests.server.learn.parts import save_field_checkpoint, save_whisper, tone

LABEL = Label("v1", "b", "", "field", {}, 1.0)
SOUNDS = [tone(220.0), tone(1500.0), np.zeros(0, np.float32), tone(700.0, seconds=5.0)]


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """As after a night: the encoder untouched, projection and gate moved."""
    folder = tmp_path_factory.mktemp("hearing")
    base = checkpoints.load(save_field_checkpoint(folder / "vlm"))
    ear = sound.fresh(save_whisper(folder / "whisper"), base.width)
    with torch.no_grad():
        ear.settle(ear.pool(ear.features([*SOUNDS, tone(90.0)])))
        ear.gate.fill_(0.8)
    base.ear = ear
    return base


@pytest.fixture(scope="module")
def with_ear(hearing: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ear") / "b"
    export_bundle(exportable(hearing), LABEL, folder, golden_chunks=[], quantised=False)
    return folder


@pytest.fixture(scope="module")
def without_ear(hearing: Checkpoint, with_ear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remade(with_ear, tmp_path_factory.mktemp("deaf") / "b", replace(exportable(hearing), ear=None))


def remade(folder: Path, target: Path, what: Exportable) -> Path:
    """The same bundle with another ear or prompt: the large graphs, which are the same, are not exported again."""
    shutil.copytree(folder, target)
    (target / mel.ENCODER).unlink()
    if what.ear is not None:
        export_ear(what.ear, target)
    described = describe(what, precision="float32")
    bundle.write_bundle(target, bundle.Manifest(1, "v2", 1.0, "b", "", "field", (), {}, described))
    return target


def answer(model: GuidanceModel, observation: Observation) -> Instruction:
    return model.word(observation, constrained=False, drafted=False)


def heard_by(folder: Path, heard: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(folder / mel.ENCODER))
    out: NDArray[np.float32] = session.run(["audio_features"], {"input_features": log_mel(heard)[None]})[0]
    return out


def test_the_exported_ear_hears_what_pytorchs_hears(hearing: Checkpoint, with_ear: Path, tmp_path: Path) -> None:
    ear = hearing.ear
    assert ear is not None
    quantise_vision(with_ear / mel.ENCODER, tmp_path / mel.ENCODER)  # as a quantised bundle's is made
    assert (tmp_path / mel.ENCODER).stat().st_size < (with_ear / mel.ENCODER).stat().st_size
    for heard in SOUNDS:
        with torch.no_grad():
            expected = ear(ear.features([heard])).numpy()
        assert expected.shape == (1, 1, hearing.width)
        np.testing.assert_allclose(heard_by(with_ear, heard), expected, rtol=0, atol=2e-4)
        assert np.abs(heard_by(tmp_path, heard) - expected).max() < 0.2 * np.abs(expected).max()


def test_a_bundle_that_hears_writes_pytorchs_tokens(hearing: Checkpoint, with_ear: Path) -> None:
    moments = [Given(picture(n), sound=heard) for n, heard in enumerate(SOUNDS)]
    parity = compare(with_ear, writer(hearing), [*moments, Given(picture(9))], threads=1)
    assert parity.tokens >= 10
    assert parity.token_share == 1.0
    assert mel.ENCODER in {entry.path for entry in bundle.verify(with_ear).files}


def test_sound_moves_the_image_tokens_and_without_it_nothing_is_added(with_ear: Path, without_ear: Path) -> None:
    hears, deaf = GuidanceModel.load(with_ear, threads=1), GuidanceModel.load(without_ear, threads=1)
    low, high = (hears.look(picture(1), heard).audio for heard in SOUNDS[:2])
    assert low is not None
    assert high is not None
    assert np.abs(low - high).max() > 1e-2
    assert answer(hears, hears.look(picture(1))) == answer(deaf, deaf.look(picture(1)))
    assert answer(deaf, deaf.look(picture(1), SOUNDS[0])) == answer(deaf, deaf.look(picture(1)))


def test_an_ear_that_was_never_taught_changes_no_answer_by_a_bit(
    hearing: Checkpoint, with_ear: Path, without_ear: Path, tmp_path: Path
) -> None:
    assert hearing.ear is not None
    untaught = sound.Ear(hearing.ear.encoder, hearing.width)
    folder = remade(with_ear, tmp_path / "b", replace(exportable(hearing), ear=untaught))
    model, before = GuidanceModel.load(folder, threads=1), GuidanceModel.load(without_ear, threads=1)
    for seed, heard in enumerate(SOUNDS):
        ours, theirs = model.look(picture(seed), heard), before.look(picture(seed))
        assert ours.audio is not None
        assert (ours.image_tokens + ours.audio == theirs.image_tokens).all()
        assert ours.hazards == theirs.hazards
        assert answer(model, ours) == answer(before, theirs)


def test_two_pictures_are_shown_as_pytorch_is_shown_them(hearing: Checkpoint, with_ear: Path, tmp_path: Path) -> None:
    two = replace(hearing, frames=2)
    folder = remade(with_ear, tmp_path / "b", exportable(two))
    manifest = bundle.verify(folder)
    assert manifest.model["frames"] == 2
    assert two.tokenizer.decode(manifest.model["between_ids"]) == prompt.between_images()
    with_sound = Given(picture(1), previous=picture(3), sound=SOUNDS[0])
    moments = [Given(picture(1), previous=picture(2)), with_sound, Given(picture(4))]
    write = writer(two)
    parity = compare(folder, write, moments, threads=1)
    assert parity.tokens >= 6
    assert parity.token_share == 1.0
    first = Given(picture(4), previous=picture(4))
    assert write(first) == write(moments[2]), "without a picture before, the newest stands in for it"


def test_one_picture_needs_nothing_new_in_the_manifest(without_ear: Path) -> None:
    manifest = bundle.verify(without_ear)
    assert not {"frames", "between_ids", "calibration"} & set(manifest.model)
    assert mel.ENCODER not in {entry.path for entry in manifest.files}
