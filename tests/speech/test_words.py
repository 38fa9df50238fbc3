"""The grammar says what the vocabulary says, and transcripts mean what they say."""

from __future__ import annotations

import pytest

from server.speech import Heard, proposal, understood
from server.speech.grammar import NOTHING_WORDS, grammar, is_whole, spoken, without_r, words_of
from server.speech.sphinx import Hearing, vote
from shared import vocabulary


def test_every_object_synonym_side_and_modifier_can_be_said() -> None:
    words = words_of(grammar())
    loaded = vocabulary.load()
    phrases = [*loaded.objects, *loaded.sides, *loaded.modifiers, *NOTHING_WORDS]
    phrases += [synonym for term in loaded.objects.values() for synonym in term.synonyms if "descending" not in synonym]
    missing = {word for phrase in phrases for word in spoken(phrase).split()} - words
    assert missing <= {"ascending"}  # "ascending stairs" are "stairs going up"


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
        ("and so my fellow americans", ""),
        ("", ""),
    ],
)
def test_what_was_heard_is_understood(said: str, meant: str) -> None:
    assert understood(said) == meant


@pytest.mark.parametrize("text", ["cone on the", "stop a", "", "there's", "slightly"])
def test_a_sentence_that_breaks_off_is_no_sentence(text: str) -> None:
    assert not is_whole(text)


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


def test_the_meaning_that_most_hearings_share_wins_and_its_share_is_the_confidence() -> None:
    hearings = [Hearing("cone on the left", -2.0), Hearing("caution a cone on the left", -1.0), Hearing("dog", -0.1)]
    heard = vote([*hearings, Hearing("", -9.0)], spoken_s=1.5)
    assert heard == Heard("caution a cone on the left", 0.5)
    assert vote([Hearing("", -9.0)], spoken_s=1.0) == Heard("", 0.0)


def test_two_words_for_three_seconds_of_sound_are_not_understood() -> None:
    assert vote([Hearing("the man", -1.0)] * 4, spoken_s=3.0) == Heard("", 0.0)
    assert vote([Hearing("curb ahead", -1.0)] * 4, spoken_s=1.2).confidence == 1.0


def test_what_is_not_sure_is_not_proposed() -> None:
    assert proposal(Heard("cone on the left", 0.75)) == "Caution, cone on the left."
    assert proposal(Heard("cone on the left", 0.25)) == ""
