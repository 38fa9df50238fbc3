"""When a capture process is started and killed."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from device.capture import supervisor
from device.capture.supervisor import Event, Limits, Watch, begin, deadline_s, step

LIMITS = Limits(start_s=10, stall_s=3, backoff_first_s=0.5, backoff_max_s=30, steady_s=30)
EVENTS: tuple[Event, ...] = ("tick", "hello", "item", "gone", "end")


def _run(watch: Watch, *events: tuple[float, Event]) -> tuple[Watch, list[str]]:
    actions: list[str] = []
    for now_s, event in events:
        watch, action = step(watch, event, now_s=now_s, limits=LIMITS)
        actions.append(action)
    return watch, actions


def test_a_device_that_never_starts_is_killed_at_its_deadline() -> None:
    _, actions = _run(begin(0), (9.9, "tick"), (10, "tick"), (10.4, "tick"), (10.5, "tick"))
    assert actions == ["none", "kill", "none", "start"]


def test_a_device_that_falls_silent_is_killed_after_three_seconds() -> None:
    watch, actions = _run(begin(0), (1, "hello"), (2, "item"), (4.9, "tick"), (5, "tick"))
    assert actions == ["none", "none", "none", "kill"]
    assert watch.trouble == "gave nothing for 3 s"


def test_each_failure_in_a_row_doubles_the_wait_up_to_the_limit() -> None:
    waits = [supervisor.backoff_s(failures, LIMITS) for failures in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert supervisor.backoff_s(10**9, LIMITS) == 30


def test_running_steadily_forgets_earlier_failures() -> None:
    watch, _ = _run(begin(0), (1, "gone"), (2, "tick"), (3, "hello"), (4, "item"))
    assert watch.failures == 1
    watch, _ = _run(watch, *[(4.0 + n, "item") for n in range(30)])
    assert watch.failures == 0
    assert watch.restarts == 1


def test_after_the_end_nothing_happens_any_more() -> None:
    watch, actions = _run(begin(0), (1, "hello"), (2, "end"), (3, "gone"), (4, "tick"), (500, "tick"))
    assert actions == ["none", "kill", "none", "none", "none"]
    assert deadline_s(watch, LIMITS) == math.inf


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(EVENTS)), max_size=60))
def test_there_is_never_more_than_one_process_and_never_none_for_good(steps: list[tuple[float, Event]]) -> None:
    watch, now_s, running = begin(0), 0.0, True
    for wait_s, event in steps:
        now_s += wait_s
        watch, action = step(watch, event, now_s=now_s, limits=LIMITS)
        assert not (action == "start" and running), "started beside a running one"
        assert not (action == "kill" and not running), "killed what was not running"
        running = {"start": True, "kill": False, "none": running}[action]
        assert running == (watch.phase in ("starting", "running"))
        if watch.phase != "done":
            assert deadline_s(watch, LIMITS) <= now_s + max(LIMITS.start_s, LIMITS.backoff_max_s)
