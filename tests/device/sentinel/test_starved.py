"""A sentinel that does not run for a while, on a machine that sleeps or is starved: no false alarm, no long silence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.sentinel import watch
from device.sentinel.watch import BoardRead, Saying, WatchLimits
from tests.device.sentinel.scene import TICK_S, Scene, fault


@pytest.fixture
def scene() -> Scene:
    made = Scene(WatchLimits(supervised=True))
    made.pass_s(10)
    return made


def test_a_machine_that_slept_is_no_alarm(scene: Scene) -> None:
    scene.now_s += 3600
    scene.feel(BoardRead(scene.view))
    scene.pass_s(0.3)
    assert scene.said == []
    scene.beats = False
    scene.pass_s(2.3)
    assert scene.sayings == [Saying.STOPPED]


@pytest.mark.parametrize("kind", ["hung", "blind"])
@pytest.mark.parametrize("awake_s", [0.4, 1.0, 1.9])
def test_a_sentinel_that_is_starved_again_and_again_still_speaks(scene: Scene, kind: str, awake_s: float) -> None:
    """Each time it ran again it forgave the agent all of its silence: it would never have spoken."""
    fault(scene, kind)
    began_s, starved_s = scene.now_s, 0.0
    while not scene.said and scene.now_s < began_s + 60:
        scene.pass_s(awake_s)
        if not scene.said:
            scene.now_s, starved_s = scene.now_s + 1.5, starved_s + 1.5 + TICK_S
    at_s, saying = scene.said[0]
    assert saying == Saying.STOPPED
    assert at_s - began_s - starved_s <= 2.6 + awake_s, "the first time it runs again, it forgives what was before"


@pytest.mark.parametrize("kind", ["hung", "blind"])
def test_one_that_never_runs_for_long_speaks_in_the_end(scene: Scene, kind: str) -> None:
    fault(scene, kind)
    began_s = scene.now_s
    while not scene.said and scene.now_s < began_s + 60:
        scene.now_s = round(scene.now_s + 1.05, 3)
        scene.feel(BoardRead(scene.view))
        assert len(scene.state.gaps) <= 2 + watch.MOST_GAPS
    assert scene.sayings == [Saying.STOPPED]
    assert scene.now_s - began_s < 2.4 + watch.FORGIVEN_S + 4


def test_one_that_beats_and_does_not_look_is_never_taken_for_hung(scene: Scene) -> None:
    """What is forgiven since the last look is no part of what is forgiven since the last sign of life: one that hangs
    may be killed for the sound card."""
    scene.looks = False
    for _ in range(40):
        scene.pass_s(0.3)
        scene.now_s = round(scene.now_s + 2.5, 3)
        scene.feel(BoardRead(scene.view))
        assert watch.judge(scene.state, scene.view, scene.limits) in (watch.Health.LIVE, watch.Health.BLIND)
    assert scene.sayings[0] == Saying.STOPPED
    assert scene.state.useless_pid is not None, "it says nothing itself"


def test_a_machine_that_falls_asleep_again_at_once_is_no_alarm(scene: Scene) -> None:
    scene.looks = False
    for _ in range(2):
        scene.now_s = round(scene.now_s + 3600, 3)
        scene.pass_s(0.5)
    scene.looks = True
    scene.pass_s(5)
    assert scene.said == []


@pytest.mark.parametrize("slept_s", [1.2, 60.0, 3600.0])
def test_after_a_sleep_an_agent_has_all_its_time_again(scene: Scene, slept_s: float) -> None:
    """One of few looks, or a camera that is opened again: neither before nor after the sleep it was late."""
    scene.looks = False
    scene.pass_s(1.2)
    scene.now_s = round(scene.now_s + slept_s, 3)
    scene.pass_s(2.3)
    assert scene.said == []
    scene.pass_s(0.4)
    assert scene.sayings == [Saying.STOPPED]


@given(st.lists(st.tuples(st.floats(0.2, 3.0), st.floats(1.2, 20.0)), max_size=8))
@settings(deadline=None)
def test_however_it_is_starved_an_agent_that_goes_on_is_no_alarm(stretches: list[tuple[float, float]]) -> None:
    scene = Scene(WatchLimits(supervised=True))
    for awake_s, starved_s in stretches:
        scene.pass_s(awake_s)
        scene.now_s = round(scene.now_s + starved_s, 3)
        scene.feel(BoardRead(scene.view))  # it runs again before the agent does
        assert len(scene.state.gaps) <= 2, "they do not pile up"
    assert scene.said == []
