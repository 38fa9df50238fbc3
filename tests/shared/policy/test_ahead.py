"""The answer to "what is ahead?": the newest look's most important thing, or that nothing can be told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import monitor, policy, vocabulary
from shared.lens import LensTrouble
from shared.policy import AheadAsked, Looked, LookFailed, WalkBegan, WordsHeard
from tests.shared.policy.test_safety import events
from tests.shared.policy.walk import Hazard, Walk

CURB, POLE, BIN = Hazard("curb", "ahead", 0.9), Hazard("pole", "ahead", 0.8), Hazard("bin", "on the left", 0.97)
ANSWERS = ("Cannot see ahead.", "Nothing recognised. Check for yourself.", "Not sure, check ahead.")


def asked(walk: Walk) -> tuple[str, int, str]:
    """What is answered to a question now, once nothing else is being said."""
    walk.wait(2.0) if walk.ends else None
    before = len(walk.spoken)
    walk.give(AheadAsked())
    _, speak = walk.spoken[before]
    return speak.text, speak.tier, speak.why


@pytest.mark.parametrize(
    ("seen", "text", "tier"),
    [
        ((BIN,), "Caution, bin on the left.", 2),
        ((Hazard("crosswalk", "ahead", 0.9),), "Caution, crosswalk ahead.", 3),
        ((BIN, POLE), "Caution, pole ahead.", 2),
        ((BIN, POLE, CURB), "Stop, curb ahead.", 1),
        ((Hazard("vehicle", "ahead", 0.6), BIN, POLE), "Stop, vehicle ahead.", 1),
    ],
)
def test_what_must_be_stopped_for_comes_first_then_what_is_ahead(
    seen: tuple[Hazard, ...], text: str, tier: int
) -> None:
    walk = Walk()
    walk.look(*seen)
    assert asked(walk) == (text, tier, "asked")


def test_only_the_newest_look_counts() -> None:
    walk = Walk()
    walk.look(POLE)
    walk.look()
    assert asked(walk)[0] == ANSWERS[1]
    walk.look(BIN)
    assert asked(walk)[0] == "Caution, bin on the left."


def test_what_cannot_be_seen_is_not_called_empty() -> None:
    walk = Walk()
    assert asked(walk)[0] == ANSWERS[0]
    walk.give(WalkBegan())
    assert asked(walk)[0] == ANSWERS[0], "before the first look"
    walk.look()
    assert asked(walk)[0] == ANSWERS[1]
    walk.now_s += 2.1
    walk.wait(3.0)
    assert asked(walk)[0] == ANSWERS[0], "the newest look is old"
    walk.look()
    walk.give(LookFailed())
    assert asked(walk)[0] == ANSWERS[0], "the model fails"


def test_a_covered_lens_is_no_empty_way() -> None:
    walk = Walk()
    walk.look()
    walk.give(Looked((), 0.5, 0.2, lens=LensTrouble.DARK))
    assert asked(walk)[0] == ANSWERS[0]


@pytest.mark.parametrize(("far", "withheld"), [(True, False), (False, True)])
def test_a_look_that_means_little_is_answered_with_doubt(far: bool, withheld: bool) -> None:
    walk = Walk()
    walk.give(Looked((), 0.5, 0.2, far=far, withheld=withheld))
    assert asked(walk)[0] == ANSWERS[2]


def test_a_warning_cuts_an_answer_and_an_answer_waits_for_a_warning() -> None:
    walk = Walk()
    walk.look(BIN)
    walk.give(AheadAsked())
    walk.look(Hazard("curb", "ahead", 0.99))
    assert [speak.text for _, speak in walk.spoken] == ["Caution, bin on the left.", "Stop, curb ahead."]
    assert len(walk.cuts) == 1
    walk.give(AheadAsked())
    assert len(walk.spoken) == 2
    walk.wait(2.0)
    assert walk.spoken[-1][1].why == "asked"


def test_a_question_whose_answer_waits_is_noted_at_once_and_answered_right_behind_the_warning() -> None:
    walk = Walk()
    walk.look(Hazard("curb", "ahead", 0.99))
    state, actions = policy.step(walk.state, AheadAsked(), walk.now_s, walk.settings)
    assert actions == (policy.Note(),)
    assert state.speaking is not None
    ended = policy.SpeechEnded(state.speaking.utterance)
    _, actions = policy.step(state, ended, walk.now_s + 0.5, walk.settings)
    assert [(action.text, action.why) for action in actions if isinstance(action, policy.Speak)] == [
        ("Stop, curb ahead.", "asked")
    ]


def test_who_asks_again_hears_the_new_answer_at_once_from_its_beginning() -> None:
    walk = Walk()
    walk.look(BIN)
    walk.give(AheadAsked())
    walk.wait(0.3)
    walk.look(POLE)
    walk.give(AheadAsked())
    walk.give(AheadAsked())
    assert [speak.text for _, speak in walk.spoken] == ["Caution, bin on the left.", *["Caution, pole ahead."] * 2]
    assert len(walk.cuts) == 2
    walk.wait(20.0)
    assert len(walk.spoken) == 3
    assert not [action for _, action in walk.actions if isinstance(action, policy.Note)]


def test_an_answer_that_is_cut_off_by_a_warning_with_the_same_words_is_not_said_again() -> None:
    walk = Walk()
    walk.look(Hazard("curb", "ahead", 0.7))
    walk.give(AheadAsked())
    walk.look(Hazard("curb", "ahead", 0.99))
    assert [(speak.text, speak.why) for _, speak in walk.spoken] == [
        ("Stop, curb ahead.", "asked"),
        ("Stop, curb ahead.", "hazard"),
    ]
    walk.wait(20.0)
    assert len(walk.spoken) == 2


def test_a_question_that_is_answered_at_once_needs_no_tick() -> None:
    walk = Walk()
    walk.look(BIN)
    _, actions = policy.step(walk.state, AheadAsked(), walk.now_s, walk.settings)
    assert not [action for action in actions if isinstance(action, policy.Note)]


@pytest.mark.parametrize("cut", [False, True], ids=["waiting for a warning", "cut off by one"])
def test_an_answer_that_comes_late_is_about_the_newest_look(cut: bool) -> None:
    walk = Walk()
    walk.look(POLE)
    walk.give(AheadAsked()) if cut else None
    walk.look(Hazard("curb", "ahead", 0.99))
    walk.give(AheadAsked()) if not cut else None
    walk.look(BIN)
    walk.wait(10.0)
    assert [speak.text for _, speak in walk.spoken if speak.why == "asked"][-1] == "Caution, bin on the left."


@given(story=st.lists(st.one_of(events, st.just(AheadAsked())), max_size=60))
@settings(max_examples=60, deadline=None)
def test_whatever_happened_an_answer_is_one_short_line_of_the_grammar(story: list[policy.Event]) -> None:
    walk = Walk()
    for event in story:
        walk.give(event)
        walk.wait(0.25)
    for _, speak in walk.spoken:
        if speak.why == "asked":
            assert vocabulary.may_be_spoken(speak.text) or speak.text in policy.NOT_SURE.values()
            assert len(speak.text.split()) <= 8
            assert "clear" not in speak.text
            assert speak.text.split()[0] in ("Stop,", "Caution,", "Wait,", "Duck,", "Not")
            assert monitor.stopped(speak.text, tier=speak.tier, why=speak.why) is None


@pytest.mark.parametrize(
    ("heard", "said", "why"),
    [
        ("Stop, curb ahead.", "Heard: Stop, curb ahead.", "heard"),
        ("Caution, bin on the left.", "Heard: Caution, bin on the left.", "heard"),
        (vocabulary.CLEAR, "Heard: nothing to say.", "heard"),
        ("", "Heard, but not understood.", "state"),
        ("Cross now.", "Heard, but not understood.", "state"),
        ("Continue straight, vehicle ahead.", "Heard, but not understood.", "state"),
    ],
)
def test_own_words_are_read_back_marked_as_such_and_never_as_an_order_that_kills(
    heard: str, said: str, why: str
) -> None:
    walk = Walk()
    walk.give(WordsHeard(heard))
    ((_, speak),) = walk.spoken
    assert (speak.text, speak.why) == (said, why)
    assert monitor.stopped(speak.text, tier=speak.tier, why=speak.why) is None


@pytest.mark.parametrize("text", ["Stop, curb ahead.", "Heard: Cross now.", "Heard: Path is clear.", "Heard: go."])
def test_the_monitor_stops_own_words_that_are_not_marked_or_order(text: str) -> None:
    assert monitor.stopped(text, tier=2, why="heard")
