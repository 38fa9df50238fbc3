"""The gate: every rule refuses by itself, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.learn import gate
from server.learn.gate import CaseScore, GateSettings, Scores, decide, paired_interval

SETTINGS = GateSettings()


def scores(count: int = 600, **changes: Any) -> Scores:
    """Nine in ten right, over three tiers; the first five are verified corrections."""
    cases = tuple(
        CaseScore(f"c{n}", "correction" if n < 5 else "known", 1 + n % 3, n % 10 != 9, False) for n in range(count)
    )
    return replace(Scores("v1", cases, look_p95_ms=80.0, parity=1.0, size_bytes=6_000_000), **changes)


def change(base: Scores, chosen: list[int], **fields: Any) -> Scores:
    cases = tuple(replace(c, **fields) if n in chosen else c for n, c in enumerate(base.cases))
    return replace(base, cases=cases)


CHAMPION = scores()
WRONG = [n for n in range(600) if n % 10 == 9]
RULES = {
    "_parity": (replace(CHAMPION, parity=0.949), "tokens are PyTorch's"),
    "_quantised": (replace(CHAMPION, slot_loss=0.011), "quantisation costs 0.011 of its slot F1"),
    "_worse": (change(CHAMPION, [*range(10, 100, 3), *range(11, 100, 3)], right=False), "all cases"),
    "_forgot": (change(CHAMPION, [2], right=False), "forgot the verified correction c2"),
    "_clear": (change(CHAMPION, WRONG, false_clear=True), "path is clear"),
    "_slow": (replace(CHAMPION, look_p95_ms=200.0), "a look takes 200 ms"),
    "_large": (replace(CHAMPION, size_bytes=20_000_000), "20.0 MB"),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_refuses_alone_and_only_by_itself(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, reason = RULES[rule]
    decision = decide(CHAMPION, candidate, SETTINGS)
    assert not decision.accepted
    assert reason in decision.reasons[0]
    monkeypatch.setattr(gate, rule, lambda *_: [] if rule in ("_worse", "_forgot") else "")
    assert decide(CHAMPION, candidate, SETTINGS).accepted, f"{rule} was not the only one to refuse"


def test_a_candidate_equal_to_the_champion_is_accepted() -> None:
    decision = decide(CHAMPION, replace(CHAMPION, version="v2"), SETTINGS)
    assert decision.accepted
    assert "540 of 600" in decision.reasons[0]


def test_on_few_cases_one_answer_is_more_than_quantisation_may_cost() -> None:
    few = scores(99, slot_loss=0.02)
    assert decide(None, few, SETTINGS).accepted
    assert not decide(None, scores(100, slot_loss=0.02), SETTINGS).accepted


def test_a_better_candidate_is_accepted() -> None:
    assert decide(CHAMPION, change(CHAMPION, WRONG, right=True), SETTINGS).accepted


def test_a_tier_is_judged_alone_once_it_has_enough_cases() -> None:
    few = change(CHAMPION, [n for n in range(600) if n >= 29 * 3], tier=2)  # 29 cases of tier 1 and of tier 3
    lost = [n for n in range(10, 29 * 3) if n % 3 == 0][:6]  # six of tier 1: one in a hundred of all
    assert decide(few, change(few, lost, right=False), SETTINGS).accepted
    strict = replace(SETTINGS, least_cases=29)
    assert any("tier 1" in reason for reason in decide(few, change(few, lost, right=False), strict).reasons)


def test_slowness_within_a_machines_noise_is_tolerated() -> None:
    quick = replace(CHAMPION, look_p95_ms=10.0)
    assert decide(quick, replace(quick, look_p95_ms=34.9), SETTINGS).accepted
    assert not decide(quick, replace(quick, look_p95_ms=35.1), SETTINGS).accepted
    assert decide(CHAMPION, replace(CHAMPION, look_p95_ms=119.0), SETTINGS).accepted


def test_a_correction_the_champion_had_wrong_too_is_not_forgotten() -> None:
    assert decide(change(CHAMPION, [2], right=False), change(CHAMPION, [2], right=False), SETTINGS).accepted


def test_the_first_model_needs_only_parity() -> None:
    assert decide(None, scores(look_p95_ms=9000.0), SETTINGS).accepted
    assert not decide(None, scores(parity=0.5), SETTINGS).accepted


def test_a_candidate_judged_on_nothing_is_refused() -> None:
    empty = replace(CHAMPION, cases=())
    assert "no cases" in decide(empty, empty, SETTINGS).reasons[0]
    assert not decide(None, empty, SETTINGS).accepted


def test_all_reasons_are_told_at_once() -> None:
    bad = replace(change(CHAMPION, [2, *WRONG], right=False, false_clear=True), parity=0.1, look_p95_ms=1e3)
    assert len(decide(CHAMPION, bad, SETTINGS).reasons) >= 4


def test_shares_are_by_group_and_tier() -> None:
    assert gate.share_right(CHAMPION) == 0.9
    assert gate.share_right(CHAMPION, "correction") == 1.0
    assert gate.share_right(CHAMPION, "held_out") == 0.0
    assert 0.85 < gate.share_right(CHAMPION, tier=1) < 0.95


PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(PAIRS)
def test_the_interval_holds_the_mean_and_stays_in_range(pairs: list[tuple[bool, bool]]) -> None:
    old, new = [a for a, _ in pairs], [b for _, b in pairs]
    low, high = paired_interval(old, new, resamples=300)
    mean = (sum(new) - sum(old)) / len(pairs)
    assert -1.0 <= low <= high <= 1.0
    assert low - 0.5 <= mean <= high + 0.5
    assert (low, high) == paired_interval(old, new, resamples=300)


@given(PAIRS)
def test_exchanging_old_and_new_turns_the_interval_over(pairs: list[tuple[bool, bool]]) -> None:
    old, new = [a for a, _ in pairs], [b for _, b in pairs]
    low, high = paired_interval(old, new, resamples=300)
    back = paired_interval(new, old, resamples=300)
    assert back == pytest.approx((-high, -low))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_equal_answers_have_no_interval(right: list[bool]) -> None:
    assert paired_interval(right, right, resamples=100) == (0.0, 0.0)


@given(st.integers(40, 200), st.integers(2, 6))
def test_more_of_the_same_cases_narrow_the_interval(count: int, times: int) -> None:
    old, new = [n % 4 == 0 for n in range(count)], [n % 3 == 0 for n in range(count)]
    low, high = paired_interval(old, new, resamples=400)
    closer = paired_interval(old * times * 4, new * times * 4, resamples=400)
    assert closer[1] - closer[0] < high - low
