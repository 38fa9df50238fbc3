"""Bundles of a look network alone, and what is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared import bundle, vocabulary
from shared.errors import BundleError, ConfigError, MediaError
from shared.preprocess import Preprocessing
from shared.runtime import GuidanceModel, check_golden
from shared.runtime.look import BOX_SCORES, BOXES, GROUND_LOGITS, HAZARDS, LOOK
from shared.runtime.seen import Observation
from shared.sight import Camera
from shared.sight.ground import GROUND
from tests.shared.runtime import small_eyes
from tests.shared.runtime.altered import rewrite
from tests.shared.runtime.small_eyes import (
    AHEAD,
    BLUE,
    CAR,
    FAR,
    LEFT,
    NAMES,
    PALE,
    PERSON,
    PREPROCESSING,
    RED,
    RIGHT,
    SmallEyes,
    box_of,
    painted,
    write_eyes,
)  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of small eyes alone. Read only."""
    folder = tmp_path_factory.mktemp("eyes") / "bundle"
    small_eyes.export_small(folder)
    return folder


@pytest.fixture(scope="module")
def eyes(alone: Path) -> GuidanceModel:
    return GuidanceModel.load(alone, threads=1, allow_demo=True)


@pytest.fixture
def copy(alone: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(alone, tmp_path / "bundle"))


def model_of(folder: Path) -> dict[str, Any]:
    return dict(bundle.read_manifest(folder).model)


def scores(observation: Observation) -> dict[tuple[str, str], float]:
    return {(hazard.object, hazard.side): hazard.score for hazard in observation.hazards}


# --- alone ------------------------------------------------------------------------------------------------------------


def test_eyes_alone_are_a_whole_bundle(alone: Path) -> None:
    manifest = bundle.verify(alone)
    golden = {"golden/golden.json", "golden/000.jpg", "golden/001.jpg"}
    assert {entry.path for entry in manifest.files} == {LOOK, bundle.BLOCKS_NAME, *golden}
    assert manifest.model["objects"] == ["person", "vehicle"]
    assert manifest.model["look"]["names"] == list(NAMES)
    assert manifest.model["precision"] == "float32"


@pytest.mark.parametrize(("height", "width"), [(240, 320), (480, 640), (360, 640), (640, 360)])
def test_boxes_are_where_the_picture_shows_them_and_hazards_where_they_stand(
    eyes: GuidanceModel, height: int, width: int
) -> None:
    picture = painted((AHEAD, RED), (LEFT, BLUE), height=height, width=width)
    observation = eyes.look(picture)
    found = [(box.object, box.top, box.left, box.bottom, box.right) for box in observation.boxes]
    for name, cell in (("person", AHEAD), ("vehicle", LEFT)):
        assert any(other == name and edges == pytest.approx(box_of(cell), abs=0.02) for other, *edges in found)
    sure = {key for key, score in scores(observation).items() if score > 0.5}
    assert sure == {("person", "ahead"), ("vehicle", "on the left")}
    assert [hazard.score for hazard in observation.hazards] == sorted(scores(observation).values(), reverse=True)
    assert set(scores(observation)) == {(n, s) for n in ("person", "vehicle") for s in vocabulary.SIDES_SEEN}
    assert observation.brightness == pytest.approx(picture.mean() / 255, abs=0.01)


def test_the_most_urgent_thing_is_worded_by_the_table(eyes: GuidanceModel) -> None:
    def said(*cells: tuple[small_eyes.Cell, tuple[int, int, int]]) -> str:
        return eyes.word(eyes.look(painted(*cells))).text

    assert said((AHEAD, BLUE)) == vocabulary.instruct("vehicle", "ahead") == "Stop, vehicle ahead."
    assert said((AHEAD, RED)) == vocabulary.instruct("person", "ahead")
    assert said((LEFT, RED), (AHEAD, BLUE)) == "Stop, vehicle ahead."  # to stop for comes before what is beside
    assert said((RIGHT, BLUE)) == vocabulary.instruct("vehicle", "on the right")
    assert said() == vocabulary.CLEAR


def test_a_word_is_as_sure_as_its_hazard_and_silence_as_nothing_is_there(eyes: GuidanceModel) -> None:
    seen, empty = eyes.look(PERSON), eyes.look(painted((FAR, PALE)))
    assert eyes.word(seen).confidence == seen.hazards[0].score
    assert eyes.word(seen).grammatical
    assert eyes.word(seen).token_ids == ()
    assert eyes.word(empty).text == vocabulary.CLEAR
    assert 0.0 < empty.hazards[0].score < 0.5
    assert eyes.word(empty).confidence == 1.0 - empty.hazards[0].score


def test_the_threshold_of_the_manifest_decides_what_is_worded(copy: Path) -> None:
    rewrite(copy, thresholds={"hazard_above": 1.1})
    model = GuidanceModel.load(copy, threads=1, allow_demo=True)
    assert model.word(model.look(PERSON)).text == vocabulary.CLEAR


def test_where_the_camera_is_worn_decides_how_far_away_a_thing_is(alone: Path, eyes: GuidanceModel) -> None:
    high = GuidanceModel.load(alone, threads=1, allow_demo=True, camera=Camera(height_m=3.0, pitch_deg=-5.0))
    middle = painted(((1, 4, 3), RED))
    assert scores(high.look(middle))["person", "ahead"] < 0.5 < scores(eyes.look(middle))["person", "ahead"]


def test_eyes_alone_have_no_language_model(eyes: GuidanceModel) -> None:
    with pytest.raises(BundleError, match=r"small-1 has no decoder.*language model"):
        _ = eyes.language


def test_what_is_no_picture_is_refused(eyes: GuidanceModel) -> None:
    with pytest.raises(MediaError, match="uint8"):
        eyes.look(np.zeros((8, 8, 3), np.float32))


def test_sound_and_the_look_before_change_nothing(eyes: GuidanceModel) -> None:
    before = eyes.look(CAR)
    plain, more = eyes.look(PERSON), eyes.look(PERSON, np.zeros(32_000, np.float32), before=before)
    assert plain.hazards == more.hazards
    assert more.audio is None
    assert len(more.unseen) == 1  # no row of pictures grows


def test_int8_eyes_see_the_same(alone: Path, tmp_path: Path) -> None:
    manifest = small_eyes.export_small(tmp_path / "int8", quantised=True)
    assert manifest.model["precision"] == "look int8"
    small = GuidanceModel.load(tmp_path / "int8", threads=1, allow_demo=True)
    full = GuidanceModel.load(alone, threads=1, allow_demo=True)
    for picture in (PERSON, CAR, painted()):
        ours, theirs = small.look(picture), full.look(picture)
        assert scores(ours) == pytest.approx(scores(theirs), abs=0.02)
        assert small.word(ours).text == full.word(theirs).text
        assert [box.object for box in ours.boxes] == [box.object for box in theirs.boxes]
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "int8" / "raw.onnx").exists()


def test_modules_that_should_stay_precise_do_and_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    manifest = small_eyes.export_small(tmp_path / "int8", quantised=True, precise=("box_heads", "class_heads"))
    assert manifest.model["precision"] == "look int8"
    nodes = onnx.load(tmp_path / "int8" / LOOK).graph.node
    assert not [node for node in nodes if node.op_type == "QuantizeLinear"]
    with pytest.raises(ValueError, match="no convolution in box_head, neck"):
        small_eyes.export_small(tmp_path / "eyes", quantised=True, precise=("box_head", "class_heads", "neck"))
    assert not (tmp_path / "eyes").exists()


# --- the bundle's test of itself --------------------------------------------------------------------------------------


def test_eyes_that_see_what_they_should_pass(alone: Path) -> None:
    assert check_golden(alone, threads=1) == []


def test_eyes_that_miss_what_must_stop_are_found(copy: Path) -> None:
    shutil.copyfile(copy / "golden" / "001.jpg", copy / "golden" / "000.jpg")
    rewrite(copy)
    missed, few = check_golden(copy, threads=1)
    assert missed == "000.jpg: person ahead was not seen"
    assert few == "only 1 of 2 golden pictures were worded right"


# --- what is no look network ------------------------------------------------------------------------------------------


def refused(folder: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        GuidanceModel.load(folder, threads=1, allow_demo=True)
    assert caught.value.hint
    with pytest.raises(BundleError, match=match):
        check_golden(folder, threads=1)


@pytest.mark.parametrize("names", [[None, "person"], [None, "person", "vehicle", "dog"], []])
def test_names_that_do_not_fit_the_classes_are_refused(copy: Path, names: list[str | None]) -> None:
    model = model_of(copy)
    rewrite(copy, model={**model, "look": {**model["look"], "names": names}})
    refused(copy, r"does not fit together.*box_scores")


def test_a_manifest_that_says_nothing_of_the_look_network_is_refused(copy: Path) -> None:
    rewrite(copy, without="look")
    refused(copy, r"its manifest lacks .look")


@pytest.mark.parametrize(
    "look",
    [{}, [], "text", {"names": [None, "person", "vehicle"]}, {"preprocessing": PREPROCESSING.to_dict()}, {"names": 7}],
)
def test_half_of_what_is_needed_is_refused(copy: Path, look: Any) -> None:
    rewrite(copy, model={**model_of(copy), "look": look})
    refused(copy, "its manifest lacks|does not fit together")


def test_pictures_of_another_size_than_the_graph_takes_are_refused(copy: Path) -> None:
    model = model_of(copy)
    look = {**model["look"], "preprocessing": Preprocessing(300).to_dict()}
    rewrite(copy, model={**model, "look": look})
    refused(copy, r"pixel_values.*96")


def test_a_scoring_that_scores_nothing_is_refused(copy: Path) -> None:
    model = model_of(copy)
    rewrite(copy, model={**model, "look": {**model["look"], "scoring": {"near_scale": -1.0}}})
    refused(copy, "scores nothing")


class Without(nn.Module):
    """Small eyes that lack an output, or have one of another form."""

    def __init__(self, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        super().__init__()
        self.eyes, self.config, self.change = SmallEyes(), None, change

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        seen = self.eyes(pixel_values)
        return self.change({BOXES: seen.boxes, BOX_SCORES: seen.class_logits.sigmoid()})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda out: {BOXES: out[BOXES]}, "no box_scores"),
        (lambda out: {BOX_SCORES: out[BOX_SCORES]}, "no boxes"),
        (lambda out: {**out, BOXES: out[BOXES][..., :3]}, "boxes"),
        (lambda out: {**out, HAZARDS: out[BOXES][:, :7, :3] * 1.0}, "hazard_logits"),
    ],
    ids=["no scores", "no boxes", "boxes with three corners", "a head of other objects"],
)
def test_a_graph_without_what_the_runtime_needs_is_refused(
    copy: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], match: str
) -> None:
    (copy / LOOK).unlink()
    write_eyes(Without(change), copy / LOOK)
    rewrite(copy)
    refused(copy, match)


def test_a_truncated_graph_and_a_foreign_file_are_refused(copy: Path) -> None:
    whole = (copy / LOOK).read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-1], b"not what the name says", b""):
        (copy / LOOK).write_bytes(data)
        rewrite(copy)
        refused(copy, "could not be loaded|manifest lacks")


class Damaged(nn.Module):
    """Says what no network should."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.eyes, self.config, self.value = SmallEyes(), None, value

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        seen = self.eyes(pixel_values)
        broken = seen.class_logits.sigmoid() * 0 + self.value
        return {BOXES: seen.boxes * self.value, BOX_SCORES: broken}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_graph_that_says_no_numbers_fails_at_each_look_and_its_own_test(copy: Path, value: float) -> None:
    (copy / LOOK).unlink()
    write_eyes(Damaged(value), copy / LOOK)
    rewrite(copy)
    with pytest.raises(BundleError, match="no numbers"):
        GuidanceModel.load(copy, threads=1, allow_demo=True).look(PERSON)
    with pytest.raises(BundleError, match="no numbers"):
        check_golden(copy, threads=1)


@pytest.mark.parametrize(
    "camera", [Camera(pitch_deg=-30.0), Camera(pitch_deg=-20.0), Camera(fov_deg=20.0, pitch_deg=-8)]
)
def test_a_camera_that_sees_no_ground_is_refused(alone: Path, camera: Camera) -> None:
    with pytest.raises(ConfigError, match="sees hardly any ground"):
        GuidanceModel.load(alone, threads=1, allow_demo=True, camera=camera)


@pytest.mark.parametrize(
    "changed", [{"objects": ["vehicle"]}, {"objects": []}, {"sides": []}, {"sides": ["on the left", "on the right"]}]
)
def test_classes_and_sides_that_the_manifest_does_not_list_are_refused(copy: Path, changed: dict[str, Any]) -> None:
    rewrite(copy, model={**model_of(copy), **changed})
    refused(copy, "does not list|lacks")


@pytest.mark.parametrize("changed", [{"fit": "pad"}, {"fit": "weird"}, {"std": 0.0}, {"size_px": 64.0}])
def test_pictures_that_the_look_network_cannot_be_shown_are_refused(copy: Path, changed: dict[str, Any]) -> None:
    model = model_of(copy)
    look = {**model["look"], "preprocessing": {**model["look"]["preprocessing"], **changed}}
    rewrite(copy, model={**model, "look": look})
    refused(copy, "cannot be shown|lacks")


def test_a_language_model_that_lost_its_decoder_is_no_bundle_of_eyes_alone(copy: Path) -> None:
    rewrite(copy, model={**model_of(copy), "end_id": 2})
    refused(copy, "lacks|could not be loaded")


def test_a_graph_with_far_out_boxes_sees_nothing_and_fails_its_own_test(copy: Path) -> None:
    (copy / LOOK).unlink()
    write_eyes(Damaged(-1e30), copy / LOOK)
    rewrite(copy)
    model = GuidanceModel.load(copy, threads=1, allow_demo=True)
    observation = model.look(PERSON)
    assert observation.boxes == ()
    assert all(hazard.score == 0.0 for hazard in observation.hazards)
    assert model.word(observation).text == vocabulary.CLEAR
    assert check_golden(copy, threads=1)[0] == "000.jpg: person ahead was not seen"


class OddGround(nn.Module):
    """Three places are no square."""

    def __init__(self) -> None:
        super().__init__()
        self.eyes, self.config = SmallEyes(), None

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        seen = self.eyes(pixel_values)
        ground = torch.zeros(1, 3, len(GROUND)) + seen.boxes.mean() * 0
        return {BOXES: seen.boxes, BOX_SCORES: seen.class_logits.sigmoid(), GROUND_LOGITS: ground}


def test_a_ground_that_is_no_square_is_refused(copy: Path) -> None:
    (copy / LOOK).unlink()
    write_eyes(OddGround(), copy / LOOK)
    rewrite(copy)
    refused(copy, "3 places, which is no square")


def picture_of(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)


def test_the_same_picture_gives_the_same_answer(eyes: GuidanceModel) -> None:
    assert eyes.look(picture_of(1)).hazards == eyes.look(picture_of(1)).hazards
