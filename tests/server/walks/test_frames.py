"""Random frames: the same seed gives the same frame, and picture, mask, `seen` and instruction tell one story."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.walks import DRAWN, HELD_BACK, KNOWN, Rendered, random_frame, truth
from server.walks.catalogue import DRAWINGS, KINDS
from server.walks.frames import random_scene
from server.walks.paint import paint
from shared import vocabulary
from shared.errors import ConfigError

SEEDS = st.integers(0, 2**32 - 1)


NOT_DRAWN = [
    "bus stop", "child cart", "corner", "crowd", "curb ramp", "dog", "driveway", "elevator", "escalator",
    "narrow path", "obstacle", "scooter", "sidewalk", "slope", "step", "street edge", "tactile paving",
    "train tracks", "uneven ground", "walk signal",
]  # fmt: skip


def frame(seed: int, *, objects: tuple[str, ...] = KNOWN, want: str | None = None) -> Rendered:
    return random_frame(np.random.default_rng(seed), objects=objects, want=want)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_frame(seed: int) -> None:
    first, second = frame(seed), frame(seed)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert (first.seen, first.instruction) == (second.seen, second.instruction)


def test_other_seeds_give_other_frames() -> None:
    assert len({frame(seed).image.tobytes() for seed in range(30)}) == 30


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_everything_seen_shows_in_the_mask_and_comes_in_order_of_urgency(seed: int) -> None:
    made = frame(seed, objects=DRAWN)
    assert made.image.shape == (120, 160, 3)
    assert made.image.dtype == made.mask.dtype == np.uint8
    assert made.mask.shape == (120, 160)
    assert int(made.mask.max()) <= len(DRAWN)
    for seen in made.seen:
        pixels = int(np.count_nonzero(made.mask == DRAWN.index(seen.object) + 1))
        assert pixels >= seen.area * made.mask.size - 0.5
        assert seen.area >= truth.MIN_AREA
        assert 0.0 < seen.bottom <= 1.0
        assert seen.side in vocabulary.SIDES_SEEN
    assert list(made.seen) == sorted(made.seen, key=truth.urgency)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_instruction_names_the_first_of_what_is_seen_and_may_be_said(seed: int) -> None:
    made = frame(seed, objects=DRAWN)
    if not made.seen:
        assert made.instruction == vocabulary.CLEAR
        return
    assert made.instruction == vocabulary.instruct(made.seen[0].object, made.seen[0].side)
    assert vocabulary.problems(made.instruction) == []


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_what_is_held_back_never_shows_in_frames_of_what_is_known(seed: int) -> None:
    made = frame(seed)
    for name in HELD_BACK:
        assert not (made.mask == DRAWN.index(name) + 1).any()


@given(SEEDS, st.sampled_from(DRAWN))
@settings(max_examples=80, deadline=None)
def test_a_wanted_thing_is_the_one_that_is_named(seed: int, name: str) -> None:
    made = frame(seed, objects=(*KNOWN, name) if name in HELD_BACK else KNOWN, want=name)
    assert made.seen[0].object == name
    slots = vocabulary.parse(made.instruction)
    assert slots is not None
    assert slots.object == name
    assert made.seen[0].area >= 0.005


@given(SEEDS, st.sampled_from([name for name in DRAWN if name not in ("curb", "vehicle", "drop-off")]))
@settings(max_examples=60, deadline=None)
def test_what_is_beside_the_path_shows_on_that_side_of_the_picture(seed: int, name: str) -> None:
    scene = random_scene(np.random.default_rng(seed), objects=(name,), target=name, alone=True)
    _, ids, drawn_px = paint(scene, width_px=160, height_px=120)
    for i, seen in truth.judged(scene.things, scene.pose, ids, drawn_px):
        middle = float(np.flatnonzero((ids == i + 1).any(axis=0)).mean()) / 160 - 0.5
        if seen.side == "on the left":
            assert middle < 0.02
        elif seen.side == "on the right":
            assert middle > -0.02
        elif name not in ("head obstacle", "crosswalk", "stairs up", "stairs down"):
            assert abs(middle) < 0.42


def test_a_frame_with_nothing_to_say_is_clear() -> None:
    made = random_frame(np.random.default_rng(4), clear_share=1.0)
    assert made.seen == ()
    assert made.instruction == vocabulary.CLEAR


def test_classes_and_sides_are_even_enough_to_learn_from() -> None:
    rng = np.random.default_rng(8)
    made = [random_frame(rng, width_px=96, height_px=72).seen for _ in range(800)]
    named = Counter(seen[0].object for seen in made if seen)
    sides = Counter(seen[0].side for seen in made if seen)
    assert set(named) == set(KNOWN)
    assert min(named.values()) > 0.5 * 800 * 0.88 / len(KNOWN)
    assert 0.05 < sum(not seen for seen in made) / 800 < 0.2
    assert min(sides.values()) > 0.18 * sum(sides.values())


@pytest.mark.parametrize("size", [(96, 72), (128, 128), (320, 240)])
def test_any_size_works(size: tuple[int, int]) -> None:
    for name in KNOWN:
        made = random_frame(np.random.default_rng(2), want=name, width_px=size[0], height_px=size[1])
        assert made.image.shape == (size[1], size[0], 3)


def test_a_class_that_cannot_be_drawn_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="elevator"):
        random_frame(np.random.default_rng(1), want="elevator")
    with pytest.raises(ConfigError, match="Choose from"):
        random_frame(np.random.default_rng(1), objects=())


def test_everything_drawn_is_in_the_vocabulary() -> None:
    assert set(DRAWN) <= set(vocabulary.load().objects)
    assert len(set(DRAWN)) == len(DRAWN)


def test_every_drawing_is_of_an_object_with_kinds_and_the_objects_without_one_are_these() -> None:
    """An object added to the vocabulary is drawn (`@draws` in server/walks), or named here: it is learnt from what
    devices send alone."""
    assert set(DRAWINGS) == set(KINDS) == set(DRAWN)
    assert sorted(set(vocabulary.load().objects) - set(DRAWN)) == NOT_DRAWN
