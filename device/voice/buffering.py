"""How long the sound card's buffer is: the shortest that does not stutter on this machine, now.

A short buffer lets a warning cut speech within 50 ms; a stuttering warning is worse than a late cut. It grows on a rate
of underruns, not on their sum: a few in an hour are no reason. It shrinks after calm minutes, and where it then
stutters again, that takes twice as long the next time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LEAST_S = 0.02  # a cut must be silence within 50 ms: 28 to 40 measured with this, 29 to 69 with 30 ms
MOST_S = 0.2
UNDERRUNS, WITHIN_S = 4, 10.0
"""So many underruns in so short a time are heard as stutter."""
CALM_S, CALM_MOST_S = 120.0, 1920.0
"""How long without any underrun before it is tried shorter: 2 minutes at first, 32 at most."""
SOON_S = 60.0  # a stutter so soon after it was shortened came of that


@dataclass(frozen=True, slots=True)
class Buffering:
    """The length of the buffer and what it hangs on. Times are monotonic."""

    buffer_s: float = LEAST_S
    underruns: tuple[float, ...] = ()
    """The last ones, at most UNDERRUNS of them."""
    calm_since_s: float | None = None
    calm_s: float = CALM_S
    """What counts as calm now."""
    shortened_s: float | None = None
    """When it was last made shorter."""


def step(state: Buffering, underruns: int, now_s: float) -> Buffering:
    """underruns: how many there were since the last step. Where `buffer_s` differs after it, the output is to be opened
    again."""
    if not underruns:
        return _calm(state, now_s)
    recent = (*state.underruns, *[now_s] * min(underruns, UNDERRUNS))[-UNDERRUNS:]
    state = replace(state, underruns=recent, calm_since_s=now_s)
    stutters = len(recent) == UNDERRUNS and now_s - recent[0] <= WITHIN_S
    if not stutters or state.buffer_s >= MOST_S:
        return state
    soon = state.shortened_s is not None and now_s - state.shortened_s <= SOON_S
    calm_s = min(CALM_MOST_S, 2 * state.calm_s) if soon else state.calm_s
    return Buffering(min(MOST_S, 2 * state.buffer_s), calm_since_s=now_s, calm_s=calm_s)


def _calm(state: Buffering, now_s: float) -> Buffering:
    if state.calm_since_s is None:
        return replace(state, calm_since_s=now_s)
    if state.buffer_s <= LEAST_S or now_s - state.calm_since_s < state.calm_s:
        return state
    shorter_s = max(LEAST_S, state.buffer_s / 2)
    return replace(state, buffer_s=shorter_s, underruns=(), calm_since_s=now_s, shortened_s=now_s)
