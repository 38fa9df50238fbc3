"""What counts as flat in a long walk."""

from __future__ import annotations

import numpy as np
import pytest

from tests.faults.long_walk import SAMPLE_S, WARM_UP_S, Sample, slope

HOUR = np.arange(0, WARM_UP_S + 3600, SAMPLE_S)


def walk(rss_mb: np.ndarray) -> list[Sample]:
    return [Sample(float(at_s), float(mb), 20, 18) for at_s, mb in zip(HOUR, rss_mb, strict=True)]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, HOUR.size)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_only_scatters_is_flat_and_a_leak_of_ten_megabytes_an_hour_is_not(seed: int) -> None:
    assert slope(walk(220 + noise(seed)), "rss_mb")["flat"] is True
    leaking = slope(walk(220 + noise(seed) + HOUR / 360), "rss_mb")
    assert leaking["flat"] is False
    assert leaking["rise"] == pytest.approx(10, abs=2)


def test_what_grows_while_it_starts_does_not_count() -> None:
    assert slope(walk(220 + noise(4) + np.minimum(HOUR, WARM_UP_S) / 10), "rss_mb")["flat"] is True


def test_one_more_thread_in_each_quarter_of_an_hour_is_not_flat() -> None:
    samples = [Sample(float(at_s), 220, 20, 18 + int(at_s // 900)) for at_s in HOUR]
    assert slope(samples, "threads")["flat"] is False
    assert slope(samples, "fds")["flat"] is True


def test_a_walk_of_minutes_proves_nothing() -> None:
    assert slope(walk(220 + noise(5))[:60], "rss_mb")["flat"] is None
