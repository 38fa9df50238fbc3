"""Announcements about one thing that changes again and again come less and less often, and the last word is true. Pure
but for RationedNews, which carries it out.

    step(state, text, now_s, event=…) -> (state, text to say or None)        text: the news; None = time passed

The first two about a thing (it failed, it works again) are said at once. After that each pause is twice as long as the
one before, from 15 s up to ten minutes; what is news meanwhile waits, and only the newest of it is said, if it differs
from what was said last. Twenty minutes of calm, and it begins anew. An event (another moment was dropped) has the same
text each time: it is said again after a minute at least, if it comes again then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.clock import Clock

AT_ONCE = 2
FIRST_PAUSE_S = 15.0
SAME_PAUSE_S = 60.0
MOST_PAUSE_S = 600.0
CALM_S = 1200.0


@dataclass(frozen=True, slots=True)
class RationState:
    """Of one thing."""

    said: str | None = None
    said_s: float = float("-inf")
    count: int = 0
    """How many were said without CALM_S between them."""
    waiting: str | None = None


def step(state: RationState, text: str | None, now_s: float, *, event: bool = False) -> tuple[RationState, str | None]:
    """What to say now of the news about a thing."""
    if now_s - state.said_s >= CALM_S:
        state = replace(state, count=0)
    if text is not None and text == state.said:
        state = replace(state, waiting=None)
        due = event and now_s - state.said_s >= max(SAME_PAUSE_S, _pause_s(state.count))
        return _said(state, text, now_s) if due else (state, None)
    wanted = state.waiting if text is None else text
    if wanted is None:
        return state, None
    if now_s - state.said_s < _pause_s(state.count):
        return replace(state, waiting=wanted), None
    return _said(state, wanted, now_s)


def _pause_s(count: int) -> float:
    """After so many."""
    return 0.0 if count < AT_ONCE else min(FIRST_PAUSE_S * 2 ** (count - AT_ONCE), MOST_PAUSE_S)


def _said(state: RationState, text: str, now_s: float) -> tuple[RationState, str]:
    return RationState(text, now_s, state.count + 1), text


class RationedNews:
    """Any thread may call it. say(text, about): carries it out."""

    def __init__(self, say: Callable[[str, str | None], None], clock: Clock) -> None:
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, tuple[RationState, str | None]] = {}

    def tell(self, text: str, *, about: str | None = None) -> None:
        """News. about: of what; None = an event, of which each text has a ration of its own."""
        kind = about or text
        with self._lock:
            state, _ = self._states.get(kind, (RationState(), about))
            state, said = step(state, text, self._clock.monotonic_s(), event=about is None)
            self._states[kind] = (state, about)
        if said is not None:
            self._say(said, about)

    def tick(self) -> None:
        """Time passed: what waited may be due."""
        for kind, (before, about) in tuple(self._states.items()):
            if before.waiting is None:
                continue
            with self._lock:
                state, said = step(self._states[kind][0], None, self._clock.monotonic_s())
                self._states[kind] = (state, about)
            if said is not None:
                self._say(said, about)
