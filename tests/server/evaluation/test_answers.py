"""How good a bundle is, and what its figures mean."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import walks
from server.evaluation import answers as evaluate
from server.evaluation.answers import Answer, Case
from server.evaluation.measures import wilson
from shared import vocabulary

SIDE = "ahead"


def answer(truth: str, said: str, *, confidence: float = 0.9, score: float = 0.9, best: str = "") -> Answer:
    case = Case("c", "known", np.zeros((2, 2, 3), np.uint8), truth)
    name = best or evaluate.named(truth) or "pole"
    return Answer(case, said, confidence, ((name, SIDE, score),), 10.0, 20.0)


CURB, POLE = "Stop, curb ahead.", "Caution, pole ahead."
ANSWERS = [
    answer(CURB, CURB),
    answer(CURB, POLE, best="pole"),
    answer(POLE, vocabulary.CLEAR, score=0.1),
    answer(vocabulary.CLEAR, vocabulary.CLEAR, score=0.1),
]


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilsons_interval_holds_the_share(hits: int, more: int) -> None:
    low, high = wilson(hits, hits + more)
    assert -1e-4 <= low <= hits / (hits + more) + 1e-4
    assert hits / (hits + more) - 1e-4 <= high <= 1


def test_wilsons_interval_is_the_published_one() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=2e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_summary_counts_what_it_says() -> None:
    found = evaluate.summary(ANSWERS)
    assert (found["frames"], found["instruction_right"], found["silence_right"]) == (4, 0.5, 1.0)
    assert found["object_right"] == found["false_clear"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["grammar"] == 1.0
    assert found["look_ms"] == {"p50": 10.0, "p95": 10.0}
    tiers = found["recall_by_tier"]
    assert isinstance(tiers, dict)
    assert (tiers["1"]["cases"], tiers["1"]["recall"]) == (2, 0.5)
    assert evaluate.summary([])["frames"] == 0


def test_confusion_names_what_was_said_instead() -> None:
    assert evaluate.confusion(ANSWERS) == {
        "curb": Counter({"curb": 1, "pole": 1}),
        "pole": Counter({"(clear)": 1}),
        "(clear)": Counter({"(clear)": 1}),
    }


def test_thresholds_separate_what_is_there_from_what_is_not() -> None:
    there = [answer(CURB, CURB, score=0.45, confidence=0.8) for _ in range(20)]
    nothing = [answer(vocabulary.CLEAR, vocabulary.CLEAR, score=0.37, confidence=0.8) for _ in range(20)]
    found = evaluate.thresholds([*there, *nothing])
    assert 0.37 < found["hazard_above"] <= 0.45
    plain = [answer(CURB, CURB, score=0.9) for _ in range(20)]
    assert evaluate.thresholds(plain)["hazard_above"] == 0.5, "what is more likely there than not counts as seen"
    assert found["flag_below"] == 0.8
    assert evaluate.thresholds([]) == {"hazard_above": 0.5, "speak_above": 0.5, "flag_below": 0.5}


def scored(truth: str) -> Answer:
    case = Case("c", "held_out", np.zeros((2, 2, 3), np.uint8), truth)
    return Answer(case, truth, 0.9, (("pole", SIDE, 0.7), ("curb", SIDE, 0.4)), 10.0, 20.0)


def test_a_sentence_without_an_object_neither_calibrates_nor_moves_a_threshold() -> None:
    turn = [scored("Turn right.") for _ in range(60)]
    assert [pair for answer in turn for pair in evaluate.known_hazards(answer)] == []
    assert list(evaluate.known_hazards(scored(vocabulary.CLEAR))) == [(0.7, False), (0.4, False)]
    assert list(evaluate.known_hazards(scored(POLE))) == [(0.7, True)]
    known = [answer(CURB, CURB, score=0.45) for _ in range(20)]
    assert evaluate.thresholds([*known, *turn])["hazard_above"] == evaluate.thresholds(known)["hazard_above"]


def test_how_often_a_class_is_right_is_told_of_as_many_pictures_as_show_it() -> None:
    said = [answer(CURB, CURB), answer(CURB, CURB, score=0.4), answer(vocabulary.CLEAR, "", best="curb")]
    found = evaluate.measured([*said, answer(CURB, POLE, best="pole")], above=0.5)
    assert found == {"curb": {"precision": 0.5, "of": 2}}, "a pole where only a curb was confirmed is not known"
    assert evaluate.measured(said, above=0.95) == {}


def test_a_drawn_frame_comes_with_all_that_is_in_reach() -> None:
    for case in evaluate.rendered_cases(12, seed=8):
        assert case.there is not None
        name = evaluate.named(case.text)
        assert not name or name in {thing for thing, _ in case.there}


def test_held_out_frames_are_the_same_every_time_and_others_for_another_seed() -> None:
    first, again, other = (evaluate.rendered_cases(2, seed=s) for s in (5, 5, 6))
    assert all((a.image == b.image).all() and a.text == b.text for a, b in zip(first, again, strict=True))
    assert not any((a.image == b.image).all() for a, b in zip(first, other, strict=True))


def test_looks_of_walks_are_held_out_and_show_things_out_of_reach_too() -> None:
    cases = evaluate.walk_cases(40)
    again = evaluate.walk_cases(40)
    assert all((a.image == b.image).all() and a.text == b.text for a, b in zip(cases, again, strict=True))
    assert all(case.there is not None and {name for name, _ in case.there} <= set(walks.KNOWN) for case in cases)
    assert len({case.text for case in cases}) > 10
    assert not any((a.image == b.image).all() for a, b in zip(cases, evaluate.walk_cases(40, seed=1), strict=True))


def test_the_shipped_starter_names_the_hazards_it_knows(starter_bundle: Path) -> None:
    answers = evaluate.run(starter_bundle, evaluate.rendered_cases(250, seed=4), threads=1)
    assert {evaluate.named(a.case.text) for a in answers} - {""} <= set(walks.KNOWN)
    found = evaluate.summary(answers)
    assert isinstance(found["object_right"], float)
    assert found["object_right"] >= 0.85
    assert found["grammar"] == 1.0
