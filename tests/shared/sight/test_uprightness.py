"""Which way up a camera hangs, from what a detector finds in turned copies."""

from __future__ import annotations

import numpy as np
import pytest

from shared.sight import Box, Uprightness, due, weigh
from shared.sight.uprightness import CHECKS_MOST, EVERY_S, NEEDED, QUARTERS


def boxes(rng: np.random.Generator, mean: float) -> list[Box]:
    """As many points of score as a picture has on average, in one or two things; often none."""
    count = int(rng.poisson(mean / 0.35))
    return [Box("person", 0.3 + float(rng.uniform(0.1, 0.6)), 0.4, 0.3, 0.6, 0.9) for _ in range(count)]


def walked(right: int, *, mean: float = 0.6, faint: float = 0.05, seed: int = 1) -> Uprightness:
    """A walk whose pictures are the right way up after this many quarter turns."""
    rng, state = np.random.default_rng(seed), Uprightness()
    for look in range(400):
        quarters = due(state, look / 4)
        if quarters is not None:
            found = boxes(rng, mean if quarters == right else faint)
            state = weigh(state, quarters, boxes(rng, mean if right == 0 else faint), found, look / 4)
    return state


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("right", range(4))
def test_each_way_up_is_told(right: int, seed: int) -> None:
    """The means are those of real pictures."""
    assert walked(right, seed=seed).quarters == right


def test_where_nothing_is_seen_nothing_is_told_and_it_ends() -> None:
    state = walked(2, mean=0.0, faint=0.0)
    assert state.quarters is None
    assert state.checks == CHECKS_MOST
    assert due(state, 1e6) is None


def test_what_is_decided_is_not_asked_again() -> None:
    assert due(walked(0), 1e6) is None
    assert due(walked(2), 1e6) is None


def test_checks_have_time_between_them_and_take_turns() -> None:
    state, asked = Uprightness(), []
    for look in range(12):
        quarters = due(state, look * EVERY_S / 2)
        if quarters is not None:
            asked.append(quarters)
            state = weigh(state, quarters, (), (), look * EVERY_S / 2)
    assert asked == [*QUARTERS, *QUARTERS]


def test_faint_boxes_decide_nothing() -> None:
    state, faint = Uprightness(), [Box("person", 0.3, 0.4, 0.3, 0.6, 0.9)] * 9
    for look in range(30):
        state = weigh(state, QUARTERS[look % 3], (), faint, float(look))
    assert state.quarters is None


def test_one_sure_thing_alone_decides_nothing() -> None:
    sure = Box("person", 0.95, 0.4, 0.3, 0.6, 0.9)
    assert sure.score - 0.3 < NEEDED
    assert weigh(Uprightness(), 2, (), (sure,), 0.0).quarters is None
