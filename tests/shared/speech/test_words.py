"""The grammar says what the vocabulary says, and transcripts mean what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import vocabulary
from shared.speech import NOTHING, Transcript, proposal, understood
from shared.speech.grammar import NOTHING_WORDS, grammar, spoken, trimmed, without_r, words_of
from shared.speech.vote import vote


def test_every_object_synonym_side_and_modifier_can_be_said() -> None:
    words = words_of(grammar())
    loaded = vocabulary.load()
    phrases = [*loaded.objects, *loaded.sides, *loaded.modifiers, *NOTHING_WORDS]
    phrases += [synonym for term in loaded.objects.values() for synonym in term.synonyms if synonym not in term.unheard]
    missing = {word for phrase in phrases for word in spoken(phrase).split()} - words
    assert missing <= {"ascending", "descending"}  # "ascending stairs" are "stairs going up"


def test_no_weight_of_the_grammar_needs_a_plus_sign() -> None:
    assert "e+" not in grammar()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("caution cone on the left", "Caution, cone on the left."),
        ("a cone on your left", "Caution, cone on the left."),
        ("watch out there's a bike in front", "Caution, bicycle ahead."),
        ("drop off ahead", "Stop, drop-off ahead."),
        ("e bike on the right", "Caution, bicycle on the right."),
        ("stairs going down", "Stop, stairs down ahead."),
        ("nothing there", vocabulary.CLEAR),
        ("path is clear", vocabulary.CLEAR),
        ("turn", ""),
        ("turn left", "Turn left."),
        ("walk signal is red, wait", "Wait, walk signal red ahead."),
        ("no, stop, kerb", ""),
        ("Don't cross, car coming.", ""),
        ("don’t go, hole ahead", ""),
        ("mind the unicorn ahead", ""),
        ("cone left, bollard right", ""),
        ("cross now", ""),
        ("continue straight, vehicle ahead", ""),
        ("and so my fellow americans", ""),
        ("", ""),
    ],
)
def test_what_was_heard_is_understood(said: str, meant: str) -> None:
    assert understood(said) == meant


def test_words_that_can_not_end_a_sentence_are_left_out() -> None:
    assert trimmed("cone on the") == "cone"
    assert trimmed("there's a") == ""
    assert trimmed("cone on the left") == "cone on the left"


@pytest.mark.parametrize(
    ("american", "british"),
    [
        ("D AO R", "D AO"),
        ("K AO R N ER", "K AO N AH"),
        ("S T EH R Z", "S T EH AH Z"),
        ("B EH R IY ER", "B EH R IY AH"),
        ("R AE M P", "R AE M P"),
        ("K OW N", "K OW N"),
    ],
)
def test_british_pronunciations_drop_the_r_that_no_vowel_follows(american: str, british: str) -> None:
    assert without_r(american) == british


def test_thing_and_place_are_voted_on_apart() -> None:
    heard = vote(["stop curb to", "stop pillar on the left", "curb ahead"], spoken_s=1.5)
    assert heard.confidence == pytest.approx(2 / 3)
    assert proposal(heard) == "Stop, curb ahead."
    heard = vote(["cone on the left", "caution a cone on the left", "dog wet on the left"], spoken_s=1.5)
    assert proposal(heard) == "Caution, cone on the left."


def test_one_hearing_of_three_is_not_believed() -> None:
    assert proposal(vote(["cone on the left", "dog on the left", ""], spoken_s=1.5)) == ""
    assert vote(["", "", ""], spoken_s=1.0) == NOTHING


def test_a_sentence_that_breaks_off_before_its_place_is_not_believed() -> None:
    assert proposal(vote(["stop curb to", "stop curb to", "stop curb on the"], spoken_s=1.5)) == ""
    assert proposal(vote(["cone on the"] * 3, spoken_s=1.0)) == ""  # left or right, nobody heard
    assert proposal(vote(["stop curb", "stop curb", "stop curb"], spoken_s=1.0)) == "Stop, curb ahead."
    assert (
        proposal(vote(["cone on the left", "cone on the", "cone on the"], spoken_s=1.0)) == "Caution, cone on the left."
    )


def test_an_order_that_nobody_may_give_is_no_vote() -> None:
    assert vote(["continue straight curb ahead"] * 3, spoken_s=1.5) == NOTHING
    heard = vote(["continue straight curb ahead", "stop curb ahead", "curb ahead"], spoken_s=1.5)
    assert proposal(heard) == "Stop, curb ahead."


def test_two_words_for_three_seconds_of_sound_are_not_understood() -> None:
    assert vote(["the man"] * 3, spoken_s=3.0) == NOTHING
    assert vote(["curb ahead"] * 3, spoken_s=1.2).confidence == 1.0


@pytest.mark.parametrize("text", ["nothing there", "turn left", "path is clear", "stairs up on the right"])
def test_what_all_hear_is_heard(text: str) -> None:
    assert vote([text] * 3, spoken_s=1.0) == Transcript(text, 1.0)
    assert proposal(Transcript(text, 1.0)) != ""


@given(st.lists(st.sampled_from(["", "cone", "cone on the", "a cone ahead", "stop", "nothing", "turn left", "left"])))
def test_any_hearings_give_a_confidence_from_0_to_1(hearings: list[str]) -> None:
    heard = vote(hearings, spoken_s=0.5)
    assert 0 <= heard.confidence <= 1
    assert bool(heard.text) == (heard.confidence > 0)


def test_what_is_not_sure_is_not_proposed() -> None:
    assert proposal(Transcript("cone on the left", 0.75)) == "Caution, cone on the left."
    assert proposal(Transcript("cone on the left", 0.25)) == ""
