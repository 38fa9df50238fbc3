"""A bundle and the speech policy on a course, as on a device: look at a steady rate, decide, say.

Time is the course's own. A decision is taken at the instant of its look, so that a drive gives the same words on every
machine; what look and words took here is measured and reported. With `timed` the model's time passes on the walk too:
looks that fall due while it works are skipped, and the words come that much later.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation.facts import Course, Drive, Frame, Moment, Utterance, Words
from shared import lens, media, mel, monitor, policy, vocabulary
from shared.bundle import Manifest
from shared.media import SAMPLE_RATE_HZ
from shared.policy import PolicySettings, PolicyState
from shared.runtime.seen import Instruction, Observation

KEPT_HAZARDS = 8
SOUND_S = 2.0
PICTURE_PX = 320
_logger = logging.getLogger(__name__)


class Model(Protocol):
    """shared.runtime.GuidanceModel"""

    @property
    def manifest(self) -> Manifest: ...
    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation: ...
    def word(self, observation: Observation) -> Instruction: ...


@dataclass(frozen=True, slots=True)
class DriveSettings:
    """How a drive goes."""

    looks_per_s: float = 4.0
    words_per_minute: float = 190.0
    warning_words_per_minute: float = 165.0
    warning_earcon_s: float = 0.08
    """The tone before a warning delays its first word."""
    timed: bool = False
    """The model takes its time on the walk too."""
    pictures: bool = True
    """Keep a small JPEG of every picture, for a report."""


def drive(
    model: Model,
    course: Course,
    wished: PolicySettings,
    settings: DriveSettings,
    *,
    seconds: Callable[[], float] = time.perf_counter,
) -> Drive:
    """Drive the course once.

    seconds: measures what look and words take
    raises: MediaError, DatasetError, OSError where a picture cannot be read
    """
    return _Wheel(model, course, policy.calibrated(wished, model.manifest.thresholds), settings, seconds).run()


class _Wheel:
    """One drive while it goes on."""

    def __init__(
        self,
        model: Model,
        course: Course,
        policy_settings: PolicySettings,
        settings: DriveSettings,
        seconds: Callable[[], float],
    ) -> None:
        self._model, self._course = model, course
        self._policy, self._settings, self._seconds = policy_settings, settings, seconds
        self._state = PolicyState()
        self._moments: list[Moment] = []
        self._said: list[Utterance] = []
        self._numbers: list[int] = []
        self._pictures: dict[int, bytes] = {}
        self._worded_chunk = -1
        self._known: tuple[int, Observation, float, Words | None] | None = None
        self._judged = -1
        self._repeats = lens.Repeats()
        hears = course.sound is not None and model.manifest.entry(mel.ENCODER) is not None
        self._sound = course.sound() if course.sound is not None and hears else None

    def run(self) -> Drive:
        free_s = 0.0
        self._step(policy.WalkBegan(), 0.0, 0.0)
        for t_s, picture, frame, steers in looks(self._course, self._settings.looks_per_s):
            if steers and t_s >= free_s:
                free_s = self._look(t_s, picture, frame)
            elif frame.sampled:  # judged, but the device had no time for it
                self._only_judge(t_s, picture, frame)
        self._let_end(self._course.duration_s)
        return Drive(self._course, tuple(self._moments), tuple(self._said), self._pictures)

    def _look(self, t_s: float, picture: int, frame: Frame) -> float:
        """One look and what follows from it. Returns when the model is free again."""
        trouble = lens.trouble(lens.view(frame.image))
        if not self._course.stills and self._repeats.frozen(frame.image, t_s):
            trouble = trouble or "frozen"
        if trouble in policy.BLINDING:
            self._let_end(t_s)
            self._step(policy.Viewed(trouble), t_s, 0.0)
            return t_s
        observation, look_ms, words = self._observe(t_s, picture, frame)
        took_ms, now_s = look_ms, t_s + self._delay(look_ms)
        self._let_end(now_s)
        looked = policy.Looked(
            observation.hazards, observation.brightness, observation.contrast, trouble, seen_at_s=t_s
        )
        actions = self._step(looked, now_s, took_ms)
        asked = self._is_worded_now(t_s, actions)
        if words is None and (asked or frame.sampled):
            words = self._word(observation)
            self._known = (picture, observation, look_ms, words)
        if asked and words is not None:
            took_ms, now_s = took_ms + words.took_ms, now_s + self._delay(words.took_ms)
            self._let_end(now_s)
            self._step(policy.Worded(words.text, words.confidence, t_s), now_s, took_ms)
        self._keep(t_s, picture, frame, words)
        return now_s

    def _only_judge(self, t_s: float, picture: int, frame: Frame) -> None:
        observation, look_ms, words = self._observe(t_s, picture, frame)
        words = words or self._word(observation)
        self._known = (picture, observation, look_ms, words)
        self._keep(t_s, picture, frame, words)

    def _keep(self, t_s: float, picture: int, frame: Frame, words: Words | None) -> None:
        assert self._known is not None
        _, observation, look_ms, _ = self._known
        best = tuple((h.object, h.side, round(h.score, 4)) for h in observation.hazards[:KEPT_HAZARDS])
        first = picture != self._judged
        self._judged = picture if frame.sampled else self._judged
        self._moments.append(Moment(t_s, frame.truth, frame.sampled and first, best, words, look_ms, picture))

    def _observe(self, t_s: float, picture: int, frame: Frame) -> tuple[Observation, float, Words | None]:
        """A still that stays in view is computed once."""
        if self._known is not None and self._known[0] == picture:
            return self._known[1:]
        if self._settings.pictures:
            self._pictures[picture] = jpeg(frame.image)
        before = None if self._known is None else self._known[1]
        started = self._seconds()
        observation = self._model.look(frame.image, self._heard(t_s), before=before)
        look_ms = (self._seconds() - started) * 1e3
        self._known = (picture, observation, look_ms, None)
        return observation, look_ms, None

    def _heard(self, t_s: float) -> NDArray[np.float32] | None:
        """The last two seconds."""
        if self._sound is None:
            return None
        end = round(t_s * SAMPLE_RATE_HZ)
        return self._sound[max(0, end - round(SOUND_S * SAMPLE_RATE_HZ)) : end] if end > 0 else None

    def _word(self, observation: Observation) -> Words:
        started = self._seconds()
        written = self._model.word(observation)
        took_ms = (self._seconds() - started) * 1e3
        return Words(written.text, written.confidence, took_ms, written.grammatical)

    def _is_worded_now(self, t_s: float, actions: tuple[policy.Action, ...]) -> bool:
        """As device.guidance.loop does: where the policy wants it, and each chunk once, from its middle on, unless a
        warning is going out. Without a hazard head only the decoder can see anything: every look is worded."""
        if policy.WordIt() in actions or not self._model.manifest.model.get("objects", True):
            return True
        chunk = math.floor(t_s / self._course.chunk_s)
        speaks = any(isinstance(action, policy.Speak) for action in actions)
        if t_s < (chunk + 0.5) * self._course.chunk_s - 1e-6 or chunk <= self._worded_chunk or speaks:
            return False
        self._worded_chunk = chunk
        return True

    def _delay(self, took_ms: float) -> float:
        return took_ms / 1e3 if self._settings.timed else 0.0

    def _let_end(self, now_s: float) -> None:
        """Tell the policy what has been said to its end by now."""
        for number, utterance in zip(self._numbers[-2:], self._said[-2:], strict=True):
            speaking = self._state.speaking
            if speaking is not None and speaking.utterance == number and utterance.end_s <= now_s:
                self._step(policy.SpeechEnded(number), utterance.end_s, 0.0)

    def _step(self, event: policy.Event, now_s: float, took_ms: float) -> tuple[policy.Action, ...]:
        self._state, actions = policy.step(self._state, event, now_s, self._policy)
        for action in actions:
            if isinstance(action, policy.Cut) and action.utterance in self._numbers:
                at = self._numbers.index(action.utterance)
                self._said[at] = replace(self._said[at], end_s=min(now_s, self._said[at].end_s))
            elif isinstance(action, policy.Speak) and self._is_stopped(action):
                self._state, _ = policy.step(self._state, policy.SpeechEnded(action.utterance), now_s, self._policy)
            elif isinstance(action, policy.Speak):
                self._numbers.append(action.utterance)
                self._said.append(spoken(action, now_s, took_ms, self._settings))
        return actions

    def _is_stopped(self, action: policy.Speak) -> bool:
        """As on the device, what the monitor stops is not heard."""
        why = monitor.stopped(action.text, tier=action.tier, why=action.why, clear_allowed=self._policy.say_clear)
        if why:
            _logger.error("Not spoken, a fault in the vocabulary or the policy: %r %s", action.text, why)
        return bool(why)


def looks(course: Course, per_s: float) -> Iterator[tuple[float, int, Frame, bool]]:
    """(time, number of the picture, picture, whether the device looks) at a steady rate: each look takes the newest
    picture there is. A sampled picture that no look meets comes all the same, for its words to be judged.
    """
    step, count, met = 1.0 / per_s, 0, True
    now: tuple[int, Frame] | None = None
    for number, frame in enumerate(course.frames()):
        while now is not None and count * step < frame.t_s - 1e-6:
            yield max(count * step, now[1].t_s), *now, True
            count, met = count + 1, True
        if now is not None and now[1].sampled and not met:
            yield now[1].t_s, *now, False
        now, met = (number, frame), False
    while now is not None and count * step < course.duration_s - 1e-6:
        yield max(count * step, now[1].t_s), *now, True
        count, met = count + 1, True
    if now is not None and now[1].sampled and not met:
        yield now[1].t_s, *now, False


def spoken(action: policy.Speak, now_s: float, took_ms: float, settings: DriveSettings) -> Utterance:
    """How an utterance lies in time, at the voice's usual pace."""
    words = vocabulary.words(action.text)
    warns = action.tier == 1
    word_s = 60.0 / (settings.warning_words_per_minute if warns else settings.words_per_minute)
    begin_s = now_s + (settings.warning_earcon_s if warns else 0.0)
    slots = vocabulary.parse(action.text)
    name = vocabulary.words(slots.object)[:1] if slots and slots.object else []
    before = words.index(name[0]) if name and name[0] in words else 0
    return Utterance(
        now_s,
        begin_s + len(words) * word_s,
        action.text,
        action.tier,
        action.why,
        action.confidence,
        took_ms,
        begin_s + before * word_s,
    )


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """A small JPEG, PICTURE_PX wide."""
    height = max(1, round(image.shape[0] * PICTURE_PX / image.shape[1]))
    small = cv2.resize(image, (PICTURE_PX, height), interpolation=cv2.INTER_AREA)
    return media.encode_jpeg(np.asarray(small, np.uint8))
