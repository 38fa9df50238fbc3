"""A bundle and the speech policy on a course, as on a device: look at a steady rate, decide, say.

Decisions come from shared.guidance, as on a device. Time is the course's own. A decision is taken at the instant of its
look, so that a drive gives the same words on every machine; what look and words took here is measured and reported.
With `timed` the model's time passes on the walk too: looks that fall due while it works are skipped, and the words come
that much later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation.facts import Course, Drive, Frame, Moment, Thing, Utterance, Words
from shared import policy, vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.guidance import events
from shared.guidance.events import LoadedModel
from shared.guidance.turn import GuidanceState, turn
from shared.jpeg import encode_jpeg
from shared.policy import PolicySettings
from shared.runtime.seen import Hazard, Observation
from shared.sight import turned_copy

KEPT_HAZARDS = 8
PICTURE_PX = 320
logger = logging.getLogger(__name__)


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
    skip_unchanged: bool = False
    """As shared.guidance.turn.GuidanceState takes it."""
    pictures: bool = True
    """Keep a small JPEG of every picture, for a report."""


def drive(
    model: LoadedModel,
    course: Course,
    wearer: PolicySettings,
    settings: DriveSettings,
    *,
    seconds: Callable[[], float] = time.perf_counter,
) -> Drive:
    """Drive the course once.

    wearer: thresholds of the model take the place of its own
    seconds: measures what look and words take
    raises: MediaError, DatasetError, OSError where a picture cannot be read
    """
    return _Driver(model, course, wearer, settings, seconds).run()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the model made of one picture. A still that stays in view is computed once."""

    picture: int
    observation: Observation
    look_ms: float
    words: Words | None = None


class _Driver:
    """One drive while it goes on: runs the model, and keeps what a voice would say and when."""

    def __init__(
        self,
        model: LoadedModel,
        course: Course,
        wearer: PolicySettings,
        settings: DriveSettings,
        seconds: Callable[[], float],
    ) -> None:
        self._model, self._course, self._settings, self._seconds = model, course, settings, seconds
        drawn = replace(wearer, trial_classes=True)  # only of real pictures is it asked how right a model is there
        self._state = GuidanceState(
            drawn if course.exact else wearer,
            course.chunk_s,
            stills=course.stills,
            skip_unchanged=settings.skip_unchanged,
        )
        self._moments: list[Moment] = []
        self._said: dict[int, Utterance] = {}
        self._pictures: dict[int, bytes] = {}
        self._seen: _Seen | None = None
        self._judged = -1
        self._columns: dict[Thing, int] = {}
        """Of each (object, side) that the model scores."""
        self._image: NDArray[np.uint8] | None = None
        """The picture of the newest look."""
        self._sound = None if course.sound is None else course.sound()
        self._heard = 0
        """Samples of the sound that have been heard."""

    def run(self) -> Drive:
        free_s = 0.0
        self._turn(events.ModelChanged.to(self._model, self._state.settings), 0.0)
        self._turn(policy.WalkBegan(), 0.0)
        for t_s, picture, frame, steers in looks(self._course, self._settings.looks_per_s):
            if steers and t_s >= free_s:
                free_s = self._look(t_s, picture, frame)
            elif frame.sampled:  # judged, but the device had no time for it
                before = None if self._seen is None else self._seen.observation
                self._keep(t_s, frame, self._worded(self._observe(picture, frame, None, before)))
        self._let_end(self._course.duration_s)
        said = tuple(self._said.values())
        return Drive(self._course, tuple(self._moments), said, self._pictures, tuple(self._columns))

    def _look(self, t_s: float, picture: int, frame: Frame) -> float:
        """One look and what follows from it. Returns when the model is free again."""
        self._let_end(t_s)
        self._hear(t_s)
        self._image = frame.image
        asked = self._turn(events.PictureTaken(frame.image, t_s), t_s)
        if not isinstance(asked, events.LookNow):
            if frame.sampled and self._seen is not None and self._state.trouble not in policy.BLINDING:  # left out
                self._keep(t_s, frame, self._worded(replace(self._seen, picture=picture, look_ms=0.0)))
            return t_s
        seen = self._observe(picture, frame, asked.sound, asked.before)
        took_ms, now_s = seen.look_ms, t_s + self._delay_s(seen.look_ms)
        self._let_end(now_s)
        asked = self._turn(events.Observed(seen.observation), now_s, took_ms)
        if asked is not None or frame.sampled:
            seen = self._worded(seen)
        if isinstance(asked, events.WordNow) and seen.words is not None:
            took_ms, now_s = took_ms + seen.words.took_ms, now_s + self._delay_s(seen.words.took_ms)
            self._let_end(now_s)
            self._turn(events.Phrased(seen.words.text, seen.words.confidence), now_s, took_ms)
        self._keep(t_s, frame, seen)
        return now_s

    def _look_turned(self, turn_deg: int, now_s: float) -> None:
        if self._image is not None:
            observation = self._model.look(turned_copy(self._image, turn_deg))
            self._turn(events.SeenTurned(turn_deg, observation), now_s)

    def _hear(self, t_s: float) -> None:
        if self._sound is not None and (end := round(t_s * SAMPLE_RATE_HZ)) > self._heard:
            self._turn(events.SoundTaken(self._sound[self._heard : end], self._heard / SAMPLE_RATE_HZ), t_s)
            self._heard = end

    def _keep(self, t_s: float, frame: Frame, seen: _Seen) -> None:
        hazards, above = seen.observation.hazards, self._state.settings.hazard_above
        best = tuple((h.object, h.side, round(h.score, 4)) for h in hazards[:KEPT_HAZARDS])
        sure = frozenset((h.object, h.side) for h in hazards if h.score >= above)
        sampled = frame.sampled and seen.picture != self._judged
        self._judged = seen.picture if frame.sampled else self._judged
        self._moments.append(
            Moment(t_s, frame.truth, sampled, best, seen.words, seen.look_ms, seen.picture, sure, self._scores(hazards))
        )

    def _scores(self, hazards: Sequence[Hazard]) -> NDArray[np.float32]:
        """[pairs so far] of a look, in the order of the drive's pairs."""
        columns = [self._columns.setdefault((h.object, h.side), len(self._columns)) for h in hazards]
        scores = np.zeros(len(self._columns), np.float32)
        scores[columns] = [hazard.score for hazard in hazards]
        return scores

    def _observe(
        self, picture: int, frame: Frame, sound: NDArray[np.float32] | None, before: Observation | None
    ) -> _Seen:
        if self._seen is not None and self._seen.picture == picture:
            return self._seen
        if self._settings.pictures:
            self._pictures[picture] = jpeg(frame.image)
        started = self._seconds()
        observation = self._model.look(frame.image, sound, before=before)
        self._seen = _Seen(picture, observation, (self._seconds() - started) * 1e3)
        return self._seen

    def _worded(self, seen: _Seen) -> _Seen:
        if seen.words is None:
            started = self._seconds()
            written = self._model.word(seen.observation)
            took_ms = (self._seconds() - started) * 1e3
            words = Words(written.text, written.confidence, took_ms, written.grammatical)
            seen = self._seen = replace(seen, words=words)
        return seen

    def _delay_s(self, took_ms: float) -> float:
        return took_ms / 1e3 if self._settings.timed else 0.0

    def _let_end(self, now_s: float) -> None:
        """Report what has been said to its end by now."""
        while (speaking := self._state.policy.speaking) is not None:
            end_s = self._said[speaking.utterance].end_s
            if end_s > now_s:
                return
            self._turn(policy.SpeechEnded(speaking.utterance), end_s)

    def _turn(
        self, event: events.GuidanceEvent, now_s: float, took_ms: float = 0.0
    ) -> events.LookNow | events.WordNow | None:
        """Returns what the model is asked for."""
        self._state, actions = turn(self._state, event, now_s)
        asked: events.LookNow | events.WordNow | None = None
        for action in actions:
            match action:
                case events.LookNow() | events.WordNow():
                    asked = action
                case events.SayNow(speak):
                    self._said[speak.utterance] = spoken(speak, now_s, took_ms, self._settings)
                case policy.Cut(utterance):
                    said = self._said[utterance]
                    self._said[utterance] = replace(said, end_s=min(now_s, said.end_s))
                case events.Withhold(text, why):
                    logger.error("Not spoken, a fault in the vocabulary or the policy: %r %s", text, why)
                case events.LookTurned(turn_deg):
                    self._look_turned(turn_deg, now_s)
                case events.LookSooner() | events.FlagMoment():
                    pass  # a course has looks of its own, and keeps every moment
                case events.PlayEarcon() | policy.Duck() | policy.Beat():
                    pass  # not judged
                case _:
                    assert_never(action)
        return asked


def looks(course: Course, per_s: float) -> Iterator[tuple[float, int, Frame, bool]]:
    """(time, number of the picture, picture, whether the device looks) at a steady rate: each look takes the newest
    picture there is. A sampled picture that no look meets comes all the same, for its words to be judged.
    """
    step_s, count = 1.0 / per_s, 0

    def until(end_s: float, picture: int, frame: Frame) -> Iterator[tuple[float, int, Frame, bool]]:
        """Looks at this picture until the next one comes."""
        nonlocal count
        first = count
        while count * step_s < end_s - 1e-6:
            yield max(count * step_s, frame.t_s), picture, frame, True
            count += 1
        if frame.sampled and count == first:
            yield frame.t_s, picture, frame, False

    now: tuple[int, Frame] | None = None
    for picture, frame in enumerate(course.frames()):
        if now is not None:
            yield from until(frame.t_s, *now)
        now = picture, frame
    if now is not None:
        yield from until(course.duration_s, *now)


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
    """A small JPEG, PICTURE_PX wide, of a picture, uint8 [h, w, 3] RGB."""
    height = max(1, round(image.shape[0] * PICTURE_PX / image.shape[1]))
    small = cv2.resize(image, (PICTURE_PX, height), interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.asarray(small, np.uint8))
