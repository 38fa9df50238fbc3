"""Intervals whose unit is the walk: never narrower than what independent moments would give, and wide for few walks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.evaluation.measures import wilson
from server.gate import resample
from server.gate.resample import paired, rate, share

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcdefg")), min_size=1, max_size=60)


def columns(pairs: list[tuple[bool, bool, str]]) -> tuple[list[bool], list[bool], list[str]]:
    return [a for a, _, _ in pairs], [b for _, b, _ in pairs], [c for _, _, c in pairs]


@given(PAIRS)
def test_the_interval_holds_the_difference_and_stays_in_range(pairs: list[tuple[bool, bool, str]]) -> None:
    found = paired(*columns(pairs), resamples=200)
    low, high = found.interval
    assert -1.0 <= low <= found.difference + 1e-9
    assert found.difference - 1e-9 <= high <= 1.0
    assert found == paired(*columns(pairs), resamples=200)


@given(PAIRS)
def test_exchanging_old_and_new_turns_the_interval_over(pairs: list[tuple[bool, bool, str]]) -> None:
    old, new, walks = columns(pairs)
    low, high = paired(old, new, walks, resamples=200).interval
    assert paired(new, old, walks, resamples=200).interval == pytest.approx((-high, -low), abs=1e-9)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_no_difference_seen_among_few_is_not_no_difference(right: list[bool]) -> None:
    low, high = paired(right, right, [str(n) for n in range(len(right))], resamples=50).interval
    assert low == pytest.approx(-high)
    assert low <= -2.7 / (len(right) + 2.71)


def test_one_walk_tells_nothing_however_many_moments_it_has() -> None:
    assert paired([True] * 500, [True] * 500, ["a"] * 500, resamples=50).interval == (-1.0, 1.0)
    assert share([True] * 500, ["a"] * 500, resamples=50) == (0.0, 1.0)
    assert rate([0], [60.0], resamples=50) == (0.0, math.inf)


@pytest.mark.parametrize("walks", [2, 3, 6, 12])
def test_moments_of_one_walk_that_agree_widen_the_interval(walks: int) -> None:
    """Half of the walks all right, half all wrong: 600 moments, of which only the walks are witnesses."""
    of = [str(n % walks) for n in range(600)]
    hits = [n % walks % 2 == 0 for n in range(600)]
    low, high = share(hits, of, resamples=1000)
    alone = share(hits, [str(n) for n in range(600)], resamples=1000)
    assert high - low > 4 * (alone[1] - alone[0])


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), min_size=1, max_size=80))
def test_a_share_is_never_surer_than_wilsons(moments: list[tuple[bool, str]]) -> None:
    hits, walks = [hit for hit, _ in moments], [walk for _, walk in moments]
    low, high = share(hits, walks, resamples=100)
    least, most = wilson(sum(hits), len(hits))
    assert low <= least + 1e-9
    assert high >= most - 1e-9


def test_coverage_of_the_paired_interval_on_clustered_moments() -> None:
    """Two equal models whose errors come walk by walk: a 90 % interval may leave out the truth in about a tenth."""
    import numpy as np

    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        walks, old, new = [], [], []
        for walk in range(8):
            p, q = rng.beta(2, 2, 2)  # how hard the walk is for either; the same on average
            walks += [str(walk)] * 12
            old += list(rng.random(12) < p)
            new += list(rng.random(12) < q)
        low, high = paired(old, new, walks, resamples=300).interval
        missed += not low <= 0 <= high
    assert missed / 300 < 0.14


def test_a_rate_is_never_surer_than_the_poisson_one() -> None:
    low, high = rate([0, 0, 0], [2.0, 2.0, 2.0], resamples=100)
    assert low == 0.0
    assert high == pytest.approx(3.69 / 6, rel=0.02)
    burst = rate([9, 0, 0], [2.0, 2.0, 2.0], resamples=400)
    assert burst[1] > rate([3, 3, 3], [2.0, 2.0, 2.0], resamples=400)[1]


@pytest.mark.parametrize("bound", [0.02, 0.03, 0.1])
def test_so_many_cases_without_an_error_reach_the_bound(bound: float) -> None:
    needed = resample.cases_for(bound)
    assert wilson(0, needed)[1] <= bound < wilson(0, needed - 2)[1]


def test_the_sign_test_is_the_binomial_one() -> None:
    walks = ["a"] * 6
    assert paired([True] * 5 + [False], [False] * 5 + [True], walks, resamples=9).chance == pytest.approx(7 / 64)
    assert paired([True] * 6, [True] * 6, walks, resamples=9).chance == 1.0
