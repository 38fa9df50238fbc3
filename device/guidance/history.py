"""What guidance did in the last minutes, by walk time: what a chunk's sidecar and the report are made of.

A chunk is closed up to half a second after its end and may be asked for again as a predecessor, so this remembers as
long as the recorder's ring does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from shared.policy import GUIDANCE
from shared.runtime.seen import Hazard
from shared.sight import Box

REMEMBERED_S = 180.0
MOST_STOPPED = 100
MOST_HEARD = 10_000


@dataclass(frozen=True, slots=True)
class LookEntry:
    """One look that went well."""

    t_s: float
    version: str
    hazards: Sequence[Hazard]
    """The most certain ones."""
    boxes: Sequence[Box] | None = None
    """All; None = the model detects no people or vehicles."""


@dataclass(frozen=True, slots=True)
class WordingEntry:
    """What the decoder made of a picture, spoken or not."""

    t_s: float
    version: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance."""

    utterance: int
    t_s: float
    """When it was decided, on the walk's time line."""
    text: str
    tier: int
    why: str
    confidence: float
    seen_s: float
    """Walk time of the picture that it is about."""
    taken_s: float | None = None
    """Monotonic time of that picture's shutter, where unknown when it was handed out; None = not about a picture."""
    sounded_s: float | None = None
    """Monotonic time of its first sample; None = not heard, or not yet."""
    heard_s: float | None = None
    """The same on the walk's time line."""
    lead_s: float = 0.0
    """How long its earcon lasts, after which its words begin."""
    model_version: str = ""

    @property
    def is_guidance(self) -> bool:
        return self.why in GUIDANCE

    @property
    def time_to_speech_s(self) -> float | None:
        """Shutter to first sample."""
        if self.taken_s is None or self.sounded_s is None or not self.is_guidance:
            return None
        return self.sounded_s - self.taken_s

    @property
    def time_to_words_s(self) -> float | None:
        """Shutter to first sample of the words, after the earcon."""
        return None if self.time_to_speech_s is None else self.time_to_speech_s + self.lead_s


@dataclass(frozen=True, slots=True)
class Stopped:
    """Words that the monitor kept from the voice."""

    t_s: float
    text: str
    why: str
    """What is wrong with them."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What guidance did during a stretch of the walk."""

    looks: int = 0
    raw_output: str = ""
    """What the decoder worded at the middle."""
    confidence: float = 0.0
    worded: bool = False
    spoken: str = ""
    """Guidance that was begun, in order."""
    model_version: str = ""
    hazards: Sequence[Hazard] = ()
    """Of the look nearest the middle."""


Entry = LookEntry | WordingEntry | Spoken
_Timed = TypeVar("_Timed", bound=Entry)


class GuidanceHistory:
    """Any thread may call any method."""

    def __init__(self, *, remembered_s: float = REMEMBERED_S) -> None:
        self._remembered_s = remembered_s
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._heard: dict[int, Spoken] = {}
        self._last: Spoken | None = None
        self.looks = 0
        """Since the start."""
        self.stopped: tuple[Stopped, ...] = ()
        """Of the whole walk, at most MOST_STOPPED of them."""

    def stop(self, stopped: Stopped) -> None:
        """Words were stopped: a fault of ours, which somebody has to look into."""
        with self._lock:
            self.stopped = (*self.stopped, stopped)[-MOST_STOPPED:]

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            self.looks += isinstance(entry, LookEntry)
            if isinstance(entry, Spoken) and entry.is_guidance:
                self._last = entry
            while self._entries[0].t_s < entry.t_s - self._remembered_s:
                self._entries.popleft()

    def sounded(self, utterance: int, at_s: float, *, t_s: float, lead_s: float = 0.0) -> None:
        """The first sample of an utterance was heard. at_s: monotonic; t_s: walk time; lead_s: see Spoken."""
        with self._lock:
            for position in range(len(self._entries) - 1, -1, -1):
                entry = self._entries[position]
                if isinstance(entry, Spoken) and entry.utterance == utterance:
                    heard = replace(entry, sounded_s=at_s, heard_s=max(t_s, entry.t_s), lead_s=lead_s)
                    self._entries[position] = self._heard[utterance] = heard
                    if len(self._heard) > MOST_HEARD:
                        del self._heard[next(iter(self._heard))]
                    return

    def talk(self, from_s: float, to_s: float) -> Talk:
        """What was done about [from_s, to_s)."""
        with self._lock:
            entries = [entry for entry in self._entries if from_s <= entry.t_s < to_s]
        looks = [entry for entry in entries if isinstance(entry, LookEntry)]
        look = _nearest(looks, (from_s + to_s) / 2)
        talk = Talk(
            looks=len(looks),
            spoken=" ".join(entry.text for entry in entries if isinstance(entry, Spoken) and entry.is_guidance),
            model_version="" if look is None else look.version,
            hazards=() if look is None else look.hazards,
        )
        wording = _nearest([entry for entry in entries if isinstance(entry, WordingEntry)], (from_s + to_s) / 2)
        if wording is None:
            return talk
        return replace(
            talk, raw_output=wording.text, confidence=wording.confidence, worded=True, model_version=wording.version
        )

    def boxes(self, from_s: float, to_s: float) -> list[Sequence[Box] | None]:
        """Of each look at a picture of [from_s, to_s]."""
        with self._lock:
            looks = (entry for entry in self._entries if isinstance(entry, LookEntry))
            return [look.boxes for look in looks if from_s <= look.t_s <= to_s]

    @property
    def last_guidance(self) -> str:
        """What was said last about the way; "" = nothing."""
        with self._lock:
            return "" if self._last is None else self._last.text

    @property
    def heard(self) -> dict[int, Spoken]:
        """The utterances of the walk that were heard, by number, in order; the last MOST_HEARD of them."""
        with self._lock:
            return dict(self._heard)


def _nearest(entries: Sequence[_Timed], t_s: float) -> _Timed | None:
    return min(entries, key=lambda entry: abs(entry.t_s - t_s), default=None)
