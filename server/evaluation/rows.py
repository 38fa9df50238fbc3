"""Rows beside a model's, on the same walks through the same policy: a perfect model, silence, one sentence for ever.

A figure says nothing by itself: where cars are everywhere a constant sentence is often right, and the policy
keeps even a perfect model from some warnings. None of these models looks at pixels, so the pictures of a walk are kept
small while the model that is judged sees them, and are drawn or read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation import sentences
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Course, Drive, Frame, Thing, Truth, seen_side
from shared import lens, vocabulary
from shared.policy import PolicySettings
from shared.runtime.seen import Hazard, Instruction, Observation

PERFECT, SILENT, CONSTANT = "perfect model", "always silent", "most frequent sentence"
SURE, NEVER = 0.99, 0.01
Seen = tuple[frozenset[Thing], str]
"""All that a model sees, and its sentence."""
NOTHING: Seen = (frozenset(), vocabulary.CLEAR)
_NO_TOKENS = np.zeros((1, 0, 1), np.float32)


class KeptCourse:
    """A course, and its pictures as small as the lens is judged on, once it was driven."""

    def __init__(self, course: Course) -> None:
        self._course, self._frames = course, list[Frame]()
        self._sound = None if course.sound is None else cache(course.sound)

    @property
    def first(self) -> Course:
        """With its own pictures, which are kept as they pass."""
        return replace(self._course, frames=self._keep, sound=self._sound)

    @property
    def again(self) -> Course:
        """With the kept ones. Drive `first` before.

        In small pictures a sensor's noise is averaged away, by which a camera that stands still differs from one that
        hangs: none counts as frozen.
        """
        return replace(self._course, frames=lambda: iter(self._frames), sound=self._sound, stills=True)

    @property
    def truths(self) -> Iterator[Truth]:
        """Of the pictures whose words are judged."""
        return (frame.truth for frame in self._frames if frame.sampled and frame.truth is not None)

    def truth_of(self, image: NDArray[np.uint8]) -> Truth | None:
        """Of a kept picture, by which one it is."""
        return next((frame.truth for frame in self._frames if frame.image is image), None)

    def _keep(self) -> Iterator[Frame]:
        self._frames.clear()
        for frame in self._course.frames():
            small = cv2.resize(frame.image, lens.SIZE, interpolation=cv2.INTER_AREA)
            self._frames.append(replace(frame, image=np.asarray(small, np.uint8)))
            yield frame


@dataclass(frozen=True, slots=True)
class RowCard:
    """What guidance needs of a manifest."""

    version: str
    intended_use: str = "demo"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=lambda: {"objects": list(vocabulary.load().objects)})


@dataclass(frozen=True, slots=True)
class RowModel:
    """A model that is told what to see. Pictures are measured as for any other."""

    manifest: RowCard
    see: Callable[[NDArray[np.uint8]], Seen]

    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation:
        light, contrast = float(image.mean() / 255), float(image.std() / 255)
        return Observation(_NO_TOKENS, _hazards(self.see(image)[0]), light, contrast, unseen=(image,))

    def word(self, observation: Observation) -> Instruction:
        return Instruction(self.see(observation.unseen[-1])[1], SURE, ())


def drive_rows(kept: Sequence[KeptCourse], settings: DriveSettings) -> dict[str, list[Drive]]:
    """Row → its drives, of courses that a model has driven. The sentence of the constant row is that of all of them."""
    words = sentences.most_frequent(truth for course in kept for truth in course.truths)
    rows: dict[str, Callable[[KeptCourse], Callable[[NDArray[np.uint8]], Seen]]] = {
        PERFECT: lambda course: lambda image: _right(course.truth_of(image)),
        SILENT: lambda course: lambda image: NOTHING,
        CONSTANT: lambda course: lambda image: _saying(words),
    }
    blind = replace(settings, pictures=False)
    return {
        name: [drive(RowModel(RowCard(name), sees(course)), course.again, PolicySettings(), blind) for course in kept]
        for name, sees in rows.items()
    }


def _right(truth: Truth | None) -> Seen:
    return NOTHING if truth is None else (truth.there, truth.references[0])


@cache
def _saying(text: str) -> Seen:
    """A sentence for ever, and the thing that it names."""
    slots = vocabulary.parse(text)
    there = frozenset({(slots.object, seen_side(slots.side))}) if slots and slots.object else frozenset[Thing]()
    return there, text


@cache
def _hazards(there: frozenset[Thing]) -> tuple[Hazard, ...]:
    """Every (object, side), most certain first."""
    pairs = [(name, side) for name in vocabulary.load().objects for side in vocabulary.SIDES_SEEN]
    hazards = [Hazard(*pair, SURE if pair in there else NEVER) for pair in pairs]
    return tuple(sorted(hazards, key=lambda hazard: -hazard.score))
