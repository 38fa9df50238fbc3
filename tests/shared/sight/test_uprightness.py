"""Which way up a camera hangs, from what a detector finds in turned copies."""

from __future__ import annotations

import numpy as np
import pytest

from shared.sight import Box, Uprightness, due, turned_copy, weigh
from shared.sight.uprightness import CHECKS_MOST, EVERY_S, NEEDED, TURNS_DEG


def boxes(rng: np.random.Generator, mean: float) -> list[Box]:
    """As many points of score as a picture has on average, in one or two things; often none."""
    count = int(rng.poisson(mean / 0.35))
    return [Box("person", 0.3 + float(rng.uniform(0.1, 0.6)), 0.4, 0.3, 0.6, 0.9) for _ in range(count)]


def walked(right: int, *, mean: float = 0.6, faint: float = 0.05, seed: int = 1) -> Uprightness:
    """A walk whose pictures are the right way up after this turn."""
    rng, state = np.random.default_rng(seed), Uprightness()
    for look in range(400):
        turn_deg = due(state, look / 4)
        if turn_deg is not None:
            found = boxes(rng, mean if turn_deg == right else faint)
            state = weigh(state, turn_deg, boxes(rng, mean if right == 0 else faint), found, look / 4)
    return state


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("right", [0, *TURNS_DEG])
def test_each_way_up_is_told(right: int, seed: int) -> None:
    """The means are those of real pictures."""
    assert walked(right, seed=seed).upright_deg == right


def test_where_nothing_is_seen_nothing_is_told_and_it_ends() -> None:
    state = walked(180, mean=0.0, faint=0.0)
    assert state.upright_deg is None
    assert state.checks == CHECKS_MOST
    assert due(state, 1e6) is None


def test_what_is_decided_is_not_asked_again() -> None:
    assert due(walked(0), 1e6) is None
    assert due(walked(180), 1e6) is None


def test_checks_have_time_between_them_and_take_turns() -> None:
    state, asked = Uprightness(), []
    for look in range(20):
        turn_deg = due(state, look * EVERY_S / 2)
        if turn_deg is not None:
            asked.append(turn_deg)
            state = weigh(state, turn_deg, (), (), look * EVERY_S / 2)
    assert asked == [*TURNS_DEG, *TURNS_DEG]


def test_faint_boxes_decide_nothing() -> None:
    state, faint = Uprightness(), [Box("person", 0.3, 0.4, 0.3, 0.6, 0.9)] * 9
    for look in range(30):
        state = weigh(state, TURNS_DEG[look % 5], (), faint, float(look))
    assert state.upright_deg is None


def test_one_sure_thing_alone_decides_nothing() -> None:
    sure = Box("person", 0.95, 0.4, 0.3, 0.6, 0.9)
    assert sure.score - 0.3 < NEEDED
    assert weigh(Uprightness(), 180, (), (sure,), 0.0).upright_deg is None


def test_a_copy_is_turned_counter_clockwise_and_a_leaning_one_keeps_its_size() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 50:] = 255  # a bright right edge
    assert turned_copy(image, 90)[:10].min() == 255
    assert turned_copy(image, 180)[:, :10].min() == 255
    leaning = turned_copy(image, 30)
    assert leaning.shape == image.shape
    bright = np.argwhere(leaning[..., 0] > 128).mean(axis=0)
    assert bright[0] < 20, "the right edge goes up"
