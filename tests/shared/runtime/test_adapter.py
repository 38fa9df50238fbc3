"""A wearer's adapter in a bundle: every look and sentence goes through it, and a bundle without it is what it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.onnx.wearer import write_adapter
from shared import bundle
from shared.errors import BundleError
from shared.runtime import GuidanceModel
from shared.runtime.adapter import ADAPTER

Weights = dict[str, NDArray[np.float32]]
PICTURE = np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.fixture
def nothing(model: GuidanceModel) -> Weights:
    """An adapter that changes nothing."""
    tokens, width = model.language.tokens_shape
    objects, sides = len(model.manifest.model["objects"]), len(model.manifest.model["sides"])
    rng = np.random.default_rng(1)
    shapes = {"offset": (4,), "up": (4, width), "pairs": (tokens * 2, objects * sides), "gain": (objects, 1)}
    zeros = {name: np.zeros(shape, np.float32) for name, shape in {**shapes, "bias": (objects, sides)}.items()}
    return {**zeros, **{name: rng.normal(size=(width, n)).astype(np.float32) for name, n in (("down", 4), ("look", 2))}}


@pytest.fixture
def adapted(starter_bundle: Path, tmp_path: Path) -> Callable[[Weights], GuidanceModel]:
    """The starter with an adapter."""

    def made(weights: Weights) -> GuidanceModel:
        folder = tmp_path / "adapted"
        shutil.copytree(starter_bundle, folder)
        write_adapter(weights, folder / ADAPTER)
        bundle.write_bundle(folder, replace(bundle.read_manifest(starter_bundle), version="starter-w1"))
        return GuidanceModel.load(folder, threads=1, allow_demo=True)

    return made


def test_an_adapter_of_zeros_changes_no_word_and_no_score(
    model: GuidanceModel, nothing: Weights, adapted: Callable[[Weights], GuidanceModel]
) -> None:
    before, after = model.look(PICTURE), adapted(nothing).look(PICTURE)
    assert after.hazards == before.hazards
    assert np.array_equal(after.image_tokens, before.image_tokens)


def test_scores_and_image_tokens_are_changed_as_the_weights_say(
    model: GuidanceModel, nothing: Weights, adapted: Callable[[Weights], GuidanceModel]
) -> None:
    objects, sides = list(model.manifest.model["objects"]), list(model.manifest.model["sides"])
    bias = nothing["bias"].copy()
    bias[objects.index("curb"), sides.index("ahead")] = 20.0
    up = np.random.default_rng(2).normal(size=nothing["up"].shape).astype(np.float32)
    after = adapted({**nothing, "bias": bias, "up": up}).look(PICTURE)
    assert (after.hazards[0].object, after.hazards[0].side) == ("curb", "ahead")
    seen = model.look(PICTURE).image_tokens
    expected = seen + seen @ nothing["down"] @ up
    np.testing.assert_allclose(after.image_tokens, expected, rtol=1e-4, atol=1e-3)


def test_an_adapter_of_another_model_is_refused_with_the_bundle(
    nothing: Weights, adapted: Callable[[Weights], GuidanceModel]
) -> None:
    other = {**nothing, "bias": nothing["bias"][1:], "gain": nothing["gain"][1:]}
    other["pairs"] = np.zeros((len(nothing["pairs"]), other["bias"].size), np.float32)
    with pytest.raises(BundleError, match=r"is for .* hazards"):
        adapted(other)


def test_a_file_that_is_no_adapter_is_refused_with_the_bundle(starter_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(starter_bundle, folder)
    (folder / ADAPTER).write_bytes(b"no graph")
    bundle.write_bundle(folder, bundle.read_manifest(starter_bundle))
    with pytest.raises(BundleError, match="could not be loaded"):
        GuidanceModel.load(folder, threads=1, allow_demo=True)
