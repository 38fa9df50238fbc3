"""How long to wait before a further try."""

from __future__ import annotations


def exponential_s(failures: int, *, base_s: float, max_s: float, jitter: float = 1.0) -> float:
    """Exponential backoff: `base_s` doubled `failures` times, at most `max_s`.

    jitter: the share of it to wait, 0 to 1: a random number where many come back at one instant (full jitter)
    source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015)
    """
    return jitter * min(max_s, base_s * 2.0 ** min(max(failures, 0), 32))
