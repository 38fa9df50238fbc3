"""On real pictures nothing is named of which nobody measured how often it is right, unless the wearer wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Course, Frame, Truth
from shared import policy, vocabulary
from shared.guidance import events
from shared.guidance.turn import GuidanceState, turn
from shared.policy import PolicySettings
from shared.runtime.seen import Hazard, Instruction, Observation
from tests.shared.guidance.test_table_words import LOOKS_PER_S, NOISE, Card, heard

KNOWN = {"precision": 0.9, "of": 40}
PERSON, CURB = ("person", "on the left"), ("curb", "ahead")
ON = PolicySettings(trial_classes=True)


def card(measured: Any, **more: Any) -> Card:
    model = {"look": {}, "objects": ["person", "curb"], "sides": ["ahead"], "measured": measured, **more}
    return Card(model=model)


def texts(measured: Any, wearer: PolicySettings | None = None) -> set[str]:
    both = {PERSON: 0.9, CURB: 0.97}
    return {text for _, text in heard(lambda now_s: both, seconds=12, wearer=wearer, card=card(measured))}


def test_a_class_of_unknown_precision_is_not_named_and_the_others_are() -> None:
    assert texts({"person": KNOWN}) == {"Caution, person on the left."}
    assert texts({"person": KNOWN, "curb": KNOWN}) == {"Caution, person on the left.", "Stop, curb ahead."}
    assert texts({}) == set()


def test_the_setting_lets_trial_words_out() -> None:
    assert texts({}, ON) == {"Caution, person on the left.", "Stop, curb ahead."}


def test_a_manifest_that_does_not_tell_is_heard_as_ever() -> None:
    silent = Card(model={"look": {}, "objects": ["curb"], "sides": ["ahead"]})
    said = heard(lambda now_s: {CURB: 0.97}, seconds=4, card=silent)
    assert [text for _, text in said] == ["Stop, curb ahead."]


@pytest.mark.parametrize(
    "figure", [{}, 7, None, {"precision": 0.9}, {"of": 40}, {"precision": 2.0, "of": 40}, {"precision": 1.0, "of": 4}]
)
def test_a_figure_of_too_few_pictures_or_none_is_none(figure: Any) -> None:
    assert texts({"person": figure}) == set()
    assert texts(figure) == set()


def test_a_threshold_that_only_others_pass_is_no_reason_to_flag() -> None:
    faint, plain = flags({CURB: 0.2}), flags({CURB: 0.97})
    assert (faint, plain) == (set(), {"low_confidence"})


def flags(scores: Mapping[tuple[str, str], float]) -> set[str]:
    settings = PolicySettings(hazard_above=0.5)
    state, _ = turn(
        GuidanceState(settings), events.ModelChanged(Decoder(card({"person": KNOWN}, end_id=1)), settings), 0.0
    )
    state, _ = turn(state, policy.WalkBegan(), 0.0)
    state, _ = turn(state, events.PictureTaken(NOISE, 0.0), 0.0)
    hazards = tuple(Hazard(*thing, score) for thing, score in scores.items())
    _, actions = turn(state, events.Observed(Observation(np.zeros((1, 0, 0), np.float32), hazards, 0.5, 0.3)), 0.0)
    return {action.reason for action in actions if isinstance(action, events.FlagMoment)}


@dataclass
class Decoder:
    """A whole model that sees and says what the test says."""

    manifest: Card = field(default_factory=Card)
    hazards: tuple[Hazard, ...] = ()
    says: str = vocabulary.CLEAR

    def look(self, image: Any, sound: Any = None, *, before: Observation | None = None) -> Observation:
        return Observation(np.zeros((1, 1, 1), np.float32), self.hazards, 0.5, 0.3)

    def word(self, observation: Observation) -> Instruction:
        return Instruction(self.says, 0.97, ())


def driven(model: Decoder, wearer: PolicySettings, *, exact: bool) -> set[str]:
    def frames() -> Any:
        for number in range(16 * LOOKS_PER_S):
            yield Frame(number / LOOKS_PER_S, np.roll(NOISE, number, axis=1), Truth(("",), frozenset()), sampled=False)

    course = Course("walk", "walk", 16.0, (), frames, exact=exact)
    walked = drive(model, course, wearer, DriveSettings(looks_per_s=LOOKS_PER_S, pictures=False))
    return {utterance.text for utterance in walked.utterances}


def test_the_decoder_names_no_such_thing_either_and_does_not_send_one_past_it() -> None:
    seen = (Hazard("person", "ahead", 0.9), Hazard("curb", "ahead", 0.9))
    for says in ("Caution, curb ahead.", vocabulary.CLEAR, "Continue straight."):
        model = Decoder(card({"dog": KNOWN}, end_id=1), seen, says)
        wearer = PolicySettings(say_clear=True, confirmations=True)
        assert driven(model, wearer, exact=False) == set(), says
    named = Decoder(card({"person": KNOWN}, end_id=1), seen, "Caution, person ahead.")
    assert driven(named, PolicySettings(), exact=False) == {"Caution, person ahead."}


def test_a_decoder_that_says_stop_is_heard_whatever_else_is_seen() -> None:
    seen = (Hazard("curb", "ahead", 0.9),)
    for says in ("Stop.", "Duck."):
        assert driven(Decoder(card({"dog": KNOWN}, end_id=1), seen, says), PolicySettings(), exact=False) == {says}


def test_with_nothing_in_view_it_may_still_say_so() -> None:
    model = Decoder(card({"dog": KNOWN}, end_id=1))
    assert driven(model, PolicySettings(say_clear=True), exact=False) == {vocabulary.CLEAR}


def test_a_drawn_walk_asks_for_no_real_pictures() -> None:
    model = Decoder(card({}, end_id=1), (Hazard("curb", "ahead", 0.97),))
    assert driven(model, PolicySettings(), exact=False) == set()
    assert driven(model, PolicySettings(), exact=True) == {"Stop, curb ahead."}
