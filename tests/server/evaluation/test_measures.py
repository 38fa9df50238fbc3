"""Shares, rates and calibration against cases worked out by hand or printed elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.evaluation.measures import EventRate, Proportion, Spread, calibration, f1, f1_interval


def test_a_share_has_its_wilson_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 has the Wilson interval 0.2553 to 0.3662.
    assert Proportion.of(81, 263) == Proportion(81, 263, 0.308, 0.2553, 0.3662)


def test_nothing_counted_has_no_share() -> None:
    assert Proportion.of(0, 0) == Proportion(0, 0, None, 0.0, 1.0)


def test_a_rate_has_an_interval_that_is_the_exact_one() -> None:
    # Exact Poisson limits (Garwood 1936): 10 events 4.80 to 18.39, none 0 to 3.69.
    ten = EventRate.of(10, 60.0)
    assert [ten.per_minute, ten.low, ten.high] == pytest.approx([10.0, 4.7954, 18.3904], abs=1e-4)
    none = EventRate.of(0, 60.0)
    assert [none.per_minute, none.low, none.high] == pytest.approx([0.0, 0.0, 3.6889], abs=1e-4)


def test_a_rate_is_by_the_minute() -> None:
    assert EventRate.of(3, 120.0).per_minute == 1.5
    assert EventRate.of(3, 0.0).per_minute is None


def test_a_spread_of_nothing_is_empty_not_zero() -> None:
    assert Spread.of([]) == Spread(0, None, None, None, None)
    assert Spread.of([1.0, 2.0, 3.0]).p50 == 2.0


def test_the_calibration_error_is_weighted_by_the_bins() -> None:
    # Two at 0.95, one of them right: gap 0.45. Two at 0.55, both right: gap 0.45. Two at 0.05, none right: gap 0.05.
    found = calibration([0.95, 0.95, 0.55, 0.55, 0.05, 0.05], [True, False, True, True, False, False])
    assert found.ece == pytest.approx((2 * 0.45 + 2 * 0.45 + 2 * 0.05) / 6, abs=1e-4)
    assert [(one.low, one.count, one.right) for one in found.bins] == [(0.0, 2, 0.0), (0.5, 2, 1.0), (0.9, 2, 0.5)]
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 2 * 0.45**2 + 2 * 0.05**2) / 6, abs=1e-4)


def test_a_confidence_of_one_belongs_to_the_topmost_bin() -> None:
    assert calibration([1.0, 1.0], [True, True]).ece == 0.0


def test_without_answers_there_is_no_calibration() -> None:
    assert calibration([], []).ece is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_the_calibration_error_is_between_0_and_1_and_no_bin_is_lost(answers: list[tuple[float, bool]]) -> None:
    found = calibration([sure for sure, _ in answers], [right for _, right in answers])
    assert found.ece is not None
    assert 0 <= found.ece <= 1
    assert sum(one.count for one in found.bins) == len(answers)


def test_f1_is_twice_the_hits_over_all_that_was_said_or_due() -> None:
    assert f1(3, 1, 2) == pytest.approx(6 / 9, abs=1e-4)
    assert f1(0, 0, 0) is None


def test_the_interval_of_f1_shrinks_with_more_moments_and_holds_the_value() -> None:
    few, many = [(2, 1, 0), (1, 1, 2)] * 10, [(2, 1, 0), (1, 1, 2)] * 200
    narrow, wide = f1_interval(many), f1_interval(few)
    assert narrow is not None
    assert wide is not None
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    assert narrow[0] < 6 / 10 < narrow[1]
    assert f1_interval([]) is None
