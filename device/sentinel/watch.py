"""What the sentinel says, and when. Pure: no process, no sound, no clock.

    health of the agent        judged from its record on the board
    LIVE                       quiet; after an alarm that was heard "Guidance is back.", by the agent where it does, and
                               never while it sees nothing: then "Camera blocked." or "No model." is how things are
    BLIND HUNG GONE MUTE       "Guidance stopped." at once, again every repeat_s; hopeless: "Guidance has failed. …"
    STARTING                   quiet, for start_s at most; an alarm from before goes on
    ENDED                      "Guidance ended." once

The agent's own voice comes first while it works: what the agent has said itself ("Guidance paused, no picture.") is not
said again before repeat_s have passed, and the sentinel waits for a pause in the agent's speech, but not long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from device.sentinel.board import AgentPhase, AgentRecord

STOPPED = "Guidance stopped."
BACK = "Guidance is back."
FAILED = "Guidance has failed. Walk without it."
ENDED = "Guidance ended."
NEVER_S = float("-inf")
STEADY_S = 0.5  # of looks, before the agent is asked to say that it is back
FORGIVEN_S = 10.0  # of gaps behind the first, until they are so long: one that hardly ever runs speaks in the end
MOST_GAPS = 20  # behind the first: together they are longer
Gap = tuple[float, float]
"""From when to when the sentinel itself did not run."""


class Saying(StrEnum):
    """Also the names of the sound files."""

    STOPPED = "stopped"
    BACK = "back"
    FAILED = "failed"
    ENDED = "ended"
    HEARTBEAT = "heartbeat"
    """A tick, no words."""


WORDS = {Saying.STOPPED: STOPPED, Saying.BACK: BACK, Saying.FAILED: FAILED, Saying.ENDED: ENDED}
ALARMS = (Saying.STOPPED, Saying.FAILED)


class Health(StrEnum):
    ABSENT = "absent"
    """There was no agent yet."""
    STARTING = "starting"
    OVERDUE = "overdue"
    """It has been starting for too long."""
    LIVE = "live"
    BLIND = "blind"
    """It runs, and has not looked at a new picture for too long."""
    MUTE = "mute"
    """It looks, and its voice cannot be heard."""
    HUNG = "hung"
    """Its process is there, and does nothing at all."""
    GONE = "gone"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class WatchLimits:
    supervised: bool = False
    """A supervisor (systemd) starts the agent again."""
    heartbeat_every_s: float = 0.0
    """0 = none."""
    beat_s: float = 2.0
    """The agent's feed writes ten times a second: that late, the process is stopped or holds its interpreter's lock."""
    live_s: float = 2.4
    """Between two looks. The agent itself says after 2 s that there is no picture; 3 s are promised."""
    look_slack_s: float = 1.0
    """Where a look is due less than once in live_s: that much beside what is due."""
    voice_s: float = 0.4
    """After the agent found that its sound card takes nothing any more, which takes it 2 s."""
    start_s: float = 180.0
    """To load a model from a slow card; TimeoutStartSec of the unit."""
    repeat_s: float = 20.0
    hopeless_s: float = 120.0
    failed_every_s: float = 60.0
    orphan_s: float = 4.0
    """Nobody starts an agent again that has no supervisor."""
    quit_s: float = 600.0
    """Without a supervisor: how long it goes on after the agent died."""
    back_s: float = 3.0
    """How long the agent has to say itself that it is back."""
    retry_s: float = 2.0
    """After a sound that could not be played."""
    wait_first_s: float = 0.4
    """How long a first "Guidance stopped." waits for the agent's own sentence to end; a later one:"""
    wait_s: float = 5.0
    ask_every_s: float = 5.0
    ask_ended_every_s: float = 30.0
    """The same, of an agent that ended on purpose: it may have been started again since, and failed. Most such starts
    follow the end at once (a restart after a change of the settings), so it is asked as often as any other for:"""
    ended_lately_s: float = 60.0
    gap_s: float = 1.0
    """The sentinel itself did not run for so long (a suspended or starved machine): no silence of the agent's counts
    in that time."""


@dataclass(frozen=True, slots=True)
class StopAlarm:
    since_s: float
    last_s: float = NEVER_S
    """When it was last said, by the agent or by the sentinel."""
    due_s: float | None = None
    """Since when it waits for a pause in the agent's speech."""
    heard: bool = False
    """The sentinel said it, and it was played to its end."""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class SentinelState:
    now_s: float
    gaps: tuple[Gap, ...]
    """Those since the agent last gave a sign of life and last looked; the first of all is the time before the start."""
    playing: Saying | None = None
    alarm: StopAlarm | None = None
    live_since_s: float | None = None
    """Since when it looks, and sees something."""
    ended_pid: int | None = None
    """The agent whose deliberate end was announced, or is not news: it was there before the sentinel."""
    given_up: bool = False
    """The supervisor does not start the agent again."""
    useless_pid: int | None = None
    """The agent, while its process is there and it can neither guide nor say so."""
    killed_pid: int | None = None
    asked_s: float = NEVER_S
    ticked_s: float = NEVER_S

    @property
    def asks_back(self) -> bool:
        """The agent is asked to say that it is back."""
        steady = self.live_since_s is not None and self.now_s - self.live_since_s >= STEADY_S
        return steady and self.alarm is not None and self.alarm.heard


@dataclass(frozen=True, slots=True)
class AgentView:
    """The agent's record, and whether the process that wrote it is there."""

    record: AgentRecord
    exists: bool


@dataclass(frozen=True, slots=True)
class BoardRead:
    """The board was read."""

    view: AgentView | None


@dataclass(frozen=True, slots=True)
class Played:
    """A sound is over."""

    saying: Saying
    heard: bool
    """False: it could not be played, or not to its end."""
    busy: bool = False
    """Because another program holds the sound card for itself."""


@dataclass(frozen=True, slots=True)
class SupervisorAnswered:
    failed: bool
    """It does not start the agent again by itself."""
    pid: int | None
    """Of the last process that it started."""


SentinelEvent = BoardRead | Played | SupervisorAnswered


@dataclass(frozen=True, slots=True)
class Play:
    """Play it now, and cut what is being played."""

    saying: Saying


@dataclass(frozen=True, slots=True)
class KillAgent:
    """It hangs and holds the sound card: nothing can be said before it is gone."""

    pid: int


@dataclass(frozen=True, slots=True)
class AskSupervisor:
    """Ask whether it has given up."""


@dataclass(frozen=True, slots=True)
class Quit:
    """There is nothing left to watch."""


SentinelAction = Play | KillAgent | AskSupervisor | Quit
Watched = tuple[SentinelState, tuple[SentinelAction, ...]]


def begin(now_s: float, view: AgentView | None) -> SentinelState:
    """The state at the start. An end that was there before is no news."""
    ended = view is not None and view.record.phase == AgentPhase.ENDED
    return SentinelState(now_s, ((NEVER_S, now_s),), ended_pid=view.record.pid if view is not None and ended else None)


def step(state: SentinelState, event: SentinelEvent, now_s: float, limits: WatchLimits) -> Watched:
    """One event in, the new state and what to do out. BoardRead comes ten times a second."""
    match event:
        case BoardRead(view):
            state = replace(state, now_s=now_s, gaps=_gaps(state, view, now_s, limits))
            return _observed(state, view, limits)
        case Played():
            return _played(replace(state, playing=None), event, limits)
        case SupervisorAnswered(failed, pid):
            return replace(state, given_up=failed and pid != state.ended_pid), ()
        case _:
            assert_never(event)


def judge(state: SentinelState, view: AgentView | None, limits: WatchLimits) -> Health:
    """How the agent is."""
    if view is None:
        return Health.ABSENT
    agent, now_s = view.record, state.now_s
    if agent.phase == AgentPhase.ENDED:
        return Health.ENDED
    if not view.exists:
        return Health.GONE
    if agent.phase == AgentPhase.STARTING:
        # Loading a model may hold the interpreter's lock for seconds: only the whole start has a bound.
        return Health.OVERDUE if now_s - agent.began_s > limits.start_s else Health.STARTING
    if _silent_s(state, agent.beat_s) > limits.beat_s:
        return Health.HUNG
    if _silent_s(state, agent.live_s) > max(limits.live_s, agent.look_every_s + limits.look_slack_s):
        return Health.BLIND
    return Health.MUTE if agent.beat_s - agent.voice_s > limits.voice_s else Health.LIVE


def _silent_s(state: SentinelState, since_s: float) -> float:
    """How long nothing came, of what was watched. After the first gap the agent has all its time again, as a machine
    that slept wakes one process after the other; later ones count for themselves, or a starved sentinel never spoke."""
    gaps = [gap for gap in state.gaps if gap[1] > since_s]
    from_s = max(since_s, gaps[0][1]) if gaps else since_s
    forgiven_s = 0.0
    for start_s, to_s in gaps[1:]:
        if forgiven_s < FORGIVEN_S:
            forgiven_s += to_s - start_s
    return state.now_s - from_s - forgiven_s


def _gaps(state: SentinelState, view: AgentView | None, now_s: float, limits: WatchLimits) -> tuple[Gap, ...]:
    since_s = NEVER_S if view is None else min(view.record.beat_s, view.record.live_s)
    own = tuple(gap for gap in state.gaps if gap[1] > since_s)
    if now_s - state.now_s <= limits.gap_s:
        return own
    return (*own[:1], *own[1:][-MOST_GAPS:], (state.now_s, now_s))


def told(state: SentinelState, view: AgentView | None, limits: WatchLimits) -> str:
    """How the agent is, for the log."""
    health = judge(state, view, limits).value
    if view is None:
        return health
    look_s, beat_s = (state.now_s - at_s for at_s in (view.record.live_s, view.record.beat_s))
    return f"{health}, {look_s:.1f} s after its last look, {beat_s:.1f} s after its last sign of life"


def _observed(state: SentinelState, view: AgentView | None, limits: WatchLimits) -> Watched:
    health = judge(state, view, limits)
    if view is not None and view.exists:
        state = replace(state, given_up=False)
    state, asked = _asked(state, view, health, limits)
    state = replace(
        state,
        live_since_s=(state.live_since_s or state.now_s) if _guides(view, health) else None,
        useless_pid=view.record.pid if view is not None and _useless(view.record, health) else None,
    )
    if health == Health.LIVE and view is not None:
        state, actions = _live(state, view.record, limits)
    elif health == Health.ENDED and view is not None:
        state, actions = _ended(state, view.record, limits)
    else:
        state, actions = _not_live(state, view, health, limits)
    return state, asked + actions


def _guides(view: AgentView | None, health: Health) -> bool:
    return health == Health.LIVE and view is not None and view.record.sees


def _useless(agent: AgentRecord, health: Health) -> bool:
    """What sees no picture and says so may hold the sound card: it repairs itself, or its camera comes back."""
    return health in (Health.HUNG, Health.MUTE) or (health == Health.BLIND and agent.told_s < agent.live_s)


def _asked(state: SentinelState, view: AgentView | None, health: Health, limits: WatchLimits) -> Watched:
    """Only the supervisor knows whether an agent that is not there will come."""
    away = view is None or not view.exists
    long_ended = (
        health == Health.ENDED and view is not None and state.now_s - view.record.beat_s > limits.ended_lately_s
    )
    every_s = limits.ask_ended_every_s if long_ended else limits.ask_every_s
    if not limits.supervised or not away or state.now_s - state.asked_s < every_s:
        return state, ()
    return replace(state, asked_s=state.now_s), (AskSupervisor(),)


def _live(state: SentinelState, agent: AgentRecord, limits: WatchLimits) -> Watched:
    alarm = state.alarm
    if alarm is None:
        return _heartbeat(state, agent, limits)
    if state.playing in ALARMS:
        return state, ()
    if not alarm.heard or agent.back_s >= alarm.since_s:
        return replace(state, alarm=None), ()  # nothing to take back, or the agent did
    if state.live_since_s is None:  # it says itself why it sees nothing; if it falls silent too, that is a new alarm
        return replace(state, alarm=replace(alarm, since_s=agent.beat_s)), ()
    live_s = state.now_s - state.live_since_s
    quiet = agent.speaking_until_s <= state.now_s or live_s >= limits.back_s + limits.wait_s
    return _play(replace(state, alarm=None), Saying.BACK) if live_s >= limits.back_s and quiet else (state, ())


def _heartbeat(state: SentinelState, agent: AgentRecord, limits: WatchLimits) -> Watched:
    due = limits.heartbeat_every_s > 0 and state.now_s - state.ticked_s >= limits.heartbeat_every_s
    if not due or not agent.sees or state.playing is not None or agent.speaking_until_s > state.now_s:
        return state, ()
    return _play(replace(state, ticked_s=state.now_s), Saying.HEARTBEAT)


def _ended(state: SentinelState, agent: AgentRecord, limits: WatchLimits) -> Watched:
    if state.ended_pid != agent.pid:
        return _play(replace(state, alarm=None, ended_pid=agent.pid), Saying.ENDED)
    if state.given_up:  # it was started again since, and could not
        return _alarmed(state, Saying.FAILED, limits)
    if limits.supervised or state.playing is not None:
        return replace(state, alarm=None), ()
    return state, (Quit(),)


def _not_live(state: SentinelState, view: AgentView | None, health: Health, limits: WatchLimits) -> Watched:
    if health in (Health.ABSENT, Health.STARTING) and state.alarm is None and not state.given_up:
        return state, ()
    alarm = state.alarm or StopAlarm(state.now_s)
    state, age_s = replace(state, alarm=alarm), state.now_s - alarm.since_s
    orphan = health == Health.GONE and not limits.supervised
    if orphan and age_s > limits.quit_s:
        return state, (Quit(),)
    hopeless = (
        state.given_up
        or health == Health.OVERDUE
        or age_s >= limits.hopeless_s
        or (orphan and age_s >= limits.orphan_s)
    )
    polite = view.record if view is not None and health in (Health.BLIND, Health.OVERDUE) else None
    if polite is not None and polite.told_s >= max(polite.live_s, alarm.last_s):  # the agent said so itself
        state = replace(state, alarm=replace(alarm, last_s=polite.told_s))
    return _alarmed(state, Saying.FAILED if hopeless else Saying.STOPPED, limits, polite=polite)


def _alarmed(
    state: SentinelState, saying: Saying, limits: WatchLimits, *, polite: AgentRecord | None = None
) -> Watched:
    """Say it if it is due. polite: an agent that can still speak; its sentence may end first."""
    now_s, alarm = state.now_s, state.alarm or StopAlarm(state.now_s)
    worse = saying == Saying.FAILED and not alarm.failed
    every_s = limits.failed_every_s if saying == Saying.FAILED else limits.repeat_s
    if state.playing in ALARMS or not (worse or now_s - alarm.last_s >= every_s):
        return replace(state, alarm=replace(alarm, due_s=None)), ()
    due_s = now_s if alarm.due_s is None else alarm.due_s
    patience_s = limits.wait_first_s if alarm.last_s == NEVER_S else limits.wait_s
    if polite is not None and polite.speaking_until_s > now_s and now_s - due_s < patience_s:
        return replace(state, alarm=replace(alarm, due_s=due_s)), ()
    said = replace(alarm, last_s=now_s, due_s=None, failed=alarm.failed or worse)
    return _play(replace(state, alarm=said), saying)


def _play(state: SentinelState, saying: Saying) -> Watched:
    return replace(state, playing=saying), (Play(saying),)


def _played(state: SentinelState, event: Played, limits: WatchLimits) -> Watched:
    alarm = state.alarm
    if alarm is None or event.saying not in ALARMS:
        return state, ()
    if event.heard:
        return replace(state, alarm=replace(alarm, heard=True)), ()
    every_s = limits.failed_every_s if event.saying == Saying.FAILED else limits.repeat_s
    state = replace(state, alarm=replace(alarm, last_s=state.now_s - every_s + limits.retry_s))
    pid = state.useless_pid
    if not event.busy or pid is None or pid == state.killed_pid:
        return state, ()
    return replace(state, killed_pid=pid), (KillAgent(pid),)
