"""What each floor counts: only its own moments, and what the wearer would hear twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.evaluation.facts import REAL
from server.gate import floors
from server.gate.evidence import Evidence, Rule, RuleVerdict, Verdict
from server.gate.settings import FloorSettings, GateSettings
from tests.server.learn.judged import OBSTACLES, STOPS, Seen, evidence, held_out, mostly, right, scores

HELD_OUT = held_out()


def rule(given: Evidence, name: str) -> Rule:
    return next(each for each in floors.rules(given, FloorSettings(), GateSettings()) if each.name == name)


def test_the_recall_of_things_to_stop_for_counts_these_and_nothing_else() -> None:
    def knows_only_stops(seen: Seen) -> tuple[str, float]:
        return (seen.due if seen.due in STOPS else "Caution, bin ahead."), 0.9

    def knows_only_obstacles(seen: Seen) -> tuple[str, float]:
        return (seen.due if seen.due in OBSTACLES else "Caution, bin ahead."), 0.9

    assert rule(evidence(scores("a", knows_only_stops, HELD_OUT)), "tier-1 recall").verdict == RuleVerdict.PASSED
    missed = rule(evidence(scores("b", knows_only_obstacles, HELD_OUT)), "tier-1 recall")
    assert missed.verdict == RuleVerdict.FAILED
    assert f"warns of 0 of {sum(seen.due in STOPS for seen in HELD_OUT)} held-out things to stop for" in missed.sentence


def test_words_that_come_again_within_ten_seconds_keep_a_model_on_trial() -> None:
    good = scores("a", right, HELD_OUT)
    assert rule(evidence(good), "repeats").verdict == RuleVerdict.PASSED
    twice = replace(good, walks=tuple(replace(walk, repeats=1) for walk in good.walks))
    failed = rule(evidence(twice), "repeats")
    assert (failed.verdict, failed.leads_to) == (RuleVerdict.FAILED, Verdict.TRIAL)
    real = sum(walk.group == REAL for walk in good.walks)
    assert failed.figures["repeats"] == real
    assert failed.sentence.startswith(f"{real} repeats within 10 s on whole held-out walks")


def test_false_alarms_a_minute_come_from_what_is_counted_on_real_walks() -> None:
    good = scores("a", right, HELD_OUT)
    quiet = rule(evidence(good), "false alarms a minute").figures
    assert (quiet["alarms"], quiet["a_minute"]) == (0, 0.0)
    assert float(quiet["minutes"]) > 10
    loud = replace(good, walks=tuple(replace(walk, alarms=3) for walk in good.walks))
    figures = rule(evidence(loud), "false alarms a minute").figures
    assert figures["a_minute"] == pytest.approx(3 * len(good.walks) / float(quiet["minutes"]))


@pytest.mark.parametrize(
    ("share", "confidence", "way", "sign"),
    [(0.6, 0.97, "sure of what is wrong", 1), (1.0, 0.4, "unsure of what is right", -1)],
)
def test_the_way_in_which_confidence_is_wrong_is_told(share: float, confidence: float, way: str, sign: int) -> None:
    def said(seen: Seen) -> tuple[str, float]:
        return mostly(share)(seen)[0], confidence

    failed = rule(evidence(scores("a", said, HELD_OUT)), "calibration")
    assert failed.verdict == RuleVerdict.FAILED
    assert way in failed.sentence
    assert float(failed.figures["overconfidence"]) * sign > 0.1


def test_too_few_things_ask_for_as_many_as_are_missing() -> None:
    quiet = [seen for seen in HELD_OUT if seen.due not in (*STOPS, *OBSTACLES)]
    nothing = rule(evidence(scores("a", right, quiet)), "tier-1 recall")
    assert nothing.leads_to is Verdict.TRIAL
    assert str(FloorSettings().tier1_cases) in nothing.sentence
