"""From pictures to what is learnt from them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server import walks
from server.evaluation.answers import CALIBRATION_SEED, HELD_OUT_SEED
from server.learn import batches
from server.learn.batches import (
    WALK_FRAMES,
    Layout,
    drawn,
    from_rendered,
    from_sentence,
    mirror,
    pad_answers,
    patch_labels,
)
from server.model.guide import IGNORE
from shared import vocabulary
from tests.server.learn.parts import flat, layout, shot

LAYOUT = layout()
SIDES = vocabulary.SIDES_SEEN


def at(name: str, side: str) -> tuple[int, int]:
    return LAYOUT.objects.index(name), SIDES.index(side)


def test_a_sentence_says_that_its_thing_is_there_and_nothing_about_others() -> None:
    example = from_sentence(flat(0), "Caution, cone on the left.", LAYOUT)
    there = np.argwhere(example.hazards > 0)
    assert there.tolist() == [list(at("cone", "on the left"))]
    assert example.hazard_weights[at("cone", "on the left")] == 1.0
    assert 0 < example.hazard_weights[at("cone", "ahead")] < 1
    assert set(np.nonzero(example.hazard_weights)[0]) == {LAYOUT.objects.index("cone")}
    assert example.patches is None
    assert example.tile.shape == (128, 128, 3)


def test_a_side_that_no_camera_tells_apart_counts_as_ahead() -> None:
    example = from_sentence(flat(0), "Duck, head obstacle overhead.", LAYOUT)
    assert example.hazards[at("head obstacle", "ahead")] == 1.0


@pytest.mark.parametrize("text", ["", vocabulary.CLEAR])
def test_silence_says_that_nothing_is_there(text: str) -> None:
    example = from_sentence(flat(0), text, LAYOUT)
    assert example.text == vocabulary.CLEAR
    assert not example.hazards.any()
    assert (example.hazard_weights == 1).all()


@pytest.mark.parametrize("text", ["Turn right.", "Follow the path.", "Stop.", "Continue straight.", "Wait."])
def test_a_sentence_without_an_object_says_nothing_of_things(text: str) -> None:
    example = from_sentence(flat(0), text, LAYOUT)
    assert example.text == text, "its words still teach"
    assert not example.hazards.any()
    assert not example.hazard_weights.any()


@given(st.text(max_size=40))
def test_only_confirmed_silence_says_that_all_things_are_absent(text: str) -> None:
    example = from_sentence(flat(0), text, LAYOUT)
    assert bool((example.hazard_weights == 1).all()) == (text in ("", vocabulary.CLEAR))


def test_an_object_that_the_base_was_not_built_for_says_nothing_of_the_others() -> None:
    few = Layout(("pole", "curb"), LAYOUT.preprocessing, LAYOUT.patch_px)
    example = from_sentence(flat(0), "Caution, cone on the left.", few)
    assert not example.hazard_weights.any()


def test_a_rendered_frame_is_known_wholly() -> None:
    for seed in range(8):
        seen = shot(seed)
        example = from_rendered(seen, LAYOUT)
        assert (example.hazard_weights == 1).all()
        assert {tuple(p) for p in np.argwhere(example.hazards > 0).tolist()} == {
            at(s.object, s.side) for s in seen.seen
        }
        assert example.text == seen.instruction
        assert example.patches is not None
        drawn = {LAYOUT.objects.index(walks.DRAWN[v - 1]) + 1 for v in np.unique(seen.mask) if v}
        assert set(example.patches.tolist()) <= drawn | {0}


def test_patches_belong_to_what_covers_enough_of_them() -> None:
    mask = np.zeros((128, 128), np.uint8)
    pole, bin_ = walks.DRAWN.index("pole") + 1, walks.DRAWN.index("bin") + 1
    mask[0:16, 0:3] = pole  # 3 of 16 columns of patch 0: 19 %
    mask[0:16, 16:17] = pole  # 6 % of patch 1: too little
    mask[16:32, 0:10], mask[16:32, 10:16] = bin_, pole  # patch 8: more bin than pole
    mask[112:, 112:] = bin_
    labels = patch_labels(mask, LAYOUT)
    expected = np.zeros(64, np.int64)
    expected[0] = LAYOUT.objects.index("pole") + 1
    expected[8] = expected[63] = LAYOUT.objects.index("bin") + 1
    assert labels.tolist() == expected.tolist()


def test_patch_labels_do_not_depend_on_the_masks_size() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[5, 2] = walks.DRAWN.index("door") + 1
    large = np.repeat(np.repeat(mask, 40, axis=0), 50, axis=1)
    assert patch_labels(mask, LAYOUT).tolist() == patch_labels(large, LAYOUT).tolist()
    assert patch_labels(mask, LAYOUT)[5 * 8 + 2] == LAYOUT.objects.index("door") + 1


def test_a_mirror_exchanges_left_and_right() -> None:
    image, text = mirror(flat(1), "Keep left, pole on the right.")
    assert text == "Keep right, pole on the left."
    assert mirror(flat(1), vocabulary.CLEAR)[1] == vocabulary.CLEAR
    marked = np.zeros((2, 3, 3), np.uint8)
    marked[0, 0] = 9
    assert mirror(marked, "")[0][0, 2].tolist() == [9, 9, 9]
    assert image.flags.c_contiguous


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))),
    st.sampled_from([*vocabulary.load().objects]),
    st.sampled_from(SIDES),
)
def test_a_mirror_of_a_mirror_is_the_moment_itself(image: np.ndarray, name: str, side: str) -> None:
    text = vocabulary.instruct(name, side)
    again, words = mirror(*mirror(image, text))
    assert (again == image).all()
    assert words == text
    swapped = vocabulary.parse(mirror(image, text)[1])
    swap = {"on the left": "on the right", "on the right": "on the left", "ahead": "ahead"}
    assert swapped is not None
    assert (swapped.object, swapped.side) == (name, swap[side])


def test_a_varied_picture_keeps_its_size_and_stays_a_picture() -> None:
    image = shot(0).image
    varied = batches.vary(image, np.random.default_rng(1))
    assert varied.shape == image.shape
    assert varied.dtype == np.uint8
    assert (varied != image).any()
    assert (varied == batches.vary(image, np.random.default_rng(1))).all()


@given(st.lists(st.lists(st.integers(0, 500), min_size=1, max_size=16), min_size=1, max_size=6))
def test_padded_answers_hold_every_answer_and_nothing_else(rows: list[list[int]]) -> None:
    padded = pad_answers(rows)
    assert padded.dtype == torch.long
    assert padded.shape == (len(rows), max(map(len, rows)))
    assert [[i for i in row if i != IGNORE] for row in padded.tolist()] == rows
    assert all(
        row[len(answer) :] == [IGNORE] * (padded.shape[1] - len(answer))
        for row, answer in zip(padded.tolist(), rows, strict=True)
    )


def test_frames_of_walks_are_drawn_in_the_share_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    along = walks.walk_along

    def noted(route: Any, **options: Any) -> walks.Walk:
        seeds.append(options["seed"])
        return along(route, **options)

    monkeypatch.setattr(walks, "walk_along", noted)
    counts = []
    for share in (0.0, 1.0):
        seeds.clear()
        made = list(islice(drawn(np.random.default_rng(3), walks.KNOWN, LAYOUT, walks_share=share), WALK_FRAMES + 1))
        counts.append(len(seeds))
        assert all(example.patches is not None and (example.hazard_weights == 1).all() for example in made)
        assert any(example.hazards.any() for example in made)
        assert all(seed < CALIBRATION_SEED < HELD_OUT_SEED for seed in seeds), "training never walks where it is judged"
    assert counts == [0, 2]
