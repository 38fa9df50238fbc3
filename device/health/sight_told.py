"""<state>/sight_told.json: what the wearer was last told that the model sees, so that it is said once.

A model is introduced when it is put in use and sees other things than the one that was introduced last; after an
enrolment, whatever it sees. It counts as told once its last sentence was begun. Nothing here writes on the thread that
guides: `keep` is called by another.
"""

from __future__ import annotations

import json
from pathlib import Path

from shared import atomic
from shared.model_card import SightCard, spoken

FILE = "sight_told.json"


class SightTold:
    """Any thread."""

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / FILE
        self._told = self._kept = _read(self._file)
        self._introduced: tuple[str, ...] = ()

    def introduction(self, card: SightCard) -> tuple[str, ...]:
        """What to say of a model that is put in use; () where the wearer was told the same before."""
        sentences = spoken(card)
        self._introduced = () if sentences == self._told else sentences
        return self._introduced

    def said(self, text: str) -> None:
        """An utterance was begun."""
        if self._introduced and text == self._introduced[-1]:
            self._told, self._introduced = self._introduced, ()

    def keep(self) -> None:
        """Write what was told, where it is new. Raises: OSError."""
        told = self._told
        if told != self._kept:
            atomic.write_json(self._file, list(told))
            self._kept = told


def forget(state_dir: Path) -> None:
    """The next model that is put in use is introduced, whatever it sees: somebody else may wear the device now."""
    (state_dir / FILE).unlink(missing_ok=True)


def _read(file: Path) -> tuple[str, ...]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()  # told once too often does no harm
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
