"""A look that computes for long is no hang, and one that stands still is none that computes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.capture.source import VideoFrame
from device.guidance.loop import Guidance, GuidanceSettings
from device.guidance.standstill import LEAST_SHARE, RECENT, SHORTEST_S, STILL_S, ComputedState, Standstill, step
from device.voice.sinks import Timeline
from device.voice.voice import SpeechRate, Voice
from shared.clock import SystemClock
from tests.device.agent.stage import StoryModel, nothing
from tests.pulse import until

CLOCK = SystemClock()
WORK = bytes(1_000_000)
LOOK_S = SHORTEST_S + 0.05


@given(st.lists(st.floats(0.01, 0.9), max_size=50), st.floats(2 * LEAST_SHARE, 1.0))
def test_what_computes_a_little_all_the_time_never_stands_still(steps_s: list[float], share: float) -> None:
    state, now_s, cpu_s = ComputedState(0.0, 0.0), 0.0, 0.0
    for passed_s in steps_s:
        now_s, cpu_s = now_s + passed_s, cpu_s + share * passed_s
        state, still = step(state, cpu_s, now_s)
        assert not still


@given(st.floats(0, 0.9 * LEAST_SHARE))
def test_what_only_polls_stands_still_once_the_time_is_up(share: float) -> None:
    state, still = step(ComputedState(5.0, 100.0), 5.0 + share * STILL_S, 100.0 + STILL_S - 0.1)
    assert not still
    assert step(state, 5.0 + share * STILL_S, 100.0 + STILL_S)[1]


def test_without_a_look_nothing_stands_still() -> None:
    standstill = Standstill()
    assert not standstill.now(1.0)
    standstill.begin(1.0)
    standstill.end(9.0)
    assert not standstill.now(99.0)


@dataclass(slots=True)
class BusyModel(StoryModel):
    """Its looks compute on their thread, or wait for what computes elsewhere; it hangs when it is told to."""

    computes: bool = True
    hangs: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        done_s = CLOCK.monotonic_s() + LOOK_S
        while CLOCK.monotonic_s() < done_s:
            if self.computes:
                hashlib.sha256(WORK).digest()
            else:
                self.go_on.wait(0.01)
        if self.hangs.is_set():
            assert self.go_on.wait(60)
        return image


class Nobody:
    def said(self, spoken: object) -> None: ...
    def flagged(self, reason: str, t_s: float) -> None: ...
    def looked(self, version: str) -> None: ...
    def failed(self, version: str, reason: str) -> None: ...


@contextmanager
def guiding(model: BusyModel) -> Iterator[Guidance]:
    """Guidance by a model, with pictures that come one after the other."""
    voice = Voice(
        None,
        Timeline(CLOCK.monotonic_s, CLOCK),
        pace=SpeechRate(),
        clock=CLOCK,
        walk_now=CLOCK.monotonic_s,
        on_trouble=print,
    )
    settings = GuidanceSettings(looks_per_s=10.0)
    guidance = Guidance(voice, Nobody(), settings=settings, clock=CLOCK, walk_now=CLOCK.monotonic_s)
    ended = threading.Event()

    def pictures() -> None:
        drawn = np.random.default_rng(1)
        while not ended.wait(0.03):
            image = drawn.integers(0, 255, (48, 64, 3), np.uint8)
            guidance.offer(VideoFrame(image, CLOCK.monotonic_s()))

    guidance.start()
    guidance.swap(model, announce="")
    camera = threading.Thread(target=pictures)
    camera.start()
    try:
        yield guidance
    finally:
        model.go_on.set()
        ended.set()
        camera.join()
        guidance.stop()


@pytest.mark.parametrize("computes", [True, False], ids=["on its thread", "elsewhere"])
def test_a_hang_is_no_slow_look_where_looks_compute(computes: bool) -> None:
    model = BusyModel(nothing, computes=computes)
    with guiding(model) as guidance:
        until(lambda: model.looks > RECENT, "some looks")
        assert guidance.look_every_s >= LOOK_S
        model.hangs.set()
        looks = model.looks
        until(lambda: guidance.stuck_s > LOOK_S + 0.1, "the hang")
        until(lambda: guidance.stuck_s > LOOK_S + STILL_S + 0.3 or guidance.look_every_s < LOOK_S, "time to pass")
        assert model.looks <= looks + 1
        assert guidance.look_every_s == (pytest.approx(0.1) if computes else pytest.approx(LOOK_S, abs=0.1))
