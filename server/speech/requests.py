"""What is asked of the recogniser's process and what it answers: a line of JSON each, the sound behind the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import msgspec

from shared import strict
from shared.speech import SoundPass, Transcript
from shared.strict import Number, Text

MOST_BYTES = 8 * 1024 * 1024  # four minutes of sound; a correction has 28 s at most
MOST_LINE_BYTES = 256 * 1024
MEDIA, CONFIG = "media", "config"


@dataclass(frozen=True, slots=True)
class RecogniserOptions:
    """How the process listens, from its start to its end."""

    recogniser: str
    model: str = ""
    language: str = "en"
    languages: str = ""
    """Folder with own ones; "" = those that come along."""
    home: str = ""
    """The server's, with own words; "" = none."""


@dataclass(frozen=True, slots=True)
class SightQuestion:
    """A picture that is to be looked at beside the sound."""

    frame: str
    """A file."""
    bundle: str
    """Folder of the model that looks at it."""


@dataclass(frozen=True, slots=True)
class SoundQuestion:
    """One sound; its bytes follow the line."""

    size_bytes: int
    sight: SightQuestion | None = None


@dataclass(frozen=True, slots=True)
class SeenThings:
    """What a model sees where a correction was spoken."""

    objects: Annotated[tuple[Text, ...], strict.Items] = ()
    """What it can see at all: of other things its silence says nothing."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Thing → how sure it is, 0..1, on whatever side."""


NOT_SEEN = SeenThings()


@dataclass(frozen=True, slots=True)
class SoundAnswer:
    """What the process makes of a sound, or why it makes nothing of it."""

    text: Text = ""
    confidence: Number = 0.0
    passes: Annotated[tuple[SoundPass, ...], strict.Items] = ()
    seen: SeenThings = NOT_SEEN
    failed: Text = ""
    """MEDIA | CONFIG: what to raise; "" = nothing."""
    why: Text = ""
    hint: Text = ""

    @property
    def transcript(self) -> Transcript:
        """What was heard."""
        return Transcript(self.text, self.confidence, self.passes)


def line(value: Any) -> bytes:
    """One question or answer as a line."""
    return msgspec.json.encode(asdict(value)) + b"\n"


def answer_of(heard: Transcript, seen: SeenThings) -> SoundAnswer:
    """What was heard and seen."""
    return SoundAnswer(heard.text, heard.confidence, heard.passes, seen)
