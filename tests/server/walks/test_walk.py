"""Whole walks: repeatable, smooth, with the encounters asked for and truth that adds up."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.walks import DRAWN, HELD_BACK, ROUTES, Walk, chunk_truths, plan_walk, render_frame, walk_from_name
from server.walks.chunks import hazard_events
from server.walks.walk import TURN_S, pose_at, scene_at, seen_at, turning
from shared import vocabulary
from shared.errors import ConfigError

TIMES = st.floats(0, 29.9)


@cache
def town() -> Walk:
    return walk_from_name("town", seed=3, duration_s=30)


@cache
def works() -> Walk:
    return walk_from_name("works", seed=1, duration_s=60)


def test_the_same_seed_plans_the_same_walk() -> None:
    assert walk_from_name("town", seed=3, duration_s=30) == town()
    assert walk_from_name("town", seed=4, duration_s=30) != town()


@given(TIMES)
@settings(max_examples=15, deadline=None)
def test_a_frame_is_the_same_whenever_it_is_asked_for(t_s: float) -> None:
    first = render_frame(town(), t_s)
    render_frame(town(), 1.0)
    assert np.array_equal(first.image, render_frame(town(), t_s).image)


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_seen_without_a_frame_is_what_the_frame_shows(route: str) -> None:
    """Nights, rain, mist, shadows and the texture of things: none of it decides what is seen."""
    walk = walk_from_name(route, seed=7, duration_s=20)
    found = [seen_at(walk, float(t_s)) for t_s in np.arange(0.5, 20.0)]
    assert found == [render_frame(walk, float(t_s)).seen for t_s in np.arange(0.5, 20.0)]
    assert any(found)


@given(TIMES)
@settings(max_examples=100, deadline=None)
def test_the_camera_moves_smoothly_but_for_the_turns(t_s: float) -> None:
    leg = town().leg_at(t_s)
    if turning(leg, t_s) or t_s - leg.start_s < TURN_S + 0.1 or leg.end_s - t_s < TURN_S + 0.1:
        return
    before, after = pose_at(leg, t_s - 0.03), pose_at(leg, t_s + 0.03)
    assert abs(after.x_m - before.x_m) < 0.15
    assert 0.02 < after.z_m - before.z_m < 0.1
    assert abs(after.yaw - before.yaw) < 0.12
    assert abs(after.y_m - before.y_m) < 0.06


@given(TIMES)
@settings(max_examples=60, deadline=None)
def test_things_keep_their_look_and_place_from_frame_to_frame(t_s: float) -> None:
    leg = town().leg_at(t_s)
    for planned, now in zip(leg.things, scene_at(town(), t_s).things, strict=True):
        assert (planned.object, planned.look, planned.variant) == (now.object, now.look, now.variant)
        assert now.x_m == planned.x_m + planned.vx_mps * (t_s - leg.start_s)


@given(TIMES)
@settings(max_examples=100, deadline=None)
def test_the_walker_keeps_clear_of_the_walls(t_s: float) -> None:
    leg = town().leg_at(t_s)
    x = pose_at(leg, t_s).x_m
    assert leg.place.left_wall_m + 0.5 < x < leg.place.right_wall_m - 0.5


def test_the_works_route_has_a_cone_first_in_at_least_20_chunks_of_a_minute() -> None:
    named = [truth.seen[0].object for truth in chunk_truths(works()) if truth.seen]
    assert named.count("cone") >= 20
    assert len(set(named)) >= 4


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_every_route_can_be_walked_and_said(name: str) -> None:
    truths = chunk_truths(walk_from_name(name, seed=2, duration_s=24))
    assert [t.index for t in truths] == list(range(12))
    for truth in truths:
        assert truth.end_s - truth.start_s == pytest.approx(2.0)
        if truth.seen:
            assert truth.instruction == vocabulary.instruct(truth.seen[0].object, truth.seen[0].side)
            assert vocabulary.problems(truth.instruction) == []
        else:
            assert truth.instruction == vocabulary.CLEAR
        assert {seen.object for seen in truth.seen} <= set(ROUTES[name].objects)


def test_truths_agree_with_the_middle_frame() -> None:
    for truth in chunk_truths(town()):
        frame = render_frame(town(), (truth.start_s + truth.end_s) / 2)
        assert (frame.instruction, frame.seen) == (truth.instruction, truth.seen)


def test_events_come_in_order_and_each_belongs_to_one_chunk() -> None:
    events = hazard_events(town())
    assert events
    assert [e.t_visible_s for e in events] == sorted(e.t_visible_s for e in events)
    for event in events:
        assert 0 <= event.t_visible_s <= event.t_deadline_s <= town().duration_s
        assert event.tier == vocabulary.tier(vocabulary.Slots("", event.object, event.side))
    assert tuple(itertools.chain.from_iterable(t.events for t in chunk_truths(town()))) == events


def test_what_the_starter_knows_holds_nothing_back_by_mistake() -> None:
    for t_s in np.arange(0.5, 30, 1.5):
        mask = render_frame(town(), float(t_s)).mask
        assert not any((mask == DRAWN.index(name) + 1).any() for name in HELD_BACK)


def test_a_rest_of_half_a_second_is_a_chunk_and_less_is_not() -> None:
    walk = plan_walk(5, duration_s=4.6, objects=("pole", "bin"))
    assert [round(t.end_s - t.start_s, 3) for t in chunk_truths(walk)] == [2.0, 2.0, 0.6]
    assert len(chunk_truths(plan_walk(5, duration_s=4.4, objects=("pole", "bin")))) == 2


@given(st.integers(0, 10_000), st.sampled_from(["bollard", "person", "bin", "cone", "furniture"]))
@settings(max_examples=6, deadline=None)
def test_encounters_asked_for_are_met(seed: int, name: str) -> None:
    walk = plan_walk(seed, duration_s=20, objects=("pole", name), min_encounters={name: 4})
    assert sum(bool(t.seen) and t.seen[0].object == name for t in chunk_truths(walk)) >= 4


def test_too_many_encounters_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"no room for .* more curb\. Make it longer"):
        plan_walk(1, duration_s=6, objects=("curb", "pole"), min_encounters={"curb": 9})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objects": ("unicorn",)}, "Unknown object: unicorn"),
        ({"settings": ("moon",)}, "Unknown setting: moon"),
        ({"light_name": "disco"}, "Unknown light: disco"),
        ({"weather_name": "frogs"}, "Unknown weather: frogs"),
        ({"duration_s": 0.5}, "cannot be planned"),
        ({"objects": ("pole",), "min_encounters": {"cone": 1}}, "not among the objects"),
    ],
)
def test_wrong_wishes_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_walk(1, **options)  # type: ignore[arg-type]


def test_an_unknown_route_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="works"):
        walk_from_name("nowhere")
