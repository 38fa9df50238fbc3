"""A person's words: taken, confirmed in other words, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dataset.wording import (
    MAX_TEXT,
    NotSayable,
    Reworded,
    left_out,
    meaning,
    once,
    sentences,
    suggestions,
    teachable,
)
from shared import vocabulary
from shared.errors import Refused
from tests.server.dataset.table import AS_WRITTEN, REFUSED, REWORDED, safe


@pytest.mark.parametrize(("text", "canonical"), AS_WRITTEN.items())
def test_what_may_be_said_as_it_is_is_taken_without_a_question(text: str, canonical: str) -> None:
    assert teachable(text) == canonical
    assert teachable(f"  {text.lower().rstrip('.')}  ") == canonical


@pytest.mark.parametrize(("text", "becomes"), REWORDED.items())
def test_other_words_have_to_be_confirmed_and_say_what_would_be_lost(
    text: str, becomes: tuple[str, tuple[str, ...]]
) -> None:
    wording, lost = becomes
    with pytest.raises(Reworded) as found:
        teachable(text)
    assert (found.value.text, found.value.wording, found.value.lost) == (text, wording, lost)
    assert f"“{text}” would be taught as “{wording}”." in str(found.value)
    assert left_out(lost) in str(found.value)
    assert teachable(wording) == wording  # to give the wording is to confirm it
    assert safe(wording)


@pytest.mark.parametrize(("text", "because"), REFUSED.items())
def test_what_may_not_be_said_is_refused_with_the_reason_and_what_may_have_been_meant(text: str, because: str) -> None:
    with pytest.raises(NotSayable) as found:
        teachable(text)
    assert because in str(found.value)
    assert not str(found.value).endswith("?.")
    for sentence in found.value.suggestions:
        assert sentence in str(found.value)
        assert teachable(sentence) == sentence
        assert safe(sentence)


def test_a_slip_of_spelling_is_mended_in_a_suggestion_only() -> None:
    with pytest.raises(NotSayable, match="'stiars' is not in the vocabulary"):
        teachable("mind the stiars")
    assert suggestions("mind the stiars") == ("Stop, stairs down ahead.", "Caution, stairs up ahead.")
    assert suggestions("caution, barriar on the left") == ("Caution, barrier on the left.",)
    assert suggestions("flowers everywhere") == ()


@pytest.mark.parametrize(
    "text", ["don't cros, car ahaed", "nver go, hole", "wihtout the curb ahead", "not saef to walk"]
)
def test_a_denial_with_a_slip_of_spelling_is_never_mended_into_an_order_to_walk_on(text: str) -> None:
    with pytest.raises(NotSayable):
        teachable(text)
    orders = ("Continue", "Keep", "Cross", "Move", "Enter", "Follow", "Turn")
    assert [one for one in suggestions(text) if one.startswith(orders)] == []


def test_an_order_to_walk_on_is_never_suggested() -> None:
    assert suggestions("sidewalk ends ahead") == ("Caution, sidewalk ahead.",)
    assert suggestions("no sidewalk ahead") == ()
    assert suggestions("contnue straight") == suggestions("discontinue straight") == ()
    assert suggestions("sidwalk ahead") == ("Caution, sidewalk ahead.",)
    assert suggestions("stiars down ahead") == ("Stop, stairs down ahead.",)


def test_no_words_too_many_and_silence_say_what_to_do() -> None:
    with pytest.raises(Refused, match="Nothing should be said"):
        teachable(" \n ")
    with pytest.raises(Refused, match="3 to 8 words"):
        teachable("stop " * MAX_TEXT)
    with pytest.raises(NotSayable, match='choose "Nothing should be said"'):
        teachable("nothing")
    assert teachable(vocabulary.CLEAR) == vocabulary.CLEAR
    with pytest.raises(Reworded):
        teachable("path is clear")


@pytest.mark.parametrize(
    ("spoken", "means"),
    [
        ("Stop, curb ahead. Caution, bin on the left.", "Stop, curb ahead."),
        ("Caution, bin on the left. Stop, curb ahead.", "Stop, curb ahead."),
        ("Caution, bin on the left. Caution, pole ahead.", "Caution, bin on the left."),
        ("Stop, curb ahead. Stop, curb ahead.", "Stop, curb ahead."),
        ("Not sure, check ahead. Stop, curb ahead.", "Stop, curb ahead."),
        ("Stop, car approaching from left.", "Stop, vehicle approaching left."),
        ("Cross, vehicle ahead.", "Cross, vehicle ahead."),
        ("", ""),
        (vocabulary.CLEAR, ""),
    ],
)
def test_of_several_sentences_that_a_device_said_the_most_urgent_counts(spoken: str, means: str) -> None:
    assert meaning(spoken) == means


def test_what_a_device_repeated_counts_once() -> None:
    assert once("Stop, curb ahead. Stop, curb ahead.") == "Stop, curb ahead."
    assert once("stop curb ahead") == "stop curb ahead"


def test_every_sentence_to_choose_from_is_taken_as_it_is() -> None:
    assert len(sentences()) > 100
    assert [teachable(sentence) for sentence in sentences()] == list(sentences())


@given(st.text(max_size=300))
def test_any_text_is_taken_as_a_sentence_that_may_be_said_or_refused_with_a_reason(text: str) -> None:
    outcome: str | Refused
    try:
        outcome = teachable(text)
    except Refused as refused:
        outcome = refused
    assert str(outcome)
    assert isinstance(outcome, Refused) or vocabulary.may_be_spoken(outcome)
    assert all(vocabulary.may_be_spoken(one) for one in suggestions(text))
    assert meaning(text) != vocabulary.CLEAR
