"""Who listens to waiting corrections in `waycue-server run`: the recogniser's process, and what is known beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from server.dataset.merge import Merge
from server.speech import transcribe_waiting
from server.speech.apart import ApartTranscriber
from server.speech.known import Knowing
from server.speech.requests import RecogniserOptions
from shared import languages
from shared.clock import Clock
from shared.errors import Transient
from shared.messages import CorrectionHeard

NOBODY = "none"


class CorrectionListener:
    """One thread at a time calls `listen`; its owner calls `close`, from any thread."""

    def __init__(self, options: RecogniserOptions, know: Knowing, clock: Clock) -> None:
        """options: with the recogniser "none" nobody listens here, and what devices understood is taken"""
        self._language = languages.load(options.language, Path(options.languages) if options.languages else None)
        self._ear = ApartTranscriber(options, clock) if options.recogniser != NOBODY else None
        self._know = know
        self._closed = False

    def listen(self, merge: Merge, *, stop: Callable[[], bool], tell: Callable[[str, CorrectionHeard], object]) -> int:
        """Listen to what waits; how many were written down. Raises: OSError, ConfigError, Transient."""
        try:
            return transcribe_waiting(merge, self._ear, stop=stop, language=self._language, tell=tell, know=self._know)
        except Transient:
            if not self._closed:
                raise
            return 0  # it goes on waiting

    def close(self) -> None:
        """End the recogniser's process; who listens comes back."""
        self._closed = True
        if self._ear is not None:
            self._ear.close()
