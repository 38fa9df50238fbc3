"""When a capture process is started and killed."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from device.capture import supervisor
from device.capture.supervisor import (
    HelloReceived,
    ItemReceived,
    Limits,
    Phase,
    RecordingEnded,
    TimePassed,
    WorkerAction,
    WorkerEvent,
    WorkerGone,
    WorkerState,
    begin,
    deadline_s,
    step,
)

LIMITS = Limits(start_s=10, stall_s=3, backoff_first_s=0.5, backoff_max_s=30, steady_s=30)
EVENTS: tuple[WorkerEvent, ...] = (TimePassed(), HelloReceived(), ItemReceived(), WorkerGone(), RecordingEnded())
KILL, START = WorkerAction.KILL, WorkerAction.START


def _run(state: WorkerState, *events: tuple[float, WorkerEvent]) -> tuple[WorkerState, list[WorkerAction | None]]:
    actions: list[WorkerAction | None] = []
    for now_s, event in events:
        state, action = step(state, event, now_s=now_s, limits=LIMITS)
        actions.append(action)
    return state, actions


def test_a_device_that_never_starts_is_killed_at_its_deadline() -> None:
    _, actions = _run(begin(0), (9.9, TimePassed()), (10, TimePassed()), (10.4, TimePassed()), (10.5, TimePassed()))
    assert actions == [None, KILL, None, START]


def test_a_device_that_falls_silent_is_killed_after_three_seconds() -> None:
    state, actions = _run(begin(0), (1, HelloReceived()), (2, ItemReceived()), (4.9, TimePassed()), (5, TimePassed()))
    assert actions == [None, None, None, KILL]
    assert state.trouble == "gave nothing for 3 s"


def test_each_failure_in_a_row_doubles_the_wait_up_to_the_limit() -> None:
    waits = [supervisor.backoff_s(failures, LIMITS) for failures in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert supervisor.backoff_s(10**9, LIMITS) == 30


def test_running_steadily_forgets_earlier_failures() -> None:
    state, _ = _run(begin(0), (1, WorkerGone()), (2, TimePassed()), (3, HelloReceived()), (4, ItemReceived()))
    assert state.failures == 1
    state, _ = _run(state, *[(4.0 + n, ItemReceived()) for n in range(30)])
    assert state.failures == 0
    assert state.restarts == 1


def test_after_the_end_nothing_happens_any_more() -> None:
    events: tuple[WorkerEvent, ...] = (HelloReceived(), RecordingEnded(), WorkerGone(), TimePassed())
    state, actions = _run(begin(0), *enumerate(events, start=1), (500, TimePassed()))
    assert actions == [None, KILL, None, None, None]
    assert deadline_s(state, LIMITS) == math.inf


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(EVENTS)), max_size=60))
def test_there_is_never_more_than_one_process_and_never_none_for_good(steps: list[tuple[float, WorkerEvent]]) -> None:
    state, now_s, running = begin(0), 0.0, True
    for wait_s, event in steps:
        now_s += wait_s
        state, action = step(state, event, now_s=now_s, limits=LIMITS)
        assert not (action == START and running), "started beside a running one"
        assert not (action == KILL and not running), "killed what was not running"
        running = {START: True, KILL: False, None: running}[action]
        assert running == (state.phase in (Phase.STARTING, Phase.RUNNING))
        if state.phase != Phase.DONE:
            assert deadline_s(state, LIMITS) <= now_s + max(LIMITS.start_s, LIMITS.backoff_max_s)
