"""The guidance runtime on the bundle of the shipped starter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from shared import bundle, vocabulary
from shared.errors import BundleError, MediaError
from shared.runtime import GuidanceModel, check_golden
from shared.runtime.language import DECODER, EMBED, MOST_TOKENS, VISION
from tests.shared.runtime.altered import golden_cases, golden_picture, rewrite


@pytest.fixture
def copy(starter_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 2000), (2000, 40), (120, 160), (1080, 1920)])
def test_pictures_of_any_size_are_looked_at_and_worded(model: GuidanceModel, height: int, width: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    observation = model.look(image)
    assert observation.image_tokens.shape == (1, 16, 192)
    assert observation.image_tokens.dtype == np.float32
    said = model.word(observation)
    assert 0 < said.confidence <= 1
    assert len(said.token_ids) <= MOST_TOKENS
    assert said.text == said.text.strip()


def test_hazards_are_complete_and_the_most_certain_comes_first(model: GuidanceModel, starter_bundle: Path) -> None:
    hazards = model.look(golden_picture(starter_bundle, 0)).hazards
    scores = [hazard.score for hazard in hazards]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    everything = {(name, side) for name in vocabulary.load().objects for side in vocabulary.SIDES_SEEN}
    assert {(hazard.object, hazard.side) for hazard in hazards} == everything
    assert len(hazards) == len(everything)


def test_brightness_and_contrast_are_the_pictures(model: GuidanceModel) -> None:
    dark, white = np.zeros((90, 90, 3), np.uint8), np.full((90, 90, 3), 255, np.uint8)
    assert (model.look(dark).brightness, model.look(dark).contrast) == (0.0, 0.0)
    assert model.look(white).brightness == pytest.approx(1.0)
    half = dark.copy()
    half[:, 45:] = 255
    assert model.look(half).brightness == pytest.approx(0.5, abs=0.02)
    assert model.look(half).contrast == pytest.approx(0.5, abs=0.02)


def test_the_same_picture_gives_the_same_answer(model: GuidanceModel, starter_bundle: Path) -> None:
    picture = golden_picture(starter_bundle, 3)
    first, second = model.look(picture), model.look(picture)
    assert first.hazards == second.hazards
    assert model.word(first) == model.word(second) == model.word(first)


def test_golden_pictures_are_worded_with_what_is_on_them(model: GuidanceModel, starter_bundle: Path) -> None:
    cases = golden_cases(starter_bundle)
    assert {case["must_stop"] for case in cases} == {True, False}
    said = [model.word(model.look(golden_picture(starter_bundle, n))).text for n in range(len(cases))]
    right = sum(
        text == vocabulary.instruct(case["object"], case["side"]) for text, case in zip(said, cases, strict=True)
    )
    assert right >= len(cases) - 1
    assert not [problem for text in said for problem in vocabulary.problems(text)]


def test_what_is_no_picture_is_refused(model: GuidanceModel) -> None:
    with pytest.raises(MediaError, match="uint8"):
        model.look(np.zeros((8, 8, 3), np.float32))


def test_a_demonstration_model_must_be_asked_for(starter_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"demonstration model.*--allow-demo-model"):
        GuidanceModel.load(starter_bundle)


def test_a_model_on_trial_guides_only_where_that_is_allowed_and_can_be_judged_anywhere(copy: Path) -> None:
    rewrite(copy, intended_use="trial")
    with pytest.raises(BundleError, match=r"is on trial.*--supervised"):
        GuidanceModel.load(copy)
    with pytest.raises(BundleError, match="is on trial"):
        GuidanceModel.load(copy, allow=bundle.FOR_WALKS | {bundle.DEMO})
    for how in ({"allow": bundle.FOR_WALKS | {bundle.TRIAL}}, {"allow": bundle.FOR_JUDGING}, {"allow_demo": True}):
        assert GuidanceModel.load(copy, threads=1, **how).manifest.intended_use == "trial"
    assert check_golden(copy, threads=1) == []
    rewrite(copy, intended_use="demo")
    with pytest.raises(BundleError, match="must not guide"):
        GuidanceModel.load(copy, allow=bundle.FOR_WALKS | {bundle.TRIAL})


def test_one_changed_byte_in_any_file_is_found_and_named(copy: Path) -> None:
    manifest = bundle.read_manifest(copy)
    assert {VISION, EMBED, DECODER, "tokenizer.json", "golden/golden.json"} <= {f.path for f in manifest.files}
    for entry in manifest.files:
        file = copy / entry.path
        whole = file.read_bytes()
        at = len(whole) // 2
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BundleError, match=entry.path):
            GuidanceModel.load(copy, allow_demo=True)
        file.write_bytes(whole)
    assert GuidanceModel.load(copy, allow_demo=True).manifest == manifest


@pytest.mark.parametrize("key", ["preprocessing", "before_ids", "after_ids", "end_id", "objects", "sides"])
def test_a_manifest_without_a_key_is_refused_and_the_key_named(copy: Path, key: str) -> None:
    rewrite(copy, without=key)
    with pytest.raises(BundleError, match=rf"manifest lacks.*{key}.*Export it again"):
        GuidanceModel.load(copy, allow_demo=True)


@pytest.mark.parametrize("name", [VISION, EMBED, DECODER, "tokenizer.json"])
def test_a_file_that_hashes_right_but_is_no_model_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"not what the name says")
    rewrite(copy)
    with pytest.raises(BundleError, match="could not be loaded"):
        GuidanceModel.load(copy, allow_demo=True)


@pytest.mark.parametrize("name", [VISION, DECODER, "tokenizer.json"])
def test_a_bundle_that_lacks_a_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    rewrite(copy)
    with pytest.raises(BundleError, match="could not be loaded"):
        GuidanceModel.load(copy, allow_demo=True)
