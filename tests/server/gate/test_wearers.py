"""An adapter is offered where its wearer hears more that is right, and no fewer things to stop for are warned of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.evaluation.answers import Answer, Case
from server.evaluation.facts import REAL
from server.gate import wearers
from server.gate.evidence import CaseScore, Evidence, Scores, Verdict
from server.gate.settings import GateSettings
from shared import vocabulary
from tests.server.learn.judged import PICTURE, THRESHOLDS, Seen, held_out, mostly, right, scores

GATE = GateSettings()


def decided(old: Scores, new: Scores, everywhere: tuple[Scores, Scores] | None = None) -> tuple[Verdict, str]:
    before, after = everywhere or (old, new)
    decision = wearers.decide(Evidence(new, old), everywhere=(before.cases, after.cases), settings=GATE)
    return decision.verdict, " ".join(decision.reasons)


def moments(walks: int = 8) -> list[Seen]:
    return held_out(walks=walks, each=24)


def test_one_that_is_clearly_better_is_offered_with_its_figures() -> None:
    verdict, reasons = decided(scores("champion", mostly(0.5), moments()), scores("adapted", mostly(0.9), moments()))
    assert verdict is Verdict.PROMOTED
    assert "held-out moments of the wearer right" in reasons


def test_one_that_changes_nothing_is_not_offered() -> None:
    same = scores("champion", mostly(0.7), moments())
    verdict, reasons = decided(same, replace(same, version="adapted"))
    assert verdict is Verdict.REFUSED
    assert "not better beyond chance" in reasons


@pytest.mark.parametrize("walks", [1, 4])
def test_a_few_walks_show_nothing_however_good_it_looks(walks: int) -> None:
    verdict, reasons = decided(
        scores("champion", mostly(0.2), moments(walks)), scores("adapted", right, moments(walks))
    )
    assert verdict is Verdict.REFUSED
    assert "it takes 5 held-out walks of the wearer" in reasons


def test_a_thing_to_stop_for_that_is_lost_on_another_wearers_walk_keeps_it_away() -> None:
    old, new = scores("champion", mostly(0.5), moments()), scores("adapted", right, moments())
    others = held_out(walks=3, each=10, group=REAL)
    before, after = scores("champion", right, others), scores("adapted", right, others)
    lost = next(case for case in after.cases if case.tier == 1)
    cases = tuple(replace(case, warned=False) if case is lost else case for case in after.cases)
    verdict, reasons = decided(old, new, (before, replace(after, cases=cases)))
    assert verdict is Verdict.REFUSED
    assert "things to stop for" in reasons


def test_what_the_devices_self_test_finds_keeps_it_away() -> None:
    old, new = scores("champion", mostly(0.5), moments()), scores("adapted", right, moments())
    evidence = Evidence(new, old)
    unfit = replace(evidence, export=replace(evidence.export, unfit=("golden 3 is not seen",)))
    decision = wearers.decide(unfit, everywhere=(old.cases, new.cases), settings=GATE)
    assert decision.reasons == ("golden 3 is not seen",)


def answered(due: str, text: str, *hazards: tuple[str, str, float]) -> CaseScore:
    case = Case("c", REAL, PICTURE, due, walk="w")
    (score,) = wearers.served([Answer(case, text, 0.9, hazards, 1.0, 1.0)], THRESHOLDS)
    return score


def test_a_thing_to_stop_for_is_judged_by_the_scores_that_warn_of_it_and_not_by_the_words() -> None:
    curb = "Stop, curb ahead."
    assert answered(curb, vocabulary.CLEAR, ("curb", "ahead", 0.9)).right
    assert not answered(curb, curb, ("curb", "ahead", 0.1)).right


def test_where_nothing_is_to_be_said_neither_words_nor_scores_may_warn() -> None:
    assert answered(vocabulary.CLEAR, vocabulary.CLEAR, ("curb", "ahead", 0.1)).right
    assert not answered(vocabulary.CLEAR, vocabulary.CLEAR, ("curb", "ahead", 0.9)).right
    assert not answered(vocabulary.CLEAR, "Caution, pole ahead.", ("curb", "ahead", 0.1)).right


def test_the_gain_is_the_difference_of_the_shares_with_the_walk_as_unit() -> None:
    old, new = scores("champion", mostly(0.5), moments()), scores("adapted", right, moments())
    gain = wearers.gain_of(old.cases, new.cases, GATE)
    assert (gain.cases, gain.walks, gain.adapted) == (len(old.cases), 8, 1.0)
    assert gain.gain == pytest.approx(1.0 - gain.without)
    assert 0 < gain.low < gain.gain < gain.high
