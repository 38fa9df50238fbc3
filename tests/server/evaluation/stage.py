"""A course and a model whose every score is known: what the runner should make of them can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.evaluation.facts import Course, Drive, Frame, Moment, Thing, Truth, Utterance
from server.walks import Event
from shared import vocabulary
from shared.bundle import FORMAT, Manifest
from shared.runtime import Hazard, Instruction, Observation

CURB: Thing = ("curb", "ahead")
BIN: Thing = ("bin", "on the left")
POLE: Thing = ("pole", "on the right")


def event(thing: Thing, begin: float, end: float) -> Event:
    return Event(*thing, vocabulary.tier(vocabulary.Slots("", *thing)), begin, end)


def said(text: str, t_s: float, *, why: str = "hazard", confidence: float = 0.9) -> Utterance:
    slots = vocabulary.parse(text)
    return Utterance(t_s, t_s + 1.0, text, vocabulary.tier(slots) if slots else 3, why, confidence, 5.0, t_s + 0.5)


def moments(duration_s: float, there: Callable[[float], Sequence[Thing]]) -> tuple[Moment, ...]:
    """Four looks a second; what is there by time."""
    return tuple(
        Moment(t, Truth((vocabulary.CLEAR,), frozenset(there(t))), False, (), None, 4.0, i)
        for i, t in enumerate(np.arange(0.0, duration_s, 0.25).tolist())
    )


def driven(
    utterances: Sequence[Utterance],
    events: Sequence[Event] = (),
    *,
    duration_s: float = 20.0,
    there: Callable[[float], Sequence[Thing]] | None = None,
) -> Drive:
    """A drive as if it had been driven. Without `there`, each event's thing is there as long as its event lasts."""

    def lasting(t_s: float) -> list[Thing]:
        return [e.thing for e in events if e.t_visible_s <= t_s <= e.t_deadline_s]

    course = Course("walk", "day", duration_s, tuple(events), lambda: iter(()))
    return Drive(course, moments(duration_s, there or lasting), tuple(utterances))


def course_of(things: Callable[[float], Sequence[Thing]], *, duration_s: float, step_s: float = 0.25) -> Course:
    """Pictures whose every pixel is the number of what is there (bit i = THINGS[i]); a model below reads it."""

    def frames() -> Iterator[Frame]:
        for t_s in np.arange(0.0, duration_s, step_s).tolist():
            there = frozenset(things(t_s))
            first = min(there, key=lambda thing: vocabulary.tier(vocabulary.Slots("", *thing)), default=None)
            text = vocabulary.instruct(*first) if first else vocabulary.CLEAR
            yield Frame(t_s, picture(there), Truth((text,), there), abs(t_s % 2.0 - 1.0) < 1e-6)

    return Course("painted", "day", duration_s, (), frames, stills=True)


THINGS = (CURB, BIN, POLE)


def picture(there: frozenset[Thing]) -> NDArray[np.uint8]:
    """Stripes, so that it does not look like a covered lens."""
    image = np.zeros((48, 48, 3), np.uint8)
    image[:, ::8] = 200
    image[3, 3] = sum(1 << i for i, thing in enumerate(THINGS) if thing in there)
    return image


@dataclass
class Reader:
    """A model that sees exactly what `picture` painted."""

    thresholds: dict[str, float] = field(default_factory=dict)
    looks: int = 0

    @property
    def manifest(self) -> Manifest:
        return Manifest(FORMAT, "reader", 0.0, "none", "", "demo", (), self.thresholds, {})

    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation:
        self.looks += 1
        seen = int(image[3, 3, 0])
        scores = [Hazard(*thing, 0.99 if seen >> i & 1 else 0.01) for i, thing in enumerate(THINGS)]
        best = tuple(sorted(scores, key=lambda hazard: -hazard.score))
        return Observation(np.full((1, 1, 1), seen, np.float32), best, 0.4, 0.4)

    def word(self, observation: Observation) -> Instruction:
        seen = int(observation.image_tokens[0, 0, 0])
        there = [thing for i, thing in enumerate(THINGS) if seen >> i & 1]
        return Instruction(vocabulary.instruct(*there[0]) if there else vocabulary.CLEAR, 0.97, ())
