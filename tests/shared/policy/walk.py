"""A walk through the policy: a small voice that carries out what it is told, and takes its time."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared import policy, vocabulary
from shared.policy import Cut, Looked, PolicySettings, PolicyState, Speak, SpeechEnded
from shared.runtime.seen import Hazard as Hazard

SETTINGS = PolicySettings()
SECONDS_PER_WORD = 0.32


@dataclass
class Walk:
    """Runs the policy with a voice that takes its time, and remembers everything."""

    settings: PolicySettings = SETTINGS
    now_s: float = 0.0
    state: PolicyState = field(default_factory=PolicyState)
    ends: dict[int, float] = field(default_factory=dict)
    spoken: list[tuple[float, Speak]] = field(default_factory=list)
    cuts: list[tuple[float, int]] = field(default_factory=list)
    actions: list[tuple[float, policy.Action]] = field(default_factory=list)

    def give(self, event: policy.Event) -> tuple[policy.Action, ...]:
        self.state, actions = policy.step(self.state, event, self.now_s, self.settings)
        for action in actions:
            self.actions.append((self.now_s, action))
            if isinstance(action, Cut):
                self.cuts.append((self.now_s, action.utterance))
                del self.ends[action.utterance]
            if isinstance(action, Speak):
                assert not self.ends, "one utterance at a time"
                self.spoken.append((self.now_s, action))
                self.ends[action.utterance] = self.now_s + SECONDS_PER_WORD * len(vocabulary.words(action.text))
        return actions

    def wait(self, seconds: float) -> None:
        until = self.now_s + seconds
        while self.ends and min(self.ends.values()) <= until:
            utterance, self.now_s = min(self.ends.items(), key=lambda pair: pair[1])
            del self.ends[utterance]
            self.give(SpeechEnded(utterance))
        self.now_s = until

    def look(self, *hazards: Hazard, brightness: float = 0.5, contrast: float = 0.2) -> tuple[policy.Action, ...]:
        return self.give(Looked(hazards, brightness, contrast))
