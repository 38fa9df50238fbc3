"""A wearer's adapter in a bundle: every look and sentence goes through it, and a bundle without it is what it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporters.onnx.wearer import write_adapter
from shared import bundle
from shared.bundle import WEARER_ADAPTER
from shared.errors import BundleError
from shared.runtime import GuidanceModel
from shared.runtime.language import VISION
from shared.runtime.look import LOOK
from tests.shared.runtime import small_eyes

Weights = dict[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]
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
        write_adapter(weights, folder / WEARER_ADAPTER)
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
    (folder / WEARER_ADAPTER).write_bytes(b"no graph")
    bundle.write_bundle(folder, bundle.read_manifest(starter_bundle))
    with pytest.raises(BundleError, match="could not be loaded"):
        GuidanceModel.load(folder, threads=1, allow_demo=True)


def eyes_and_words(starter_bundle: Path, folder: Path, model: GuidanceModel, *, features: bool) -> Path:
    """The starter behind a look network with a hazard head: it takes the look's features, or looks by itself."""
    described = dict(model.manifest.model)
    objects, sides = len(described["objects"]), len(described["sides"])
    tokens, width = model.language.tokens_shape
    shutil.copytree(starter_bundle, folder)
    starts, ends = np.array([0, 0, 0, 0]), np.array([1, 1, 4, 8])
    held = {"starts": starts, "ends": ends, "grid": np.array([1, 4, 8])}
    held["logits"] = np.full((1, objects, sides), -2, np.float32)
    size = small_eyes.PREPROCESSING.size_px
    look = [
        helper.make_node("Slice", ["pixel_values", "starts", "ends"], ["corner"]),
        helper.make_node("Reshape", ["corner", "grid"], ["features"]),
        helper.make_node("Identity", ["logits"], ["hazard_logits"]),
    ]
    outputs = {"hazard_logits": (1, objects, sides), **({"features": (1, 4, 8)} if features else {})}
    save(look, {"pixel_values": (1, 3, size, size)}, outputs, held, folder / LOOK)
    if features:
        rng = np.random.default_rng(5)
        weights = {"w": rng.normal(size=(32, tokens * width)).astype(np.float32) * 0.1, "flat": np.array([1, 32])}
        weights["shape"] = np.array([1, tokens, width])
        connector = [
            helper.make_node("Reshape", ["features", "flat"], ["row"]),
            helper.make_node("MatMul", ["row", "w"], ["wide"]),
            helper.make_node("Reshape", ["wide", "shape"], ["image_features"]),
        ]
        save(connector, {"features": (1, 4, 8)}, {"image_features": (1, tokens, width)}, weights, folder / VISION)
    described["look"] = {"preprocessing": small_eyes.PREPROCESSING.to_dict(), "names": []}
    bundle.write_bundle(folder, replace(model.manifest, model=described))
    return folder


def save(
    nodes: list[onnx.NodeProto], inputs: Shapes, outputs: Shapes, held: Mapping[str, NDArray[Any]], file: Path
) -> None:
    """Write a graph; held: its constants."""
    weights = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "g", floats(inputs), floats(outputs), weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))


def floats(shapes: Shapes) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def test_where_the_look_network_sees_for_both_each_look_goes_through_the_adapter(
    starter_bundle: Path, tmp_path: Path, model: GuidanceModel, nothing: Weights
) -> None:
    plain = eyes_and_words(starter_bundle, tmp_path / "plain", model, features=True)
    before = GuidanceModel.load(plain, threads=1, allow_demo=True).look(PICTURE)
    folder = Path(shutil.copytree(plain, tmp_path / "adapted"))
    bias = nothing["bias"] + np.float32(5.0)
    up = np.random.default_rng(2).normal(size=nothing["up"].shape).astype(np.float32)
    write_adapter({**nothing, "bias": bias, "up": up}, folder / WEARER_ADAPTER)
    bundle.write_bundle(folder, bundle.read_manifest(plain))
    adapted = GuidanceModel.load(folder, threads=1, allow_demo=True)
    assert adapted.shows_tokens
    after = adapted.look(PICTURE)
    assert min(hazard.score for hazard in after.hazards) > max(hazard.score for hazard in before.hazards)
    expected = before.image_tokens + before.image_tokens @ nothing["down"] @ up
    np.testing.assert_allclose(after.image_tokens, expected, rtol=1e-4, atol=1e-3)
    assert adapted.word(after).text


def test_a_bundle_whose_looks_make_no_image_tokens_can_have_no_adapter(
    starter_bundle: Path, tmp_path: Path, model: GuidanceModel, nothing: Weights
) -> None:
    folder = eyes_and_words(starter_bundle, tmp_path / "apart", model, features=False)
    assert not GuidanceModel.load(folder, threads=1, allow_demo=True).shows_tokens
    write_adapter(nothing, folder / WEARER_ADAPTER)
    bundle.write_bundle(folder, bundle.read_manifest(folder))
    with pytest.raises(BundleError, match="needs image tokens"):
        GuidanceModel.load(folder, threads=1, allow_demo=True)
