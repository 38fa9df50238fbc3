"""Where person and detector agree on a thing and its side, the box says which patches show it."""

from __future__ import annotations

import numpy as np
import pytest

from server.learn.batches import Layout, from_sentence
from server.learn.weak import BoxLabels, box_of, box_patches
from server.model.guide import IGNORE
from shared import vocabulary
from shared.sight import Box
from tests.shared.runtime import small_eyes

ASPECT = 4 / 3
NEAR = Box("person", 0.6, 0.4, 0.3, 0.6, 0.9)
LEFT = Box("person", 0.9, 0.0, 0.3, 0.2, 0.8)
CAR = Box("vehicle", 0.9, 0.35, 0.3, 0.65, 0.9)
FAR_AHEAD = Box("person", 0.7, 0.48, 0.35, 0.52, 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Caution, person ahead.", NEAR),
        ("Caution, person on the left.", LEFT),
        ("Caution, person on the right.", None),
        ("Stop, vehicle ahead.", CAR),
        ("Stop, curb ahead.", None),
        ("Turn right.", None),
        (vocabulary.CLEAR, None),
        ("", None),
    ],
)
def test_the_box_of_the_thing_at_its_side_is_taken(text: str, expected: Box | None) -> None:
    assert box_of(text, (LEFT, CAR, FAR_AHEAD, NEAR), aspect=ASPECT) == expected


def test_a_box_that_hangs_or_is_hardly_one_is_none() -> None:
    hanging, faint = Box("person", 0.9, 0.4, 0.0, 0.6, 0.1), Box("person", 0.2, 0.4, 0.3, 0.6, 0.9)
    assert box_of("Caution, person ahead.", (hanging, faint), aspect=ASPECT) is None


def test_patches_inside_the_box_are_labelled_and_of_the_others_nobody_said() -> None:
    labels = box_patches(NEAR, 7, 10).reshape(10, 10)
    assert (labels[3:9, 4:6] == 8).all()
    assert (labels == 8).sum() == 12
    assert set(labels.ravel().tolist()) == {8, IGNORE}


@pytest.mark.parametrize("box", [FAR_AHEAD, Box("person", 0.9, 0.99, 0.99, 1.0, 1.0), Box("person", 0.9, 0, 0, 1, 1)])
def test_a_box_of_any_size_labels_at_least_its_middle(box: Box) -> None:
    labels = box_patches(box, 0, 10).reshape(10, 10)
    middle = min(int((box.top + box.bottom) * 5), 9), min(int((box.left + box.right) * 5), 9)
    assert labels[middle] == 1


def test_the_detector_labels_what_it_sees_of_what_was_said_through_onnx() -> None:
    layout = Layout(("curb", "person", "vehicle"), small_eyes.PREPROCESSING, 12)
    picture = np.full((96, 96, 3), small_eyes.GREY, np.uint8)
    picture[64:96, 32:64] = small_eyes.RED
    texts = ("Caution, person ahead.", "Caution, person on the left.", "Stop, curb ahead.", "")
    examples = [from_sentence(picture, text, layout) for text in texts]
    found = BoxLabels(small_eyes.SmallEyes().eval(), small_eyes.NAMES, layout).labelled(examples, aspect=1.0)
    assert [example.patches is None for example in found] == [False, True, True, True]
    labels = found[0].patches
    assert labels is not None
    shown = np.argwhere(labels.reshape(layout.grid, layout.grid) == 2)
    assert len(shown)
    assert {tuple(at) for at in shown.tolist()} <= {(row, column) for row in (5, 6, 7) for column in (2, 3, 4, 5)}
    assert [example.text for example in found] == [example.text for example in examples]
