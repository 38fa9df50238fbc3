"""Recording off and on, forgetting and discarding, as the wearer wants it: said, and kept over a restart.

Called on the capture thread. A pause by hand is written down beside the walk, on a thread of its own: a card may take a
second for that. Where it cannot be written, recording is paused all the same, until the next start, which is said, and
it is tried again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from device.moments import pausing
from device.moments.collector import Moments
from device.moments.pausing import PauseEvent, Pausing
from shared import atomic
from shared.background import Background

FILE = "recording_paused"
JOIN_S = 3.0
RETRY_S = 10.0
logger = logging.getLogger(__name__)


class Recording:
    """moments: what is paused. announce(text, about): said to the wearer."""

    def __init__(self, moments: Moments, state_dir: Path, announce: Callable[[str, str], None]) -> None:
        self._moments = moments
        self._announce = announce
        self._file = state_dir / FILE
        self._wanted = threading.Event()
        self._state = Pausing()
        self._lock = threading.Lock()
        self._writing = Background(self._write, name="recording", wake=self._wanted.set)

    def start(self) -> None:
        """As it was left: paused by hand before a restart is paused."""
        if self._file.exists():
            self._state = Pausing(by_hand=True)
            self._moments.pause(0.0)
            self._announce(pausing.STARTS_PAUSED, pausing.ABOUT)
        self._writing.start()

    def close(self) -> None:
        """Write down what is not yet."""
        self._writing.close(JOIN_S)

    @property
    def paused(self) -> bool:
        """Nothing is recorded now."""
        return self._state.paused

    def happened(self, event: PauseEvent, t_s: float) -> None:
        """t_s: walk time."""
        before = self._state
        self._state, text = pausing.step(before, event)
        if self._state.paused and not before.paused:
            self._moments.pause(t_s)
        elif before.paused and not self._state.paused:
            self._moments.resume(t_s)
        if self._state.by_hand != before.by_hand:
            self._wanted.set()
        if text is not None:
            self._announce(text, pausing.ABOUT)

    def refuse(self) -> None:
        """Something was to be kept while nothing is."""
        self._announce(pausing.NOT_WHILE_PAUSED, pausing.NOT_WHILE_PAUSED)

    def _write(self) -> None:
        failed = False
        while True:
            self._wanted.wait(RETRY_S if failed else None)
            asked = self._wanted.is_set()
            self._wanted.clear()
            failed = not self._written(told=failed and not asked)
            if self._writing.stopping.is_set() and not self._wanted.is_set():
                return

    def _written(self, *, told: bool) -> bool:
        """Whether it could be. told: that it could not is known already."""
        by_hand = self._state.by_hand
        try:
            if by_hand:
                atomic.write_bytes(self._file, b"")
            elif self._file.exists():
                self._file.unlink()
                atomic.fsync_dir(self._file.parent)
        except OSError as error:
            if not told:
                logger.error("That recording is paused, or is not any more, cannot be written down: %s", error)
                if by_hand:
                    self._announce(pausing.NOT_OVER_A_RESTART, pausing.NOT_OVER_A_RESTART)
            return False
        return True
