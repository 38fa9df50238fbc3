"""What goes into a guidance turn and what comes out. All frozen; times in seconds on the walk's time line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared import policy
from shared.policy import PolicySettings
from shared.runtime.seen import Instruction, Observation
from shared.sides import Side

SOUND_S = 2.0  # what a look hears
BEFORE_S = 1.0  # an older look shows another place
LENS_AGAIN_S = 0.25  # how soon the next picture is asked about the lens where this one shows nothing


class ModelCard(Protocol):
    """What guidance needs of a model's manifest."""

    @property
    def version(self) -> str: ...
    @property
    def intended_use(self) -> str: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...
    @property
    def model(self) -> Mapping[str, Any]: ...


class LoadedModel(Protocol):
    """A loaded bundle: shared.runtime.GuidanceModel."""

    @property
    def manifest(self) -> ModelCard: ...
    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation: ...
    def word(self, observation: Observation) -> Instruction: ...


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ModelChanged:
    """From now on this model guides, or none."""

    model: LoadedModel | None
    settings: PolicySettings
    """With the model's own thresholds."""
    announce: policy.StateChange | None = None
    ready: tuple[policy.StateChange, ...] = ()
    """Announced once it has looked at a picture that shows something: nobody is guided before."""

    @classmethod
    def to(
        cls,
        model: LoadedModel | None,
        wearer: PolicySettings,
        *,
        pinned: frozenset[str] = frozenset(),
        announce: policy.StateChange | None = None,
        ready: tuple[policy.StateChange, ...] = (),
    ) -> ModelChanged:
        """pinned: thresholds that the wearer's settings fix, whatever the model's manifest says."""
        thresholds = {} if model is None else model.manifest.thresholds
        return cls(model, policy.calibrated(wearer, thresholds, pinned=pinned), announce, ready)


@dataclass(frozen=True, slots=True)
class PaceChanged:
    """What a slow board gives up, or does so no more."""

    look_every_s: float
    """How far apart looks are now."""
    plain: bool = False
    """The decoder is spared: what is due has the table's words. Not for a model that only its decoder speaks for."""
    first_look: bool = False
    """Something to stop for is warned of at the first look: the next comes too late."""


@dataclass(frozen=True, slots=True)
class WearerChanged:
    """The wearer wants to hear other things from now on."""

    wearer: PolicySettings
    pinned: frozenset[str] = frozenset()
    """Thresholds that the wearer's settings fix, whatever the model's manifest says."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureTaken:
    """A new picture, to be looked at now."""

    image: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    t_s: float


@dataclass(frozen=True, slots=True, eq=False)
class SoundTaken:
    """The next piece of sound."""

    samples: NDArray[np.int16]
    """[n] mono, 16 kHz"""
    t_s: float
    """Of its first sample."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """The model looked at the newest picture: the answer to LookNow."""

    observation: Observation


@dataclass(frozen=True, slots=True, eq=False)
class SeenTurned:
    """The model looked at a turned copy of the newest picture: the answer to LookTurned."""

    turn_deg: int
    observation: Observation


@dataclass(frozen=True, slots=True)
class Phrased:
    """The decoder worded the newest look: the answer to WordNow."""

    text: str
    confidence: float


GuidanceEvent = (
    ModelChanged | PaceChanged | WearerChanged | PictureTaken | SoundTaken | Observed | SeenTurned | Phrased
    | policy.Event
)  # fmt: skip


# --- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LookNow:
    """Run the model on the picture of this turn."""

    sound: NDArray[np.float32] | None
    """float32 [n] 16 kHz, -1..1: the last SOUND_S; None = nothing was heard"""
    before: Observation | None
    """The look before, for models that are shown two pictures."""


@dataclass(frozen=True, slots=True)
class LookTurned:
    """Run the model on a copy of the picture, turned: does it see more so?"""

    turn_deg: int
    """Counter-clockwise."""


@dataclass(frozen=True, slots=True, eq=False)
class WordNow:
    """Run the decoder on this look."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class LookSooner:
    """The lens shows nothing, or nothing new: ask again about the first picture from `at_s` on."""

    at_s: float


@dataclass(frozen=True, slots=True)
class SayNow:
    """Begin an utterance."""

    speak: policy.Speak
    t_s: float
    """When it was decided."""
    seen_s: float
    """When the picture was taken that it is about."""
    earcon: str | None
    """Sound before its words."""
    fresh_s: float | None
    """Not worth saying any more when this much later; None = never too late."""
    side: Side | None = None
    """Where what it is about is; None = it is about no place."""


@dataclass(frozen=True, slots=True)
class Withhold:
    """Words that the monitor stopped: a fault in the vocabulary or the policy."""

    text: str
    why: str
    """What is wrong with them."""
    seen_s: float


@dataclass(frozen=True, slots=True)
class PlayEarcon:
    """Play a short sound."""

    name: str


@dataclass(frozen=True, slots=True)
class FlagMoment:
    """Keep this moment of the walk for review."""

    reason: str
    t_s: float


FromPolicy = policy.Cut | policy.Duck | policy.Beat
GuidanceAction = LookNow | LookTurned | WordNow | LookSooner | SayNow | Withhold | PlayEarcon | FlagMoment | FromPolicy
