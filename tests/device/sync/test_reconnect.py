"""How long the device waits before it connects again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device.sync.reconnect import MAX_ATTEMPT_IF_USEFUL, STABLE_S, next_attempt, wait_s

attempts = st.integers(0, 10_000)


@given(attempts, st.floats(0, 1), st.booleans())
def test_the_wait_grows_to_its_limit_and_jitters_over_all_of_it(attempt: int, jitter: float, rejected: bool) -> None:
    most_s = 300.0 if rejected else 30.0
    assert 0 <= wait_s(attempt, rejected=rejected, jitter=jitter) <= min(most_s, 0.5 * 2.0 ** min(attempt, 20))
    assert wait_s(attempt + 1, rejected=rejected, jitter=1.0) >= wait_s(attempt, rejected=rejected, jitter=1.0)
    assert wait_s(attempt, rejected=rejected, jitter=0.0) == 0.0


@given(attempts, st.booleans())
def test_a_connection_that_lasted_starts_the_backoff_afresh(attempt: int, useful: bool) -> None:
    assert next_attempt(attempt, lasted_s=STABLE_S, useful=useful) == 0


@given(attempts)
def test_short_connections_that_get_something_across_are_soon_followed_by_the_next(attempt: int) -> None:
    assert next_attempt(attempt, lasted_s=1.0, useful=True) <= MAX_ATTEMPT_IF_USEFUL
    assert next_attempt(attempt, lasted_s=1.0, useful=False) == attempt + 1
