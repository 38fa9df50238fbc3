"""What a recogniser gives back, and what every recogniser is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Transcript:
    """Words and how sure they are."""

    text: str
    """"" = nothing was understood."""
    confidence: float
    """0..1."""


NOTHING = Transcript("", 0.0)


class Transcriber(Protocol):
    """Turns a spoken correction into words. May be called from any thread."""

    def transcribe(self, wav: bytes) -> Transcript:
        """Listen to one WAV.

        raises: MediaError where it is no sound; ConfigError where the recogniser can not be loaded
        """
        ...
