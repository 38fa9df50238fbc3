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
from enum import StrEnum
from typing import assert_never

from shared.backoff import exponential_s


class Phase(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """There is no process."""
    DONE = "done"


class WorkerAction(StrEnum):
    START = "start"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing came."""


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """The process has opened its device."""


@dataclass(frozen=True, slots=True)
class ItemReceived:
    """A picture or a block of sound came."""


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """The process has ended, or sends nonsense."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """A file was read to its end."""


WorkerEvent = TimePassed | HelloReceived | ItemReceived | WorkerGone | RecordingEnded


@dataclass(frozen=True, slots=True)
class Limits:
    start_s: float = 10.0
    """To open its device. A Pi camera takes 1–2 s, a USB camera that resets itself up to 5."""
    stall_s: float = 3.0
    """Between two items: "Guidance paused" is due after 3 s (design §3)."""
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    steady_s: float = 8.0
    """Running this long forgets earlier failures: a loose contact that breaks every 20 s must not end in pauses of 30 s
    in which nothing is seen."""


@dataclass(frozen=True, slots=True)
class WorkerState:
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


def begin(now_s: float) -> WorkerState:
    """The state once the first process was started."""
    return WorkerState(Phase.STARTING, now_s, now_s)


def deadline_s(state: WorkerState, limits: Limits) -> float:
    """When the next TimePassed is needed, if nothing else happens."""
    match state.phase:
        case Phase.STARTING:
            return state.since_s + limits.start_s
        case Phase.RUNNING:
            return state.heard_s + limits.stall_s
        case Phase.WAITING:
            return state.since_s + backoff_s(state.failures, limits)
        case Phase.DONE:
            return math.inf
        case _:
            assert_never(state.phase)


def backoff_s(failures: int, limits: Limits) -> float:
    """Doubled with each failure in a row. No jitter: one device has one agent."""
    return exponential_s(failures - 1, base_s=limits.backoff_first_s, max_s=limits.backoff_max_s)


Step = tuple[WorkerState, WorkerAction | None]


def step(state: WorkerState, event: WorkerEvent, *, now_s: float, limits: Limits) -> Step:
    """One event in, the new state and what to do out."""
    if state.phase == Phase.DONE or (state.phase == Phase.WAITING and not isinstance(event, TimePassed)):
        return state, None  # while it waits there is no process: what comes is from before
    match event:
        case RecordingEnded():
            return replace(state, phase=Phase.DONE, since_s=now_s), WorkerAction.KILL
        case WorkerGone(why):
            return _failed(state, why or "the capture process ended", now_s)
        case HelloReceived():
            if state.phase == Phase.STARTING:
                state = replace(state, phase=Phase.RUNNING, since_s=now_s, heard_s=now_s)
            return state, None
        case ItemReceived():
            if state.phase == Phase.RUNNING:
                steady = now_s - state.since_s >= limits.steady_s
                state = replace(state, heard_s=now_s, failures=0 if steady else state.failures)
            return state, None
        case TimePassed():
            return _overdue(state, now_s, limits) if now_s >= deadline_s(state, limits) else (state, None)
        case _:
            assert_never(event)


def _overdue(state: WorkerState, now_s: float, limits: Limits) -> Step:
    if state.phase == Phase.WAITING:
        started = replace(state, phase=Phase.STARTING, since_s=now_s, heard_s=now_s, restarts=state.restarts + 1)
        return started, WorkerAction.START
    if state.phase == Phase.STARTING:
        return _failed(state, f"did not start within {limits.start_s:g} s", now_s)
    return _failed(state, f"gave nothing for {limits.stall_s:g} s", now_s)


def _failed(state: WorkerState, trouble: str, now_s: float) -> Step:
    failed = replace(state, phase=Phase.WAITING, since_s=now_s, failures=state.failures + 1, trouble=trouble)
    return failed, WorkerAction.KILL
