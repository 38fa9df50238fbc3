"""Confidence that means what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.evaluation import answers as evaluate
from server.evaluation.answers import Answer, Case
from server.gate import calibrate
from shared import vocabulary
from shared.calibration import Calibration

SIDES = vocabulary.SIDES_SEEN
CURB, POLE = "Stop, curb ahead.", "Caution, pole ahead."
shares = st.floats(0, 1)
calibrations = st.builds(Calibration, st.floats(0.2, 5), st.floats(0.2, 5), st.floats(-2, 2))


def answer(
    *,
    confidence: float = 0.9,
    right: bool = True,
    scores: dict[tuple[str, str], float] | None = None,
    there: frozenset[tuple[str, str]] | None = None,
    truth: str = CURB,
    walk: str = "",
) -> Answer:
    case = Case("c", "drawn", np.zeros((2, 2, 3), np.uint8), truth, there=there, walk=walk)
    found = tuple((name, side, score) for (name, side), score in (scores or {("curb", "ahead"): 0.9}).items())
    return Answer(case, truth if right else POLE, confidence, found, 1.0, 1.0)


def sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-value)), np.float64)


@given(shares)
def test_the_default_changes_nothing_to_the_bit(probability: float) -> None:
    assert Calibration().sentence(probability) == probability
    assert Calibration().hazard(probability) == probability
    assert Calibration.from_dict({}) == Calibration.from_dict({"of a later version": "x"}) == Calibration()


@given(calibrations, shares, shares)
def test_a_calibration_turns_no_two_answers_round(by: Calibration, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= by.sentence(low) <= by.sentence(high) <= 1
    assert 0 <= by.hazard(low) <= by.hazard(high) <= 1
    assert Calibration.from_dict(by.to_dict()) == by


@given(calibrations, st.lists(st.floats(-8, 8), min_size=1, max_size=6))
def test_scores_are_calibrated_as_their_logits_are(by: Calibration, logits: list[float]) -> None:
    array = np.array(logits, np.float32)
    plain = Calibration().hazards(array)
    np.testing.assert_allclose(by.hazards(array), [by.hazard(float(score)) for score in plain], atol=1e-6)
    np.testing.assert_array_equal(plain, sigmoid(array.astype(np.float64)))


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"hazard_scale": -1.0}, {"hazard_bias": float("nan")}])
def test_a_calibration_that_would_turn_them_round_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="calibrates nothing"):
        Calibration.from_dict(wrong)


@pytest.mark.parametrize("true", [0.6, 1.0, 2.0])
def test_the_temperature_that_made_answers_too_sure_is_found(true: float) -> None:
    rng = np.random.default_rng(3)
    odds = rng.normal(1.5, 2, 4000)
    right = rng.random(4000) < sigmoid(odds / true)
    found = calibrate.temperature(sigmoid(odds).tolist(), right.tolist())
    assert found == pytest.approx(true, rel=0.12)


def test_few_answers_hardly_change_anything() -> None:
    assert calibrate.temperature([], []) == 1.0
    assert 0.8 < calibrate.temperature([0.9] * 3, [True] * 3) <= 1.0
    assert calibrate.scale_and_bias([0.2] * 19 + [0.1] * 500, [True] * 19 + [False] * 500) == (1.0, 0.0)


def test_the_scale_and_bias_of_hazards_are_found() -> None:
    rng = np.random.default_rng(4)
    odds = rng.normal(-1, 1.5, 4000)
    there = rng.random(4000) < sigmoid(1.8 * odds + 0.7)
    assert calibrate.scale_and_bias(sigmoid(odds).tolist(), there.tolist()) == pytest.approx((1.8, 0.7), abs=0.15)


def test_fitting_says_what_it_does_to_answers_it_never_saw() -> None:
    rng = np.random.default_rng(5)
    odds = rng.normal(2, 2, 1000)
    answers = [
        answer(
            confidence=float(p),
            right=bool(hit),
            there=frozenset({("curb", "ahead")} if hit else ()),
            scores={("curb", "ahead"): float(p)},
            walk=f"walk-{n % 40}",
        )
        for n, (p, hit) in enumerate(zip(sigmoid(odds), rng.random(1000) < sigmoid(odds / 3), strict=True))
    ]
    fitted = calibrate.fit(answers)
    assert fitted.answers == 1000
    for before, after in ((fitted.sentences_before, fitted.sentences), (fitted.hazards_before, fitted.hazards)):
        assert before is not None
        assert after is not None
        assert after < 0.05 < before
    sure = calibrate.calibrated(answers, fitted.by)
    assert [a.confidence for a in sure] == [fitted.by.sentence(a.confidence) for a in answers]
    assert calibrate.fit([]).by == Calibration()


def test_what_is_known_of_hazards_is_what_was_taught() -> None:
    scores = {("curb", side): 0.6 for side in SIDES} | {("pole", "ahead"): 0.4}
    named = list(evaluate.known_hazards(answer(scores=scores)))
    assert named == [(0.6, False), (0.6, True), (0.6, False)], "of other things a sentence says nothing"
    clear = list(evaluate.known_hazards(answer(scores=scores, truth=vocabulary.CLEAR)))
    assert clear == [(0.6, False)] * 3 + [(0.4, False)]
    drawn = list(evaluate.known_hazards(answer(scores=scores, there=frozenset({("pole", "ahead"), ("bin", "ahead")}))))
    assert sorted(drawn) == [(0.0, True), (0.4, True), (0.6, False), (0.6, False), (0.6, False)]


def test_what_is_spoken_is_right_nine_times_in_ten() -> None:
    unsure = [answer(confidence=0.6, right=n % 2 == 0) for n in range(40)]
    sure = [answer(confidence=0.8, right=n % 20 != 0) for n in range(100)]
    found = evaluate.thresholds([*unsure, *sure])
    assert 0.6 < found["speak_above"] <= 0.8
    assert found["flag_below"] >= found["speak_above"], "all that is kept to oneself is looked at by a person"
    assert evaluate.thresholds(sure)["speak_above"] == 0.5
    hopeless = [answer(confidence=0.99, right=False) for _ in range(20)]
    assert evaluate.thresholds(hopeless)["speak_above"] == evaluate.SPEAK_GRID[-1]
    assert evaluate.sure_enough(sure)
    assert not evaluate.sure_enough(hopeless)
    assert not evaluate.sure_enough([]), "of nothing, nothing is right"
