"""How long the device waits before it connects again. Pure.

Exponential backoff with full jitter: a city of devices must not come back at one instant.
"""

from __future__ import annotations

from shared.backoff import exponential_s

STABLE_S = 10.0  # a connection that lasted this long starts the backoff afresh
MAX_ATTEMPT_IF_USEFUL = 4  # at most 8 s between short connections that each get something across
BACKOFF_BASE_S = 0.5
BACKOFF_MAX_S = 30.0
REJECTED_MAX_S = 300.0  # a broker that knows us and says no: only a person changes that


def next_attempt(attempt: int, *, lasted_s: float, useful: bool) -> int:
    """How many connections in a row came to nothing, after one more.

    lasted_s: how long that one lasted. useful: the server was heard on it.
    """
    if lasted_s >= STABLE_S:
        return 0
    return min(attempt + 1, MAX_ATTEMPT_IF_USEFUL) if useful else attempt + 1


def wait_s(attempt: int, *, rejected: bool, jitter: float) -> float:
    """Seconds until the next connection. rejected: the broker said no. jitter: a random number, 0 to 1."""
    return exponential_s(
        attempt, base_s=BACKOFF_BASE_S, max_s=REJECTED_MAX_S if rejected else BACKOFF_MAX_S, jitter=jitter
    )
