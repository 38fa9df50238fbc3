"""A sentinel and an agent in made-up time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from device.sentinel import watch
from device.sentinel.board import AgentPhase, AgentRecord
from device.sentinel.watch import AgentView, BoardRead, Play, Played, Saying, SentinelAction, WatchLimits

TICK_S = 0.1
FIRST = AgentRecord(pid=7, started=70, phase=AgentPhase.GUIDING, began_s=100.0, beat_s=100.0, live_s=100.0)


@dataclass
class Scene:
    """A sentinel and an agent in made-up time. What is played is heard `plays_s` later."""

    limits: WatchLimits
    now_s: float = 100.0
    record: AgentRecord | None = FIRST
    exists: bool = True
    beats: bool = True
    looks: bool = True
    voice: bool = True
    heard: bool = True
    busy: bool = False
    plays_s: float = 1.5
    said: list[tuple[float, Saying]] = field(default_factory=list)
    others: list[SentinelAction] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = watch.begin(self.now_s, self.view)

    @property
    def view(self) -> AgentView | None:
        return None if self.record is None else AgentView(self.record, self.exists)

    def pass_s(self, seconds: float) -> None:
        """Let time pass in ticks."""
        for _ in range(round(seconds / TICK_S)):
            self.now_s = round(self.now_s + TICK_S, 3)
            if self.record is not None and self.exists and self.beats:
                self.record = replace(
                    self.record,
                    beat_s=self.now_s,
                    live_s=self.now_s if self.looks else self.record.live_s,
                    voice_s=self.now_s if self.voice else self.record.voice_s,
                )
            self._end_sound()
            self.feel(BoardRead(self.view))

    def _end_sound(self) -> None:
        playing = self.state.playing
        if playing is not None and self.now_s - self.said[-1][0] >= (self.plays_s if self.heard else 0.1):
            self.feel(Played(playing, self.heard, busy=self.busy))

    def feel(self, event: watch.SentinelEvent) -> None:
        self.state, actions = watch.step(self.state, event, self.now_s, self.limits)
        for action in actions:
            if isinstance(action, Play):
                self.said.append((self.now_s, action.saying))
            else:
                self.others.append(action)

    @property
    def sayings(self) -> list[Saying]:
        return [saying for _, saying in self.said]

    def agent_says(self, *, told: bool = False, back: bool = False, for_s: float = 1.5) -> None:
        assert self.record is not None
        told_s = self.now_s if told else self.record.told_s
        back_s = self.now_s if back else self.record.back_s
        self.record = replace(self.record, told_s=told_s, back_s=back_s, speaking_until_s=self.now_s + for_s)


def fault(scene: Scene, kind: str) -> None:
    if kind == "gone":
        scene.exists = False
    elif kind == "hung":
        scene.beats = False
    elif kind == "blind":
        scene.looks = False
    else:
        scene.voice = False
