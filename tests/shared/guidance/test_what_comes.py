"""What moves, from its boxes to the words: a car that comes is said to come, one that stands is not.

Boxes are exact projections of a street; everything after them is the real thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared import policy
from shared.guidance import events
from shared.guidance.turn import GuidanceState, turn
from shared.policy import PolicySettings
from shared.runtime.seen import Hazard, Observation
from shared.sight import Box, BoxScoring, Camera, View, scored
from tests.shared.guidance.test_table_words import SPEECH_S, EyesAlone
from tests.shared.sight.street import ASPECT, Thing, Walker

WIDE = Walker(Camera(fov_deg=80.0))
BICYCLE = Thing("bicycle", 0.0, 0.0, wide_m=0.6, deep_m=1.7, tall_m=1.7)
TEXTURE = np.asarray(
    cv2.resize(np.random.default_rng(1).integers(0, 255, (24, 96, 3), dtype=np.uint8), (1280, 240)), np.uint8
)
Boxes = Callable[[float], Sequence[Box | None]]


def picture(walker: Walker, at_s: float) -> NDArray[np.uint8]:
    """What a camera that turns sees of a far wall, with the noise of a sensor."""
    across_px = 320 / walker.camera.across
    start = 480 + round(np.tan(walker.turned_rad(at_s)) * across_px)
    noise = np.random.default_rng(round(at_s * 1000)).integers(0, 12, (240, 320, 3), dtype=np.uint8)
    return TEXTURE[:, start : start + 320] // 2 + noise


def heard(
    walker: Walker,
    boxes: Boxes,
    *,
    seconds: float = 4.0,
    looks_per_s: float = 4.0,
    turned: Callable[[int], tuple[Box, ...]] = lambda turn_deg: (),
    flagged: list[str] | None = None,
    **pinned: float,
) -> list[tuple[float, str, int]]:
    """(when, what, tier) is said on a walk whose looks find these boxes. turned: what a turned copy shows"""
    settings = PolicySettings(**pinned)  # type: ignore[arg-type]
    state, said = GuidanceState(settings), list[tuple[float, str, int]]()
    ends: list[tuple[float, int]] = []
    view = View(walker.camera, BoxScoring(), ASPECT)

    def step(event: events.GuidanceEvent, now_s: float) -> None:
        nonlocal state
        state, actions = turn(state, event, now_s)
        for action in actions:
            if isinstance(action, events.SayNow):
                said.append((now_s, action.speak.text, action.speak.tier))
                ends.append((now_s + SPEECH_S, action.speak.utterance))
            if isinstance(action, events.LookTurned):
                copy = Observation(
                    np.zeros((1, 0, 0), np.float32), (), 0.5, 0.3, boxes=turned(action.turn_deg), view=view
                )
                step(events.SeenTurned(action.turn_deg, copy), now_s)
            if isinstance(action, events.FlagMoment) and flagged is not None:
                flagged.append(action.reason)

    step(events.ModelChanged.to(EyesAlone(), settings, pinned=frozenset(pinned)), 0.0)
    step(policy.WalkBegan(), 0.0)
    for number in range(round(seconds * looks_per_s)):
        now_s = number / looks_per_s
        while ends and ends[0][0] <= now_s:
            step(policy.SpeechEnded(ends.pop(0)[1]), now_s)
        step(events.PictureTaken(picture(walker, now_s), now_s), now_s)
        seen = tuple(box for box in boxes(now_s) if box is not None)
        by_box = scored(seen, view.camera, aspect=ASPECT, scoring=view.scoring)
        hazards = tuple(Hazard(*thing, score) for thing, score in by_box.items())
        looked = Observation(np.zeros((1, 0, 0), np.float32), hazards, 0.5, 0.3, boxes=seen, view=view)
        step(events.Observed(looked), now_s)
    return said


def street(walker: Walker, *things: Thing) -> Boxes:
    return lambda at_s: [walker.sees(thing, at_s) for thing in things]


@pytest.mark.parametrize(("x_m", "side"), [(-1.9, "left"), (0.2, "ahead"), (1.9, "right")])
def test_a_car_that_comes_is_warned_of_before_it_is_within_reach(x_m: float, side: str) -> None:
    said = heard(WIDE, street(WIDE, Thing("vehicle", x_m, 26.0, vz_mps=-6.0)))
    at_s, text, tier = said[0]
    assert text == f"Stop, vehicle approaching {side}."
    assert tier == 1
    assert 26.0 - 7.1 * at_s > 8.0, "a parked one is named from 8 m on"
    assert 26.0 / 7.1 - at_s > 1.3, "time to stop is left"


def test_a_bicycle_that_comes_beside_the_path_is_warned_of() -> None:
    said = heard(WIDE, street(WIDE, replace(BICYCLE, x_m=1.2, z_m=13.0, vz_mps=-3.0)))
    assert said[0][1] == "Stop, bicycle approaching right."


@pytest.mark.parametrize(("side", "word"), [(-1, "left"), (1, "right")])
def test_a_car_that_crosses_is_warned_of_from_where_it_comes(side: int, word: str) -> None:
    car = Thing("vehicle", side * 7.5, 9.0, vx_mps=-side * 4.0, wide_m=4.2, deep_m=1.8)
    said = heard(WIDE, street(WIDE, car), seconds=1.5)
    assert (0.5, f"Stop, vehicle approaching {word}.", 1) in said


@pytest.mark.parametrize("noise", [0.0, 0.025])
@pytest.mark.parametrize("x_m", [-2.2, 0.0, 2.2])
def test_a_parked_car_is_never_said_to_come(x_m: float, noise: float) -> None:
    walker = replace(WIDE, speed_mps=1.4, noise=noise)
    said = heard(walker, street(walker, Thing("vehicle", x_m, 12.0)), seconds=7.0)
    assert said, "it is named once it is within reach"
    assert not [text for _, text, _ in said if "approaching" in text]


def test_a_car_that_drives_past_on_the_road_is_not_spoken_of() -> None:
    assert heard(WIDE, street(WIDE, Thing("vehicle", 7.0, 25.0, vz_mps=-7.0)), seconds=2.0) == []


def test_a_walker_who_turns_at_a_row_of_parked_cars_hears_of_none_that_crosses() -> None:
    walker = replace(WIDE, turn_rps=0.35)
    cars = [Thing("vehicle", x_m, z_m) for x_m, z_m in ((-3.0, 7.0), (3.2, 8.0), (4.0, 13.0))]
    assert not [text for _, text, _ in heard(walker, street(walker, *cars), seconds=2.0) if "approaching" in text]


def test_what_came_and_now_stands_gets_no_second_sentence_at_once() -> None:
    def stops(at_s: float) -> list[Box | None]:
        driven = -6.0 * min(at_s, 2.5)
        return [replace(WIDE, speed_mps=0.0).sees(Thing("vehicle", 1.8, 19.5 + driven), at_s)]

    said = heard(replace(WIDE, speed_mps=0.0), stops, seconds=8.0)
    assert [text for _, text, _ in said] == ["Stop, vehicle approaching right."]


# --- hysteresis by thing ----------------------------------------------------------------------------------------------

NEAR = Box("person", 0.75, 0.42, 0.3, 0.58, 0.9)
BESIDE = Box("person", 0.75, 0.78, 0.35, 0.92, 0.85)


def test_a_thing_seen_twice_is_said_and_two_that_flicker_up_once_each_are_not() -> None:
    assert heard(WIDE, lambda at_s: [NEAR], seconds=1.5)
    elsewhere = replace(BESIDE, left=0.62, right=0.70, top=0.60, bottom=0.80)
    flicker = {0.5: [BESIDE], 0.75: [elsewhere]}
    assert heard(WIDE, lambda at_s: flicker.get(at_s, []), seconds=3.0) == []


def test_a_thing_that_changes_its_side_is_the_same_thing() -> None:
    """By side alone neither would have been seen twice in three looks."""
    moves = {0.5: [replace(NEAR, left=0.50, right=0.66)], 0.75: [replace(NEAR, left=0.58, right=0.74)]}
    assert heard(WIDE, lambda at_s: moves.get(at_s, []), seconds=2.0)


def test_where_looks_are_too_far_apart_to_follow_a_thing_it_counts_by_its_side() -> None:
    def there(at_s: float) -> list[Box | None]:
        return [replace(NEAR, left=0.40 + 0.02 * (at_s % 3), right=0.60)]

    assert heard(WIDE, there, seconds=6.0, looks_per_s=1.0)


# --- the camera's way up ----------------------------------------------------------------------------------------------

UPRIGHT = (Box("person", 0.8, 0.4, 0.3, 0.6, 0.9), Box("vehicle", 0.7, 0.1, 0.4, 0.3, 0.6))


@pytest.mark.parametrize(
    ("right", "text"),
    [
        (180, "Camera is upside down."),
        (90, "Camera is on its side."),
        (270, "Camera is on its side."),
        (-30, "Camera is tilted."),
    ],
)
def test_a_camera_that_hangs_the_wrong_way_up_is_told_of_once_and_flagged(right: int, text: str) -> None:
    flagged = list[str]()
    said = heard(
        WIDE,
        lambda at_s: [],
        seconds=30.0,
        turned=lambda turn_deg: UPRIGHT if turn_deg == right else (),
        flagged=flagged,
    )
    assert [words for _, words, _ in said] == [text]
    assert said[0][0] < 15.0
    assert flagged == ["low_confidence"]


def test_an_upright_camera_hears_nothing_of_it() -> None:
    faint = (Box("person", 0.35, 0.4, 0.3, 0.6, 0.9),)
    far = [replace(box, top=0.3, bottom=0.34, left=0.4, right=0.45) for box in UPRIGHT]
    assert heard(WIDE, lambda at_s: far, seconds=30.0, turned=lambda turn_deg: faint) == []
