"""When to start, kill and restart a capture process. Pure: no process, no clock, only times handed in.

    starting ──hello──> running ──end──> done
       │ no hello in start_s  │ nothing for stall_s, or it is gone
       └──────> waiting <─────┘
                   └── backoff over ──> starting

A device that fails again and again is tried ever more rarely, up to once in backoff_max_s, and never given up: a
loose cable may come back at any step of the walk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from shared.backoff import exponential_s

Phase = Literal["starting", "running", "waiting", "done"]
Event = Literal["tick", "hello", "item", "gone", "end"]
Action = Literal["none", "start", "kill"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a capture process may take."""

    start_s: float = 10.0
    """To open its device. A Pi camera takes 1–2 s, a USB camera that resets itself up to 5."""
    stall_s: float = 3.0
    """Between two items: "Guidance paused" is due after 3 s (design §3)."""
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    steady_s: float = 30.0
    """Running this long forgets earlier failures."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one capture process."""

    phase: Phase
    since_s: float
    """When this phase began."""
    heard_s: float
    """When something last came."""
    failures: int = 0
    """In a row."""
    restarts: int = 0
    """In all."""
    trouble: str = ""


def begin(now_s: float) -> Watch:
    """The state once the first process was started."""
    return Watch("starting", now_s, now_s)


def deadline_s(watch: Watch, limits: Limits) -> float:
    """When the next tick is needed, if nothing else happens."""
    if watch.phase == "starting":
        return watch.since_s + limits.start_s
    if watch.phase == "running":
        return watch.heard_s + limits.stall_s
    if watch.phase == "waiting":
        return watch.since_s + backoff_s(watch.failures, limits)
    return math.inf


def backoff_s(failures: int, limits: Limits) -> float:
    """Doubled with each failure in a row. No jitter: one device has one agent."""
    return exponential_s(failures - 1, base_s=limits.backoff_first_s, max_s=limits.backoff_max_s)


def step(watch: Watch, event: Event, *, now_s: float, limits: Limits, why: str = "") -> tuple[Watch, Action]:
    """One event in, the new state and what to do out. why: the reason of "gone"."""
    if watch.phase == "done":
        return watch, "none"
    if watch.phase == "waiting" and event != "tick":
        return watch, "none"  # there is no process: what comes is from before
    if event == "end":
        return replace(watch, phase="done", since_s=now_s), "kill"
    if event == "gone":
        return _failed(watch, why or "the capture process ended", now_s)
    if event == "hello" and watch.phase == "starting":
        return replace(watch, phase="running", since_s=now_s, heard_s=now_s), "none"
    if event == "item" and watch.phase == "running":
        steady = now_s - watch.since_s >= limits.steady_s
        return replace(watch, heard_s=now_s, failures=0 if steady else watch.failures), "none"
    if event == "tick" and now_s >= deadline_s(watch, limits):
        return _overdue(watch, now_s, limits)
    return watch, "none"


def _overdue(watch: Watch, now_s: float, limits: Limits) -> tuple[Watch, Action]:
    if watch.phase == "waiting":
        return replace(watch, phase="starting", since_s=now_s, heard_s=now_s, restarts=watch.restarts + 1), "start"
    if watch.phase == "starting":
        return _failed(watch, f"did not start within {limits.start_s:g} s", now_s)
    return _failed(watch, f"gave nothing for {limits.stall_s:g} s", now_s)


def _failed(watch: Watch, trouble: str, now_s: float) -> tuple[Watch, Action]:
    return replace(watch, phase="waiting", since_s=now_s, failures=watch.failures + 1, trouble=trouble), "kill"
