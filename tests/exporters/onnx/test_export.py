"""Out of PyTorch, into a bundle, without a change in what is said."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.onnx.bundle import Label, export_bundle
from exporters.onnx.parity import Given, Parity, compare
from server.evaluation import answers as evaluate
from server.learn.bases import STARTER_FOLDER
from server.learn.bundles import exportable, writer
from server.model import checkpoint as checkpoints
from server.model.checkpoint import FIELD_TILE_PX, Checkpoint
from server.model.guide import Guide
from shared import bundle
from shared.preprocess import prepare
from shared.runtime import GuidanceModel
from shared.runtime.language import DECODER, EMBED, TOKENIZER, VISION
from tests.server.learn.parts import save_field_checkpoint

pytestmark = pytest.mark.slow

GRAPHS = {VISION, EMBED, DECODER, TOKENIZER}


@pytest.fixture(scope="module")
def starter() -> Checkpoint:
    return checkpoints.load(STARTER_FOLDER)


@pytest.fixture(scope="module")
def held_out() -> list[Given]:
    return [Given(case.image) for case in evaluate.rendered_cases(50, seed=3)]


class Writer:
    """The PyTorch model's greedy answers, each picture once."""

    def __init__(self, of: Checkpoint) -> None:
        self.write = writer(of)
        self.known: dict[int, Sequence[int]] = {}

    def __call__(self, given: Given) -> Sequence[int]:
        if id(given) not in self.known:
            self.known[id(given)] = self.write(given)
        return self.known[id(given)]


@pytest.fixture(scope="module")
def write(starter: Checkpoint) -> Writer:
    return Writer(starter)


def label(of: Checkpoint) -> Label:
    return Label("v1", of.name, "", of.intended_use, dict(of.thresholds), 1.0)


def test_before_quantisation_98_of_100_tokens_are_pytorchs(
    starter_full: Path, write: Writer, held_out: list[Given]
) -> None:
    assert bundle.read_manifest(starter_full).model["precision"] == "float32"
    parity = compare(starter_full, write, held_out)
    assert parity.moments == 50
    assert parity.tokens > 200
    assert parity.token_share >= 0.98, parity


def test_after_quantisation_95_of_100_tokens_are_pytorchs(
    write: Writer, held_out: list[Given], starter_bundle: Path
) -> None:
    parity = compare(starter_bundle, write, held_out)
    assert parity.token_share >= 0.95, parity


def test_a_decoder_in_4_bits_is_smaller_and_still_writes_pytorchs_words(
    starter: Checkpoint, write: Writer, held_out: list[Given], starter_bundle: Path, starter_full: Path, tmp_path: Path
) -> None:
    what = exportable(starter)
    manifest = export_bundle(what, label(starter), tmp_path / "b", golden_chunks=[], bits=4, full=starter_full)
    assert manifest.model["precision"] == "vision int8, decoder 4-bit"
    small, large = (folder / "decoder_model_merged.onnx" for folder in (tmp_path / "b", starter_bundle))
    assert small.stat().st_size < large.stat().st_size
    assert compare(tmp_path / "b", write, held_out).token_share >= 0.95


def test_the_starters_bundle_is_small_and_complete(starter_bundle: Path) -> None:
    manifest = bundle.verify(starter_bundle)
    assert sum(file.stat().st_size for file in starter_bundle.rglob("*") if file.is_file()) < 8_000_000
    names = {entry.path for entry in manifest.files}
    assert {name for name in names if not name.startswith("golden/")} == {*GRAPHS, bundle.BLOCKS_NAME}
    assert manifest.model["precision"] == "vision int8, decoder 8-bit"
    assert manifest.intended_use == "demo"
    assert set(manifest.thresholds) == {"hazard_above", "speak_above", "flag_below"}


@pytest.mark.soak
def test_a_checkpoint_of_the_hubs_shape_takes_the_same_path(tmp_path: Path) -> None:
    field = checkpoints.load(save_field_checkpoint(tmp_path / "hub"))
    manifest = export_bundle(exportable(field), label(field), tmp_path / "b", golden_chunks=[])
    assert bundle.verify(tmp_path / "b") == manifest
    assert manifest.intended_use == "field"
    assert manifest.model["preprocessing"] == {"size_px": FIELD_TILE_PX, "fit": "pad", "mean": 0.5, "std": 0.5}
    model = GuidanceModel.load(tmp_path / "b", threads=1)  # a field model needs no permission
    for height, width in ((90, 160), (160, 90), (256, 256)):
        picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        observation = model.look(picture)
        assert observation.image_tokens.shape == (1, field.image_tokens, 32)
        assert len(observation.hazards) == len(field.objects) * len(field.sides)
        with torch.no_grad():
            features = Guide(field).eval().features(torch.from_numpy(prepare(picture, field.preprocessing)))
            expected = field.head(features)[1].sigmoid()[0].numpy()
        scores = {(h.object, h.side): h.score for h in observation.hazards}
        ours = np.array([[scores[name, side] for side in field.sides] for name in field.objects])
        assert np.abs(ours - expected).max() < 0.1
        assert model.word(observation).confidence > 0
    assert not list(tmp_path.glob("*.part"))


def test_parity_counts_missing_and_extra_tokens_as_different(starter_bundle: Path) -> None:
    moments, model = [Given(case.image) for case in _few()], loaded(starter_bundle)
    answers = {id(m): model.word(model.look(m.picture), constrained=False).token_ids for m in moments}
    assert compare(starter_bundle, lambda m: answers[id(m)], moments).token_share == 1.0
    total = sum(map(len, answers.values()))
    shorter = compare(starter_bundle, lambda m: answers[id(m)][:-1], moments)
    assert shorter == Parity(len(moments), total, total - len(moments), 0)
    longer = compare(starter_bundle, lambda m: [*answers[id(m)], 7], moments)
    assert longer == Parity(len(moments), total + len(moments), total, 0)


@cache
def loaded(folder: Path) -> GuidanceModel:
    return GuidanceModel.load(folder, threads=1, allow_demo=True)


@cache
def _few() -> list[evaluate.Case]:
    return evaluate.rendered_cases(3, seed=3)
