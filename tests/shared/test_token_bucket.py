"""No sender gets more through than the rate and one burst, and the memory of senders is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.token_bucket import RateLimiter, TokenBucket


@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 50), st.integers(1, 100))
def test_no_rhythm_gets_more_through_than_the_rate_and_its_burst(waits: list[float], rate: int, burst: int) -> None:
    limiter, now_s, taken = RateLimiter(rate_per_s=rate, capacity=burst), 0.0, 0
    for wait in waits:
        now_s += wait
        taken += limiter.allows("pi-1", now_s)
    assert taken <= burst + rate * now_s + 1


def test_a_bucket_gives_a_burst_and_fills_again() -> None:
    limiter = RateLimiter(rate_per_s=1 / 6, capacity=10)
    assert all(limiter.allows("a", 0.0) for _ in range(10))
    assert not limiter.allows("a", 0.0)
    assert limiter.allows("b", 0.0)
    assert not limiter.allows("a", 5.9)
    assert limiter.allows("a", 6.1)


def test_a_clock_that_steps_back_lets_nobody_starve() -> None:
    bucket, allowed = TokenBucket(5.0, 1000.0).spend(1, 10.0, rate_per_s=1, capacity=9)
    assert allowed
    assert bucket == TokenBucket(4.0, 10.0)


def test_a_rate_of_zero_is_no_limit() -> None:
    assert RateLimiter(rate_per_s=0, capacity=0).allows("a", 0.0, cost=1e9)


def test_the_sender_that_was_quiet_for_longest_is_forgotten_first() -> None:
    limiter = RateLimiter(rate_per_s=1, capacity=1, max_keys=2)
    assert [limiter.allows(key, 0.0) for key in "aba"] == [True, True, False]
    assert limiter.allows("c", 0.0)  # forgets b, which was used before a
    assert len(limiter) == 2
    assert [limiter.allows(key, 0.0) for key in "ab"] == [False, True]
