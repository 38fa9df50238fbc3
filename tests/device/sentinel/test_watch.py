"""When the sentinel speaks: each fault at its time, nothing twice, nothing for nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.sentinel import watch
from device.sentinel.board import AgentPhase
from device.sentinel.watch import AskSupervisor, KillAgent, Quit, Saying, SupervisorAnswered, WatchLimits
from tests.device.sentinel.scene import FIRST, TICK_S, Scene, fault


@pytest.fixture
def scene() -> Scene:
    made = Scene(WatchLimits(supervised=True))
    made.pass_s(10)
    assert made.said == []
    return made


@pytest.fixture
def alone() -> Scene:
    made = Scene(WatchLimits())
    made.pass_s(10)
    return made


FAULTS = ("gone", "hung", "blind", "mute")


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_said_in_time_for_three_seconds(scene: Scene, kind: str) -> None:
    fault(scene, kind)
    began_s = scene.now_s
    scene.pass_s(2.6)
    assert scene.sayings == [Saying.STOPPED]
    assert scene.said[0][0] - began_s <= 2.6


@pytest.mark.parametrize("kind", FAULTS)
def test_it_is_said_again_every_twenty_seconds(scene: Scene, kind: str) -> None:
    fault(scene, kind)
    scene.pass_s(65)
    times = [at_s for at_s, _ in scene.said]
    assert scene.sayings == [Saying.STOPPED] * 4
    assert [round(later - before) for before, later in itertools.pairwise(times)] == [20, 20, 20]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"looks": False}, "blind, 2.4 s after its last look, 0.0 s after its last sign of life"),
        ({"beats": False}, "hung, 2.1 s after its last look, 2.1 s after its last sign of life"),
        ({"exists": False}, "gone, 0.1 s after its last look, 0.1 s after its last sign of life"),
        ({"record": None}, "absent"),
    ],
)
def test_the_log_says_how_the_agent_was_when_it_spoke(scene: Scene, fault: dict[str, object], told: str) -> None:
    for name, value in fault.items():
        setattr(scene, name, value)
    for _ in range(30):
        scene.pass_s(TICK_S)
        if scene.said:
            break
    assert bool(scene.said) == (told != "absent")
    assert watch.told(scene.state, scene.view, scene.limits) == told


def test_a_short_pause_is_no_alarm(scene: Scene) -> None:
    for kind in ("looks", "beats"):
        setattr(scene, kind, False)
        scene.pass_s(1.5)
        setattr(scene, kind, True)
        scene.pass_s(3)
    assert scene.said == []


def test_a_wearer_who_wants_few_looks_hears_no_false_alarm(scene: Scene) -> None:
    assert scene.record is not None
    scene.record = replace(scene.record, look_every_s=2.0)
    scene.looks = False
    scene.pass_s(2.9)
    assert scene.said == []
    scene.pass_s(0.4)
    assert scene.sayings == [Saying.STOPPED]


def test_the_agent_says_itself_that_it_is_back_where_it_can(scene: Scene) -> None:
    scene.looks = False
    scene.pass_s(6)
    scene.looks = True
    scene.pass_s(1)
    assert scene.state.asks_back
    scene.agent_says(back=True)
    scene.pass_s(10)
    assert scene.sayings == [Saying.STOPPED]
    assert not scene.state.asks_back


def test_the_sentinel_says_it_where_the_agent_does_not(scene: Scene) -> None:
    scene.looks = False
    scene.pass_s(6)
    scene.looks = True
    scene.pass_s(10)
    assert scene.sayings == [Saying.STOPPED, Saying.BACK]


def test_what_was_never_heard_is_not_taken_back(scene: Scene) -> None:
    scene.looks = scene.heard = False
    scene.pass_s(4)
    scene.looks = True
    scene.pass_s(10)
    assert Saying.BACK not in scene.sayings


def test_what_cannot_be_played_is_tried_again_every_two_seconds(scene: Scene) -> None:
    scene.looks = scene.heard = False
    scene.pass_s(13)
    times = [at_s for at_s, _ in scene.said]
    assert len(times) >= 4
    assert all(later - before <= 2.3 for before, later in itertools.pairwise(times))


def test_what_the_agent_said_itself_is_not_said_at_once_again(scene: Scene) -> None:
    scene.looks = False
    scene.pass_s(2.1)
    scene.agent_says(told=True)
    told_s = scene.now_s
    scene.pass_s(30)
    assert scene.sayings == [Saying.STOPPED]
    assert 19.9 <= scene.said[0][0] - told_s <= 22


def test_an_older_announcement_of_the_agent_does_not_count(scene: Scene) -> None:
    scene.agent_says(told=True, for_s=0)
    scene.pass_s(5)
    scene.looks = False
    scene.pass_s(3)
    assert scene.sayings == [Saying.STOPPED]


def test_it_waits_for_the_end_of_the_agents_sentence_but_not_long(scene: Scene) -> None:
    scene.looks = False
    scene.pass_s(2.3)
    scene.agent_says(for_s=10)
    scene.pass_s(0.4)
    assert scene.said == []
    scene.pass_s(0.3)
    assert scene.sayings == [Saying.STOPPED]


def test_an_agent_that_hangs_cannot_speak_and_is_not_waited_for(scene: Scene) -> None:
    scene.agent_says(for_s=60)
    scene.beats = False
    scene.pass_s(2.2)
    assert scene.sayings == [Saying.STOPPED]


def test_a_deliberate_end_is_said_once_and_is_no_alarm(scene: Scene) -> None:
    assert scene.record is not None
    scene.record = replace(scene.record, phase=AgentPhase.ENDED)
    scene.pass_s(5)
    scene.exists = False
    scene.pass_s(600)
    assert scene.sayings == [Saying.ENDED]
    assert Quit() not in scene.others


def test_an_end_from_before_the_sentinel_is_no_news() -> None:
    ended = replace(FIRST, phase=AgentPhase.ENDED)
    scene = Scene(WatchLimits(supervised=True), record=ended, exists=False)
    scene.pass_s(30)
    assert scene.said == []


def test_a_death_from_before_the_sentinel_is_news() -> None:
    scene = Scene(WatchLimits(supervised=True), exists=False)
    scene.pass_s(1)
    assert scene.sayings == [Saying.STOPPED]


def test_a_restart_goes_on_with_the_alarm_until_it_looks(scene: Scene) -> None:
    scene.exists = False
    scene.pass_s(3)
    assert scene.record is not None
    scene.record = replace(scene.record, pid=8, phase=AgentPhase.STARTING, began_s=scene.now_s)
    scene.exists = True
    scene.pass_s(25)
    assert scene.sayings == [Saying.STOPPED, Saying.STOPPED]
    scene.record = replace(scene.record, phase=AgentPhase.GUIDING)
    scene.pass_s(5)
    assert scene.sayings[2:] == [Saying.BACK]


def test_a_slow_start_is_no_hang_but_has_a_bound() -> None:
    starting = replace(FIRST, phase=AgentPhase.STARTING, live_s=0.0)
    scene = Scene(WatchLimits(supervised=True), record=starting, beats=False)
    scene.pass_s(179)
    assert scene.said == []
    scene.pass_s(3)
    assert scene.sayings == [Saying.FAILED]


def test_when_the_supervisor_gives_up_it_says_so_at_once(scene: Scene) -> None:
    scene.exists = False
    scene.pass_s(6)
    assert AskSupervisor() in scene.others
    scene.feel(SupervisorAnswered(failed=True, pid=7))
    scene.pass_s(1)
    assert scene.sayings == [Saying.STOPPED, Saying.FAILED]
    scene.pass_s(125)
    assert scene.sayings == [Saying.STOPPED] + [Saying.FAILED] * 3


def test_settings_that_cannot_be_read_are_said_although_no_agent_was_ever_seen() -> None:
    scene = Scene(WatchLimits(supervised=True), record=None)
    scene.pass_s(30)
    assert scene.said == []
    scene.feel(SupervisorAnswered(failed=True, pid=12))
    scene.pass_s(1)
    assert scene.sayings == [Saying.FAILED]


def test_a_unit_that_failed_while_it_was_stopped_on_purpose_is_no_news(scene: Scene) -> None:
    assert scene.record is not None
    scene.record = replace(scene.record, phase=AgentPhase.ENDED)
    scene.pass_s(2)
    scene.exists = False
    scene.feel(SupervisorAnswered(failed=True, pid=7))
    scene.pass_s(30)
    assert scene.sayings == [Saying.ENDED]
    scene.feel(SupervisorAnswered(failed=True, pid=9))  # started again, with settings that cannot be read
    scene.pass_s(1)
    assert scene.sayings == [Saying.ENDED, Saying.FAILED]


def test_the_supervisor_is_asked_only_while_the_agent_is_away(scene: Scene) -> None:
    scene.looks = False
    scene.pass_s(60)
    assert AskSupervisor() not in scene.others
    scene.exists = False
    scene.pass_s(20)
    assert scene.others.count(AskSupervisor()) == 4


def test_a_restart_that_fails_is_told_within_seconds_of_the_deliberate_end_before_it(scene: Scene) -> None:
    """systemctl restart after a slip in the settings: the old agent ended on purpose, the new one wrote nothing."""
    assert scene.record is not None
    scene.record = replace(scene.record, phase=AgentPhase.ENDED)
    scene.pass_s(1)
    scene.exists = False
    ended_s = scene.now_s
    asked_before = scene.others.count(AskSupervisor())
    while scene.others.count(AskSupervisor()) < asked_before + 2:
        scene.pass_s(TICK_S)
    assert scene.now_s - ended_s <= 6.0
    scene.feel(SupervisorAnswered(failed=True, pid=9))
    scene.pass_s(TICK_S)
    assert scene.sayings == [Saying.ENDED, Saying.FAILED]


@pytest.mark.parametrize(("after_s", "asks"), [(50, 10), (600, 30)])
def test_one_that_stays_ended_is_asked_after_less_often_later(scene: Scene, after_s: float, asks: int) -> None:
    assert scene.record is not None
    scene.record = replace(scene.record, phase=AgentPhase.ENDED)
    scene.pass_s(1)
    scene.exists = False
    scene.pass_s(after_s)
    assert scene.others.count(AskSupervisor()) == pytest.approx(asks, abs=2)


def test_without_a_supervisor_a_death_is_final_and_the_sentinel_ends_too(alone: Scene) -> None:
    alone.exists = False
    alone.pass_s(8)
    assert alone.sayings == [Saying.STOPPED, Saying.FAILED]
    alone.pass_s(600)
    assert Quit() in alone.others
    assert len(alone.said) <= 12


def test_without_a_supervisor_it_ends_once_the_end_was_said(alone: Scene) -> None:
    assert alone.record is not None
    alone.record = replace(alone.record, phase=AgentPhase.ENDED)
    alone.pass_s(1)
    assert Quit() not in alone.others
    alone.pass_s(1)
    assert alone.sayings == [Saying.ENDED]
    assert Quit() in alone.others


def test_what_lasts_two_minutes_has_failed(scene: Scene) -> None:
    scene.looks = False
    scene.pass_s(125)
    assert scene.sayings == [Saying.STOPPED] * 6 + [Saying.FAILED]
    scene.looks = True
    scene.pass_s(5)
    assert scene.sayings[-1] == Saying.BACK


def test_a_hung_agent_that_holds_the_sound_card_is_killed_once(scene: Scene) -> None:
    scene.beats = scene.heard = False
    scene.busy = True
    scene.pass_s(10)
    assert scene.others.count(KillAgent(7)) == 1


def test_an_agent_that_tells_of_its_camera_is_never_killed(scene: Scene) -> None:
    scene.looks = scene.heard = False
    scene.busy = True
    scene.pass_s(2.1)
    scene.agent_says(told=True)
    scene.pass_s(60)
    assert not any(isinstance(action, KillAgent) for action in scene.others)


def test_the_heartbeat_is_off_unless_asked_for_and_keeps_quiet_while_the_agent_speaks() -> None:
    scene = Scene(WatchLimits(supervised=True, heartbeat_every_s=5.0), plays_s=0.1)
    scene.pass_s(12)
    assert scene.sayings == [Saying.HEARTBEAT] * 3
    scene.agent_says(for_s=25)
    scene.pass_s(18)
    assert len(scene.said) == 3
    scene.looks = False
    scene.pass_s(30)
    assert Saying.HEARTBEAT not in scene.sayings[3:]


CHANGES = st.lists(
    st.tuples(st.sampled_from(("exists", "beats", "looks", "voice", "heard")), st.floats(0.1, 12)), max_size=6
)


@given(CHANGES, st.booleans())
@settings(max_examples=20, deadline=None)
def test_whatever_happens_an_agent_that_does_not_guide_is_never_met_with_long_silence(
    changes: list[tuple[str, float]], supervised: bool
) -> None:
    """Also: it never says "back" without having said "stopped", and never twice in a row."""
    scene = Scene(WatchLimits(supervised=supervised))
    for name, seconds in changes:
        setattr(scene, name, not getattr(scene, name))
        scene.pass_s(seconds)
    scene.heard, scene.exists, scene.beats, scene.looks = True, True, True, False
    before = len(scene.said)
    scene.pass_s(63)
    assert any(saying in watch.ALARMS for saying in scene.sayings[before:])
    scene.looks = scene.voice = True
    before = len(scene.said)
    scene.pass_s(25)
    assert scene.sayings[before:].count(Saying.BACK) <= 1
    assert not any(at_s > scene.now_s - 15 for at_s, _ in scene.said)


def test_an_agent_that_came_back_and_sees_nothing_is_not_said_to_be_back(scene: Scene) -> None:
    fault(scene, "gone")
    scene.pass_s(5)
    assert scene.record is not None
    scene.record, scene.exists = replace(scene.record, sees=False), True  # a covered lens, or no model
    scene.pass_s(60)
    assert scene.sayings == [Saying.STOPPED]
    asked_before = scene.state.asks_back
    scene.record = replace(scene.record, sees=True)
    scene.pass_s(2)
    assert (asked_before, scene.state.asks_back) == (False, True)
    scene.pass_s(4)
    assert scene.sayings == [Saying.STOPPED, Saying.BACK]


def test_one_that_falls_silent_while_it_sees_nothing_is_a_new_alarm(scene: Scene) -> None:
    fault(scene, "gone")
    scene.pass_s(5)
    assert scene.record is not None
    scene.record, scene.exists = replace(scene.record, sees=False), True
    scene.pass_s(200)
    fault(scene, "gone")
    scene.pass_s(1)
    assert scene.sayings == [Saying.STOPPED, Saying.STOPPED]


def test_the_heartbeat_stops_while_nothing_is_seen() -> None:
    scene = Scene(WatchLimits(heartbeat_every_s=2.0), record=replace(FIRST, sees=False))
    scene.pass_s(10)
    assert scene.said == []
