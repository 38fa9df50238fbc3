"""What an evaluation is made of: what was there, what was said, and when. All frozen; seconds since the walk began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.walks.chunks import Event
from shared import vocabulary

REAL, DRAWN, TAUGHT = "real", "drawn", "taught"
"""Groups of cases; see server.gate.evidence."""
Thing = tuple[str, str]
"""(object, one of vocabulary.SIDES_SEEN)"""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is right about one picture."""

    references: tuple[str, ...]
    """Sentences that are right, the best one first; vocabulary.CLEAR where nothing should be said."""
    there: frozenset[Thing] = frozenset()
    """All that is within reach."""

    @property
    def silent(self) -> bool:
        """Nothing should be said."""
        return self.references[0] == vocabulary.CLEAR


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a course."""

    t_s: float
    image: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    truth: Truth | None
    """None where nobody annotated this moment."""
    sampled: bool
    """Its words are judged: the middle of a chunk, or every picture of a set of stills."""


@dataclass(frozen=True, slots=True)
class Course:
    """One walk to be judged on."""

    name: str
    group: str
    """Courses of one group are also reported together: a route, a light."""
    duration_s: float
    events: tuple[Event, ...]
    frames: Callable[[], Iterator[Frame]]
    """In order of time."""
    sound: Callable[[], NDArray[np.int16]] | None = None
    """int16 [n] 16 kHz mono: what the microphone heard from the beginning; None = nothing."""
    chunk_s: float = 2.0
    stills: bool = False
    """Pictures that stand still are no frozen camera."""
    exact: bool = True
    """The truth covers every moment and thing. False: annotated by hand or rule, so silence about a thing proves
    little."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the decoder wrote about a picture."""

    text: str
    confidence: float
    took_ms: float
    grammatical: bool = True
    """Whether the decoder kept to the grammar by itself."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One look."""

    t_s: float
    truth: Truth | None
    sampled: bool
    hazards: tuple[tuple[str, str, float], ...]
    """(object, side, score), best first, the first few."""
    words: Words | None
    """Where the picture was worded."""
    look_ms: float
    picture: int
    """Which picture of the course it was."""
    sure: frozenset[Thing] = frozenset()
    """What was scored above the model's threshold."""
    scores: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """[pairs of the drive, as many as came up to then]: every score."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the policy let out."""

    t_s: float
    end_s: float
    """When it ended or was cut."""
    text: str
    tier: int
    why: str
    """hazard | worded | clear | unsure | state"""
    confidence: float
    took_ms: float
    """From the shutter to the voice: look, and words where they were needed."""
    hazard_word_s: float
    """When the word for the thing begins."""

    @property
    def guides(self) -> bool:
        """It names what is there, or says that nothing is; not about the device, and not that it is unsure."""
        return self.why in ("hazard", "worded", "clear")

    @property
    def slots(self) -> vocabulary.Slots | None:
        return vocabulary.parse(self.text)

    @property
    def thing(self) -> Thing:
        """What it names and at which side; ("", ...) where it names nothing."""
        slots = self.slots
        return (slots.object, seen_side(slots.side)) if slots else ("", "ahead")


@dataclass(frozen=True, slots=True)
class Drive:
    """A bundle on a course."""

    course: Course
    moments: tuple[Moment, ...]
    utterances: tuple[Utterance, ...]
    pictures: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """Number of the picture → a small JPEG; empty where nobody wants to see them."""
    pairs: tuple[Thing, ...] = ()
    """What the scores of its moments are of, in their order."""


def seen_side(side: str) -> str:
    """A spoken side as a camera tells it apart: "overhead" and unsaid are on the path."""
    if side.endswith("left"):
        return "on the left"
    return "on the right" if side.endswith("right") else "ahead"
