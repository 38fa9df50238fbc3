"""Eyes alone have no decoder: what is due has the table's words, each thing in turn, and nothing is called clear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import policy
from shared.guidance import events
from shared.guidance.turn import GuidanceState, turn
from shared.policy import PolicySettings
from shared.runtime.seen import Hazard, Instruction, Observation

Scores = Mapping[tuple[str, str], float]
LOOKS_PER_S, SPEECH_S = 4, 2.0
NOISE = np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Card:
    """Of a bundle with a look network and no language model."""

    version: str = "eyes"
    intended_use: str = "trial"
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"hazard_above": 0.5, "speak_above": 0.5})
    model: Mapping[str, Any] = field(default_factory=lambda: {"look": {}, "objects": ["person"], "sides": ["ahead"]})


class EyesAlone:
    """Never asked: the test looks itself, and there are no words to ask for."""

    manifest = Card()

    def look(self, image: NDArray[np.uint8], sound: Any = None, *, before: Observation | None = None) -> Observation:
        raise AssertionError("the turn looks by itself")

    def word(self, observation: Observation) -> Instruction:
        raise AssertionError("eyes alone have no words")


FAR_CARD = Card(model={"look": {}, "objects": ["person"], "sides": ["ahead"], "end_id": 1})
"""Of a bundle with both."""


def heard(
    seen: Callable[[float], Scores],
    *,
    seconds: float,
    wearer: PolicySettings | None = None,
    far: Callable[[float], bool] = lambda now_s: False,
    card: Card | None = None,
    **pinned: float,
) -> list[tuple[float, str]]:
    """What is said on a walk whose looks find this. far: when pictures are far from what the model was taught on"""
    settings = wearer or PolicySettings(**pinned)  # type: ignore[arg-type]
    state, said = GuidanceState(settings), list[tuple[float, str]]()
    ends: list[tuple[float, int]] = []

    def step(event: events.GuidanceEvent, now_s: float) -> None:
        nonlocal state
        state, actions = turn(state, event, now_s)
        for action in actions:
            assert card is not None or not isinstance(action, events.WordNow)
            if isinstance(action, events.SayNow):
                said.append((now_s, action.speak.text))
                ends.append((now_s + SPEECH_S, action.speak.utterance))

    model = EyesAlone()
    model.manifest = card or model.manifest
    step(events.ModelChanged.to(model, settings, pinned=frozenset(pinned)), 0.0)
    step(policy.WalkBegan(), 0.0)
    for number in range(round(seconds * LOOKS_PER_S)):
        now_s = number / LOOKS_PER_S
        while ends and ends[0][0] <= now_s:
            step(policy.SpeechEnded(ends.pop(0)[1]), now_s)
        image = np.roll(NOISE, number, axis=1)
        step(events.PictureTaken(image, now_s), now_s)
        hazards = sorted((Hazard(*thing, score) for thing, score in seen(now_s).items()), key=lambda h: -h.score)
        none = np.zeros((1, 0, 0), np.float32)
        step(events.Observed(Observation(none, tuple(hazards), 0.5, 0.3, far=far(now_s))), now_s)
    return said


@pytest.mark.parametrize(
    ("always", "later"),
    [
        ((("furniture", "on the left"), 0.9), (("person", "ahead"), 0.8)),
        ((("vehicle", "ahead"), 0.7), (("furniture", "on the left"), 0.9)),
        ((("bicycle", "ahead"), 0.9), (("person", "on the left"), 0.9)),
        ((("furniture", "on the left"), 0.9), (("person", "ahead"), 0.7)),
    ],
)
def test_what_comes_later_is_said_though_a_surer_thing_stays_in_view(always: Any, later: Any) -> None:
    said = heard(lambda now_s: dict([always, *([later] if now_s >= 6 else [])]), seconds=30)
    names = {name for _, text in said for name in (always[0][0], later[0][0]) if name in text}
    assert names == {always[0][0], later[0][0]}, said
    first = next(at_s for at_s, text in said if later[0][0] in text)
    assert 6 <= first <= 12, said


def test_they_never_say_that_the_way_is_clear_even_where_that_is_allowed() -> None:
    wearer = PolicySettings(say_clear=True)
    assert heard(lambda now_s: {("person", "ahead"): 0.0}, seconds=30, wearer=wearer) == []


@pytest.mark.parametrize(("above", "score", "speaks"), [(0.3, 0.55, True), (0.8, 0.7, False), (0.8, 0.85, True)])
def test_the_wearers_own_threshold_counts(above: float, score: float, speaks: bool) -> None:
    said = heard(lambda now_s: {("person", "on the left"): score}, seconds=8, hazard_above=above)
    assert bool(said) == speaks, said


def test_a_plain_thing_just_above_the_threshold_is_named_and_not_called_unsure() -> None:
    [(_, text)] = heard(lambda now_s: {("person", "on the left"): 0.55}, seconds=8)
    assert text == "Caution, person on the left."


def test_far_from_what_it_was_taught_a_whole_model_words_by_the_table_and_is_unsure_once() -> None:
    said = heard(lambda now_s: {("person", "ahead"): 0.9}, seconds=60, far=lambda now_s: True, card=FAR_CARD)
    texts = [text for _, text in said]
    assert texts[0] == "Caution, person ahead."
    assert texts.count("Guidance is unsure.") == 1
    assert 10 < next(at_s for at_s, text in said if text == "Guidance is unsure.") < 30


def test_far_pictures_without_anything_are_no_clear_way() -> None:
    wearer = PolicySettings(say_clear=True)
    said = heard(lambda now_s: {}, seconds=60, far=lambda now_s: True, card=FAR_CARD, wearer=wearer)
    assert [text for _, text in said] == ["Guidance is unsure."]


def test_a_far_picture_now_and_then_is_not_worth_a_word() -> None:
    said = heard(lambda now_s: {}, seconds=60, far=lambda now_s: round(now_s * LOOKS_PER_S) % 40 == 0, card=FAR_CARD)
    assert said == []
