"""Pictures that did not change are not looked at again: when, for how long, and what still gets them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared import policy
from shared.guidance import events, unchanged
from shared.guidance.turn import GuidanceState, turn
from shared.policy import PolicySettings
from shared.runtime.seen import Hazard, Observation
from shared.sight import Box, BoxScoring, Camera, View, scored
from tests.shared.guidance.test_table_words import EyesAlone

Picture = NDArray[np.uint8]
STREET = np.asarray(
    cv2.resize(np.random.default_rng(5).integers(20, 235, (24, 32, 3), dtype=np.uint8), (320, 240)), np.uint8
)
FPS = 15


def noisy(number: int, *, moved_px: float = 0.0, sigma: float = 4.0) -> Picture:
    """What a camera that stands shows, with its sensor's noise, after it moved that far aside."""
    shift = np.array([[1, 0, moved_px], [0, 1, 0]], np.float32)
    seen = cv2.warpAffine(STREET, shift, (320, 240), borderMode=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(number).normal(0, sigma, seen.shape)
    return np.asarray(np.clip(seen + noise, 0, 255), np.uint8)


def with_person(image: Picture) -> Picture:
    """A person at 30 m: 15 of 240 pixels tall, dark."""
    changed = image.copy()
    changed[115:130, 150:156] = 25
    return changed


def left_out(pictures: Iterable[tuple[float, Picture]]) -> list[bool]:
    state, found = None, []
    for t_s, picture in pictures:
        state, same = unchanged.step(state, picture, t_s)
        found.append(same)
    return found


def test_only_noise_is_no_change_and_a_person_far_away_is_one() -> None:
    assert left_out([(0.0, noisy(1)), (0.1, noisy(2)), (0.2, with_person(noisy(3)))]) == [False, True, False]


def test_a_step_aside_is_a_change() -> None:
    assert left_out([(0.0, noisy(1)), (0.1, noisy(2, moved_px=2.0))]) == [False, False]


def test_slow_changes_add_up_for_a_picture_that_was_left_out_is_compared_with_nothing() -> None:
    darker = [np.full((48, 64, 3), 200 - 2 * step, np.uint8) for step in range(5)]
    assert left_out((0.05 * n, picture) for n, picture in enumerate(darker)) == [False, True, True, True, False]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.001, unchanged.PICTURE_S), min_size=1, max_size=60))
def test_no_two_looks_are_more_than_half_a_second_apart(gaps: list[float]) -> None:
    grey, at_s, last_s, state = np.full((30, 40, 3), 90, np.uint8), 0.0, 0.0, None
    for gap in (0.0, *gaps):
        at_s += gap
        state, same = unchanged.step(state, grey, at_s)
        last_s = last_s if same else at_s
        assert at_s - last_s < unchanged.KEPT_S
        assert state is not None
        assert at_s + unchanged.PICTURE_S - last_s <= unchanged.KEPT_S + unchanged.PICTURE_S


@pytest.mark.parametrize("broken", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_picture_is_left_to_the_model(broken: Picture) -> None:
    state, _ = unchanged.step(None, noisy(1), 0.0)
    assert unchanged.step(state, broken, 0.1) == (None, False)


def test_a_clock_that_goes_back_keeps_nothing() -> None:
    assert left_out([(5.0, noisy(1)), (4.9, noisy(2))]) == [False, False]


# --- in a turn ---


@dataclass
class Walked:
    """What guidance asks for, picture by picture."""

    skip: bool = True
    score: float = 0.1
    audio: NDArray[np.float32] | None = None
    state: GuidanceState = field(init=False)
    looked: list[float] = field(default_factory=list)
    sooner: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = GuidanceState(PolicySettings(), skip_unchanged=self.skip)
        self.turn(events.ModelChanged.to(EyesAlone(), PolicySettings()), 0.0)
        self.turn(policy.WalkBegan(), 0.0)

    def turn(self, event: events.GuidanceEvent, now_s: float) -> None:
        self.state, actions = turn(self.state, event, now_s)
        for action in actions:
            match action:
                case events.LookNow():
                    self.looked.append(now_s)
                    there = (Hazard("person", "ahead", self.score),)
                    seen = Observation(np.zeros((1, 0, 0), np.float32), there, 0.5, 0.3, audio=self.audio)
                    self.turn(events.Observed(seen), now_s)
                case events.LookSooner(at_s):
                    self.sooner.append(at_s)
                case events.SayNow(speak):
                    self.said.append(speak.text)

    def see(self, pictures: Iterable[Picture], *, from_s: float = 0.0, fps: float = FPS) -> None:
        for number, picture in enumerate(pictures):
            now_s = from_s + number / fps
            self.turn(events.PictureTaken(picture, now_s), now_s)


def test_standing_still_is_looked_at_twice_a_second_and_asks_for_the_picture_that_is_due() -> None:
    walked = Walked()
    walked.see(map(noisy, range(30)))
    assert np.diff(walked.looked).max() <= unchanged.KEPT_S
    assert len(walked.looked) == 5
    assert walked.sooner[0] == pytest.approx(unchanged.KEPT_S - unchanged.PICTURE_S)


@pytest.mark.parametrize(
    "walked",
    [Walked(skip=False), Walked(score=0.9), Walked(audio=np.zeros((1, 1, 4), np.float32))],
    ids=["switched off", "something is there", "it hears"],
)
def test_every_picture_is_looked_at(walked: Walked) -> None:
    walked.see(map(noisy, range(15)))
    assert len(walked.looked) == 15


def test_what_appears_is_looked_at_at_once() -> None:
    walked = Walked()
    walked.see([noisy(0), noisy(1), with_person(noisy(2))])
    assert walked.looked == [0.0, pytest.approx(2 / FPS)]


def test_what_flickers_is_there_still_and_the_next_picture_is_looked_at() -> None:
    """The newest look alone shows nothing: a thing that two before it saw is held, and counts (shared.sight.tracks)."""
    person = Box("person", 0.9, 0.4, 0.3, 0.6, 0.95)
    view = View(Camera(1.3, 10.0, 62.0), BoxScoring(), 4 / 3)
    state = GuidanceState(PolicySettings(), skip_unchanged=True)
    state, _ = turn(state, events.ModelChanged.to(EyesAlone(), PolicySettings()), 0.0)
    state, _ = turn(state, policy.WalkBegan(), 0.0)
    looked = []
    for number, boxes in enumerate([(person,), (person,), (), (), ()]):
        state, actions = turn(state, events.PictureTaken(noisy(number), number / FPS), number / FPS)
        looked.append(any(isinstance(action, events.LookNow) for action in actions))
        scores = scored(boxes, view.camera, aspect=4 / 3, scoring=view.scoring)
        there = tuple(Hazard(*thing, score) for thing, score in scores.items())
        seen = Observation(np.zeros((1, 0, 0), np.float32), there, 0.5, 0.3, boxes=boxes, view=view)
        if looked[-1]:
            state, _ = turn(state, events.Observed(seen), number / FPS)
    assert looked == [True, True, True, True, False], "it is held for one look"


def test_a_look_that_failed_saw_nothing_and_leaves_out_none() -> None:
    walked = Walked()
    walked.see([noisy(0), noisy(1)])
    walked.turn(policy.LookFailed(), 0.1)
    walked.see([noisy(2)], from_s=0.2)
    assert walked.looked == [0.0, 0.2]


def test_another_model_looks_at_once() -> None:
    walked = Walked()
    walked.see([noisy(0), noisy(1)])
    walked.turn(events.ModelChanged.to(EyesAlone(), PolicySettings()), 0.1)
    walked.see([noisy(2)], from_s=0.2)
    assert walked.looked == [0.0, 0.2]


def test_a_hand_over_the_lens_is_told_of_and_a_hanging_camera_too() -> None:
    covered, hangs = Walked(), Walked()
    covered.see([noisy(0), noisy(1), *[np.zeros_like(STREET)] * 20])
    assert "Camera blocked." in covered.said
    hangs.see([noisy(0)] * 45)
    assert "Camera frozen." in hangs.said


def test_the_cameras_own_turn_is_measured_at_each_picture() -> None:
    walked = Walked()
    card = walked.state.model
    assert card is not None
    assert "look" in card.manifest.model
    walked.see([noisy(0)])
    before = walked.state.thumb
    walked.see([noisy(1)], from_s=0.1)
    assert len(walked.looked) == 1
    assert walked.state.thumb is not before


def test_a_look_that_was_left_out_is_no_pause() -> None:
    walked = Walked()
    walked.see(map(noisy, range(90)))
    assert walked.said == []
