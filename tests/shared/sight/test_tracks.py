"""Boxes of several looks joined to things."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sight import Box, Tracks
from shared.sight.tracks import LOST_S, expected, overlap, step
from tests.shared.sight.street import Thing, Walker, looks

PERSON = Box("person", 0.8, 0.40, 0.40, 0.50, 0.70)
BESIDE = Box("person", 0.6, 0.70, 0.40, 0.80, 0.70)


def seen(*boxes_of_looks: tuple[Box, ...]) -> Tracks:
    """Looks four times a second."""
    tracks = Tracks()
    for number, boxes in enumerate(boxes_of_looks):
        tracks = step(tracks, boxes, number / 4)
    return tracks


def moved(box: Box, right: float) -> Box:
    return replace(box, left=box.left + right, right=box.right + right)


def test_the_same_thing_keeps_its_number_and_another_one_has_its_own() -> None:
    tracks = seen((PERSON, BESIDE), (moved(PERSON, 0.02), BESIDE), (BESIDE, moved(PERSON, 0.04)))
    assert [(track.number, track.times) for track in tracks.tracks] == [(1, 3), (2, 3)]
    assert tracks.tracks[0].last.box == moved(PERSON, 0.04)


def test_another_object_at_the_same_place_is_another_thing() -> None:
    tracks = seen((PERSON,), (replace(PERSON, object="bicycle"),))
    assert [(track.object, track.times) for track in tracks.tracks] == [("person", 1), ("bicycle", 1)]


def test_a_quick_car_is_followed_where_its_boxes_do_not_even_touch() -> None:
    step_right = 0.13  # wider than itself
    car = Box("vehicle", 0.8, 0.10, 0.45, 0.20, 0.55)
    assert overlap(car, moved(car, step_right), grow=0.0) == 0.0
    tracks = seen(*((moved(car, step_right * number),) for number in range(6)))
    [track] = tracks.tracks
    assert len(track.sightings) == 6


def test_what_is_missing_in_one_look_is_held_and_in_two_it_is_not() -> None:
    [held] = seen((PERSON,), (PERSON,), ()).tracks
    assert held.held
    assert held.times == 2
    [gone] = seen((PERSON,), (PERSON,), (), ()).tracks
    assert not gone.held


def test_what_flickered_up_once_is_not_held() -> None:
    [track] = seen((PERSON,), ()).tracks
    assert not track.held


def test_a_thing_that_comes_back_within_a_moment_is_the_same_and_later_another() -> None:
    tracks = seen((PERSON,), (PERSON,), (), (PERSON,))
    assert [(track.number, track.times) for track in tracks.tracks] == [(1, 3)]
    late = step(seen((PERSON,)), (PERSON,), LOST_S + 0.1)
    assert [track.number for track in late.tracks] == [2]


def test_a_doubtful_box_takes_no_track_away_from_a_sure_one() -> None:
    doubtful, sure = replace(PERSON, score=0.2), replace(moved(PERSON, 0.02), score=0.9)
    tracks = seen((PERSON,), (doubtful, sure))
    assert [track.last.box for track in tracks.tracks] == [sure, doubtful]


def test_a_doubtful_box_keeps_a_track_alive() -> None:
    [track] = seen((PERSON,), (replace(PERSON, score=0.16),), (PERSON,)).tracks
    assert track.times == 3


def test_two_who_pass_each_other_keep_their_numbers() -> None:
    walker = Walker(speed_mps=0.0)
    people = [
        Thing("person", -1.5, 8.0, vx_mps=1.2, wide_m=0.5, deep_m=0.3, tall_m=1.7),
        Thing("person", 1.5, 6.0, vx_mps=-1.2, wide_m=0.5, deep_m=0.3, tall_m=1.7),
    ]
    tracks = Tracks()
    for at_s, boxes in looks(walker, people, [at / 4 for at in range(11)]):
        tracks = step(tracks, boxes, at_s)
    ends = {track.number: track.last.box.left for track in tracks.tracks}
    assert set(ends) == {1, 2}
    assert ends[1] > 0.5 > ends[2]


@given(st.lists(st.lists(st.tuples(*[st.floats(0, 1)] * 5), max_size=4), max_size=5))
@settings(deadline=None, max_examples=25)
def test_every_box_is_in_one_track_and_numbers_are_never_used_twice(rows: list[list[tuple[float, ...]]]) -> None:
    tracks = Tracks()
    for number, row in enumerate(rows):
        boxes = [Box("person", s, min(a, b), min(c, d), max(a, b) + 0.01, max(c, d) + 0.01) for s, a, b, c, d in row]
        before = tracks
        tracks = step(before, boxes, number / 4)
        here = [track.last.box for track in tracks.tracks if track.looks[-1]]
        assert sorted(map(repr, here)) == sorted(map(repr, boxes))
        numbers = [track.number for track in tracks.tracks]
        assert len(set(numbers)) == len(numbers)
        old = {track.number for track in before.tracks}
        assert all(number in old or number >= before.next_number for number in numbers)
        for track in tracks.tracks:
            later = expected(track, number / 4 + 0.25)
            assert later.left < later.right
            assert later.top < later.bottom


@pytest.mark.parametrize("at_s", [0.5, 0.75])
def test_what_moves_is_expected_farther_on(at_s: float) -> None:
    [track] = seen((PERSON,), (moved(PERSON, 0.05),)).tracks
    assert expected(track, at_s).left == pytest.approx(PERSON.left + 0.05 * at_s * 4)
