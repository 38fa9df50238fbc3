"""A look network beside a language model: with a hazard head and without, near what it knows and far from it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared import bundle, vocabulary
from shared.calibration import Calibration
from shared.runtime import GuidanceModel
from shared.runtime.execution import Execution
from shared.runtime.language import DECODER, VISION
from shared.runtime.look import BOX_SCORES, BOXES, LOOK
from shared.runtime.seen import Observation
from shared.sight.ground import GROUND
from tests.shared.runtime.altered import golden_picture, rewrite
from tests.shared.runtime.small_eyes import CAR, NAMES, PERSON, PREPROCESSING, WithHead, write_eyes


def model_of(folder: Path) -> dict[str, Any]:
    return dict(bundle.read_manifest(folder).model)


def scores(observation: Observation) -> dict[tuple[str, str], float]:
    return {(hazard.object, hazard.side): hazard.score for hazard in observation.hazards}


@dataclass(frozen=True)
class Counting(Execution):
    """Notes what is run: look or vision."""

    ran: list[str] = field(default_factory=list)

    def session(self, file: Path, *, providers: tuple[str, ...] | None = None) -> onnxruntime.InferenceSession:
        session = super().session(file, providers=providers)
        if file.name in (LOOK, VISION, DECODER):
            run = session.run

            def noted(*arguments: Any) -> Any:
                self.ran.append(file.name)
                return run(*arguments)

            session.run = noted
        return session


@pytest.fixture(scope="module")
def head_graph(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small eyes with a head for the starter's objects: red is a curb ahead."""
    model = model_of(starter_bundle)
    red = model["objects"].index("curb") * len(model["sides"]) + model["sides"].index("ahead")
    file = tmp_path_factory.mktemp("head") / LOOK
    write_eyes(WithHead(len(model["objects"]), len(model["sides"]), red=red), file)
    return file


def both(starter_bundle: Path, graph: Path, folder: Path, **model: Any) -> Path:
    """The starter with that look network."""
    shutil.copytree(starter_bundle, folder)
    shutil.copyfile(graph, folder / LOOK)
    look = {"preprocessing": PREPROCESSING.to_dict(), "names": list(NAMES)}
    rewrite(folder, model={**model_of(folder), "look": look, **model})
    return folder


def test_where_the_look_network_has_a_head_the_vision_encoder_runs_only_when_something_is_worded(
    starter_bundle: Path, head_graph: Path, tmp_path: Path, model: GuidanceModel
) -> None:
    counting = Counting(1)
    folder = both(starter_bundle, head_graph, tmp_path / "both")
    two = GuidanceModel.load(folder, allow_demo=True, execution=counting)
    counting.ran.clear()
    pictures = [golden_picture(starter_bundle, number) for number in range(6)]
    looks = [two.look(picture) for picture in pictures]
    assert counting.ran == [LOOK] * len(pictures)
    assert all(look.image_tokens.shape == (1, 0, 0) for look in looks)
    counting.ran.clear()
    said = [two.word(look) for look in looks]
    assert counting.ran.count(VISION) == len(pictures)
    assert LOOK not in counting.ran
    starter = [model.word(model.look(picture), drafted=False) for picture in pictures]
    assert [one.text for one in said] == [other.text for other in starter]  # the very pictures of those looks


def test_of_two_frames_the_picture_of_the_look_before_is_shown_too(
    starter_bundle: Path, head_graph: Path, tmp_path: Path
) -> None:
    between = {"frames": 2, "between_ids": [4, 4, 5]}
    folder = both(starter_bundle, head_graph, tmp_path / "both", **between)
    eager = Path(shutil.copytree(starter_bundle, tmp_path / "eager"))
    rewrite(eager, model={**model_of(eager), **between})
    counting = Counting(1)
    late = GuidanceModel.load(folder, allow_demo=True, execution=counting)
    at_once = GuidanceModel.load(eager, threads=1, allow_demo=True)
    one, two, three = (golden_picture(starter_bundle, number) for number in (0, 8, 3))
    counting.ran.clear()
    first = late.look(one)
    second = late.look(two, before=first)
    third = late.look(three, before=second)
    assert counting.ran == [LOOK] * 3
    assert [len(look.unseen) for look in (first, second, third)] == [1, 2, 2]  # no row of pictures grows
    expected_first = at_once.look(one)
    expected_second = at_once.look(two, before=expected_first)
    expected_third = at_once.look(three, before=expected_second)
    pairs = ((first, expected_first), (second, expected_second), (third, expected_third))
    for ours, theirs in pairs:
        plain = {"constrained": False, "drafted": False, "most_tokens": 16}
        assert late.word(ours, **plain).token_ids == at_once.word(theirs, **plain).token_ids  # type: ignore[arg-type]
    assert late.word(second, **plain).token_ids != late.word(late.look(two), **plain).token_ids  # type: ignore[arg-type]
    counting.ran.clear()
    late.word(third)
    assert counting.ran.count(VISION) == 2


def test_head_and_boxes_are_combined_whichever_is_surer(starter_bundle: Path, head_graph: Path, tmp_path: Path) -> None:
    two = GuidanceModel.load(both(starter_bundle, head_graph, tmp_path / "both"), threads=1, allow_demo=True)
    red, car = scores(two.look(PERSON)), scores(two.look(CAR))
    assert red["person", "ahead"] > 0.9  # by its box
    assert red["curb", "ahead"] > 0.5  # by the head, of which no box can speak
    assert car["vehicle", "on the left"] > 0.9
    calibration = Calibration.from_dict(two.manifest.model.get("calibration", {}))
    low = float(calibration.hazards(np.array([-4.0], np.float32))[0])
    assert car["pole", "ahead"] == pytest.approx(low, abs=1e-4)
    assert car["person", "ahead"] == pytest.approx(low, abs=1e-4)


def test_without_a_head_of_its_own_the_look_network_adds_boxes_to_what_the_starter_sees(
    starter_bundle: Path, alone: Path, tmp_path: Path, model: GuidanceModel
) -> None:
    counting = Counting(1)
    folder = both(starter_bundle, alone / LOOK, tmp_path / "both")
    two = GuidanceModel.load(folder, allow_demo=True, execution=counting)
    eyes = GuidanceModel.load(alone, threads=1, allow_demo=True)
    pictures = [golden_picture(starter_bundle, number) for number in range(4)]
    counting.ran.clear()
    for picture in (PERSON, CAR, *pictures):
        seen = two.look(picture)
        starters, boxes = scores(model.look(picture)), scores(eyes.look(picture))
        assert set(scores(seen)) == set(starters)
        expected = {key: max(score, boxes.get(key, 0.0)) for key, score in starters.items()}
        assert scores(seen) == pytest.approx(expected, abs=1e-6)
        assert [hazard.score for hazard in seen.hazards] == sorted(expected.values(), reverse=True)
        assert np.array_equal(seen.image_tokens, model.look(picture).image_tokens)
    assert counting.ran == [LOOK, VISION] * 6
    counting.ran.clear()
    assert two.word(two.look(pictures[0])).text == model.word(model.look(pictures[0])).text
    assert counting.ran.count(VISION) == 1  # it has looked already


def test_a_head_that_says_no_numbers_does_not_hide_a_box(starter_bundle: Path, tmp_path: Path) -> None:
    model = model_of(starter_bundle)
    broken = WithHead(len(model["objects"]), len(model["sides"]), red=0)
    broken.which.fill_(torch.nan)
    write_eyes(broken, tmp_path / LOOK)
    two = GuidanceModel.load(both(starter_bundle, tmp_path / LOOK, tmp_path / "both"), threads=1, allow_demo=True)
    seen = two.look(PERSON)
    assert (seen.hazards[0].object, seen.hazards[0].side) == ("person", "ahead")
    assert seen.hazards[0].score > 0.9


@pytest.fixture(scope="module")
def measuring(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> GuidanceModel:
    """The starter with small eyes that measure how far a picture is from what they know: what is blue is far."""
    model, folder = model_of(starter_bundle), tmp_path_factory.mktemp("measuring")
    red = model["objects"].index("curb") * len(model["sides"]) + model["sides"].index("ahead")
    head = WithHead(len(model["objects"]), len(model["sides"]), red=red, distance=True)
    write_eyes(head, folder / LOOK)
    return GuidanceModel.load(both(starter_bundle, folder / LOOK, folder / "both"), threads=1, allow_demo=True)


def test_near_what_it_knows_the_head_speaks_and_far_from_it_the_boxes(measuring: GuidanceModel) -> None:
    near, far = measuring.look(PERSON), measuring.look(CAR)
    assert (near.far, far.far) == (False, True)
    assert scores(near)["curb", "ahead"] > 0.5
    assert scores(near)["person", "ahead"] < 0.1  # there is a box of one
    assert scores(far)["vehicle", "on the left"] > 0.9
    assert {key for key, score in scores(far).items() if score > 0.001} == {("vehicle", "on the left")}
    assert scores(near)["pole", "ahead"] > 0.001  # the head, not doubted


def test_far_from_what_it_knows_the_table_words_the_boxes(measuring: GuidanceModel) -> None:
    said = measuring.word(measuring.look(CAR))
    assert said.text == vocabulary.instruct("vehicle", "on the left")
    assert said.passes == 0  # the decoder was not asked
    assert measuring.word(measuring.look(PERSON)).passes > 0


class HeadAlone(WithHead):
    """Without boxes."""

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        found = super().forward(pixel_values)
        return {name: value for name, value in found.items() if name not in (BOXES, BOX_SCORES)}


@pytest.fixture(scope="module")
def boxless(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> GuidanceModel:
    """The same eyes as `measuring`, but they give no boxes."""
    model, folder = model_of(starter_bundle), tmp_path_factory.mktemp("boxless")
    red = model["objects"].index("curb") * len(model["sides"]) + model["sides"].index("ahead")
    write_eyes(HeadAlone(len(model["objects"]), len(model["sides"]), red=red, distance=True), folder / LOOK)
    bundle = both(starter_bundle, folder / LOOK, folder / "both")
    look = model_of(bundle)["look"]
    rewrite(bundle, model={**model_of(bundle), "look": {**look, "names": []}})
    return GuidanceModel.load(bundle, threads=1, allow_demo=True)


def test_eyes_without_boxes_are_a_head_that_falls_silent_far_from_what_it_knows(
    boxless: GuidanceModel, measuring: GuidanceModel
) -> None:
    near, far = boxless.look(PERSON), boxless.look(CAR)
    assert (near.far, near.boxes, near.view) == (False, (), None)
    assert scores(near) == pytest.approx(scores(measuring.look(PERSON)), abs=1e-6)
    assert (far.far, far.boxes, far.view, far.by_head) == (True, (), None, ())
    assert max(scores(far).values()) < 0.001
    said = boxless.word(far)
    assert (said.text, said.passes) == (vocabulary.CLEAR, 0)  # what guidance then says is "Guidance is unsure."


def test_far_from_what_it_knows_a_head_without_boxes_may_still_be_sure_of_one_thing(boxless: GuidanceModel) -> None:
    """Just far, and so sure that the doubt leaves it above its threshold."""
    red = np.full((96, 96, 3), 100, np.uint8)
    red[:, :, 0] = 220
    red[:4, :, 2] = 250
    seen = boxless.look(red)
    assert scores(seen)["curb", "ahead"] > 0.5


def test_after_a_far_picture_the_next_must_be_clearly_near(measuring: GuidanceModel) -> None:
    def tinted(distance: float) -> NDArray[np.uint8]:
        grey = np.full((96, 96, 3), 100, np.uint8)
        grey[:2, : round(distance * 96 * 96 / 100 * 127.5 / 100 / 2)] = (100, 100, 200)
        return grey

    far, between, near = (measuring.look(tinted(distance)) for distance in (1.1, 0.96, 0.5))
    assert (far.far, between.far, near.far) == (True, False, False)
    assert measuring.look(tinted(0.96), before=far).far
    assert not measuring.look(tinted(0.5), before=far).far
    assert not measuring.look(tinted(0.96), before=near).far


def test_the_ground_is_a_square_of_classes(measuring: GuidanceModel) -> None:
    ground = measuring.look(PERSON).ground
    assert ground is not None
    assert [[GROUND[at] for at in row] for row in ground] == [["walkable", "road"], ["walkable", "walkable"]]


def test_the_picture_that_is_worded_later_is_the_one_that_was_looked_at(
    starter_bundle: Path, head_graph: Path, tmp_path: Path
) -> None:
    two = GuidanceModel.load(both(starter_bundle, head_graph, tmp_path / "both"), threads=1, allow_demo=True)
    first = two.look(golden_picture(starter_bundle, 0))
    said = two.word(first)
    two.look(golden_picture(starter_bundle, 5))
    assert two.word(first) == said
