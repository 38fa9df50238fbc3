"""Token buckets: how much each sender may still ask for, refilled at a constant rate up to a burst."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """What one sender may still spend."""

    tokens: float
    at_s: float
    """Monotonic time at which it held that many."""

    def spend(self, cost: float, now_s: float, *, rate_per_s: float, capacity: float) -> tuple[TokenBucket, bool]:
        """The bucket after a request for `cost` tokens, and whether it held them. A clock that steps back adds none."""
        tokens = min(capacity, self.tokens + max(0.0, now_s - self.at_s) * rate_per_s)
        allowed = tokens >= cost
        return TokenBucket(tokens - cost if allowed else tokens, now_s), allowed


class RateLimiter:
    """A token bucket for each key. Beyond `max_keys` the key that was used longest ago is evicted. One thread.

    rate_per_s: 0 = no limit
    """

    def __init__(self, *, rate_per_s: float, capacity: float, max_keys: int = 10_000) -> None:
        self._rate_per_s, self._capacity, self._max_keys = rate_per_s, capacity, max_keys
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, key: str, now_s: float, cost: float = 1.0) -> bool:
        """Whether this key may spend `cost` tokens now; they are then spent."""
        if not self._rate_per_s:
            return True
        bucket = self._buckets.pop(key, None) or TokenBucket(self._capacity, now_s)
        self._buckets[key], allowed = bucket.spend(cost, now_s, rate_per_s=self._rate_per_s, capacity=self._capacity)
        if len(self._buckets) > self._max_keys:
            del self._buckets[next(iter(self._buckets))]
        return allowed
