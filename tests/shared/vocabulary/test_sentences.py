"""Every sentence that can be produced, judged by rules that know nothing of the vocabulary's table."""

from __future__ import annotations

import re

import pytest

from shared import monitor, vocabulary

# Written by hand, from the safety rules alone: not read from vocabulary.toml, not shared with shared/monitor.py.
ORDERS_TO_GO = ("continue", "move", "cross", "enter", "follow", "keep")
STOP_FOR = (
    "curb", "curb ramp", "street edge", "drop-off", "stairs down", "vehicle", "bicycle", "head obstacle",
    "train tracks",
)  # fmt: skip
BESIDE = (" on the left.", " on the right.", " left.", " right.", " behind.")
COMING = (" approaching ", " closing fast ")


def fault(sentence: str) -> str:
    """What is deadly, false or unclear about a sentence, "" = nothing."""
    lower = sentence.lower()
    first = re.split("[ ,.]", lower)[0]
    body = f" {lower.partition(', ')[2]}".replace(".", " .").replace("  ", " ")
    if any(re.search(rf"\b{word}\b", lower) for word in ("safe", "clear", "now", "not", "no", "cross")):
        return "promises or denies"
    if not 1 <= len(lower.split()) <= 8:
        return "length"
    if sentence[0] != sentence[0].upper() or not sentence.endswith(".") or "  " in sentence:
        return "form"
    if not body.strip():
        return ""
    if len(lower.split()) < 3:
        return "length"
    named = [name for name in STOP_FOR if re.match(rf"{name}\b", body.strip())]
    coming = any(word in f"{body} " for word in COMING)
    beside = sentence.endswith(BESIDE) and "slightly" not in lower
    if first in ORDERS_TO_GO and named and (coming or not beside):
        return "an order to go on towards something to stop for"
    if first in ORDERS_TO_GO and re.search(r"\b(blocked|wet)\b.* ahead|walk signal", body) and " straight" in lower:
        return "an order to go on into what is in the way"
    if "walk signal" in body and first not in ("stop", "wait", "caution"):
        return "a signal with an order"
    way = re.match(r"(?:keep|move|turn|step) (left|right),", lower)
    if way and way[1] in body.split():
        return "an order towards what is there"
    return ""


def test_no_sentence_that_can_be_produced_is_forbidden() -> None:
    faults = {sentence: fault(sentence) for sentence in vocabulary.sayable() if fault(sentence)}
    assert faults == {}
    print(f"{len(vocabulary.sayable())} sentences, none forbidden")


def test_the_number_of_sentences_is_known() -> None:
    """A table that suddenly allows more, or hardly anything, is noticed; raise the bounds on purpose."""
    assert 4_000 < len(vocabulary.sayable()) < 8_000


@pytest.mark.parametrize(
    "deadly",
    [
        "Cross, vehicle ahead.", "Continue straight, vehicle ahead.", "Cross, street edge ahead.",
        "Enter, drop-off ahead.", "Keep straight, stairs down ahead.", "Move left, vehicle approaching right.",
        "Follow, train tracks ahead.", "Continue straight, walk signal red ahead.", "Move left, bin on the left.",
        "Continue straight, sidewalk blocked ahead.", "Continue straight, curb slightly left.",
        "Cross, crosswalk ahead.", "Continue straight, walk signal green ahead.",
    ],
)  # fmt: skip
def test_the_rules_see_what_is_deadly_and_it_cannot_be_produced(deadly: str) -> None:
    assert fault(deadly), "the rules of this test would let it through"
    assert deadly not in vocabulary.sayable()
    assert vocabulary.problems(deadly)
    assert not vocabulary.may_be_spoken(deadly)
    assert monitor.stopped(deadly, tier=3, why="worded")


def test_every_object_can_be_named_at_every_side_and_every_manoeuvre_said() -> None:
    known = vocabulary.sayable()
    for name in vocabulary.load().objects:
        for side in vocabulary.load().sides:
            assert vocabulary.instruct(name, side) in known
    assert {"Turn left.", "Turn right.", "Stop.", "Turn right at the corner.", "Follow the path."} <= set(known)


def test_every_sentence_reads_as_itself() -> None:
    for sentence, slots in vocabulary.sayable().items():
        found = vocabulary.read(sentence)
        assert (found.as_written, found.wording, found.taught_as) == (True, sentence, sentence)
        assert (found.slots, found.lost) == (slots, ())


def test_the_monitor_lets_every_sentence_of_its_tier_through() -> None:
    for sentence, slots in vocabulary.sayable().items():
        assert monitor.stopped(sentence, tier=vocabulary.tier(slots), why="worded") is None


def test_a_warning_has_at_most_four_words_and_begins_with_an_alert() -> None:
    for sentence, slots in vocabulary.sayable().items():
        if vocabulary.tier(slots) == 1:
            assert len(sentence.split()) <= 4
            assert sentence.split(",")[0].rstrip(".") in ("Stop", "Wait", "Caution", "Duck")
