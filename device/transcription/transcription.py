"""One correction after the other, on a thread of its own. Each comes back exactly once, with words or without."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from device.transcription.listening import ListenPlan, ListenResult, listen
from shared.background import Background
from shared.clock import Clock
from shared.errors import MediaError
from shared.messages import CorrectionRecord

logger = logging.getLogger(__name__)

MOST_WAITING = 8
AGAIN_S = 1.0  # after what nobody foresaw
CLOSE_S = 5.0


class Transcription:
    """done(record, words): called once for each correction; words None = nobody listened, or that failed (`trouble`).
    It is called on the thread, or, where there is nothing to listen with, by who called `take`."""

    def __init__(
        self, plan: ListenPlan, done: Callable[[CorrectionRecord, ListenResult | None], object], clock: Clock
    ) -> None:
        self.allowed = True
        """Set it to False on a hot or slow board: who is listening is stopped, and nobody begins."""
        self.trouble: str | None = None
        """Why the last one failed; None = it did not."""
        self._plan = plan
        self._done = done
        self._clock = clock
        self._waiting: queue.SimpleQueue[tuple[CorrectionRecord, bytes] | None] = queue.SimpleQueue()
        self._work = Background(
            self._run, name="transcription", restart_s=AGAIN_S, wake=lambda: self._waiting.put(None)
        )

    def start(self) -> None:
        self._work.start()

    def close(self) -> None:
        """Stop listening; what waits comes back without words."""
        self._work.close(CLOSE_S)

    def take(self, record: CorrectionRecord, wav: bytes) -> None:
        """Listen to it soon; returns at once."""
        if not self._goes_on() or self._waiting.qsize() >= MOST_WAITING:
            self._done(record, None)
        else:
            self._waiting.put((record, wav))

    def _goes_on(self) -> bool:
        return self.allowed and not self._work.stopping.is_set()

    def _run(self) -> None:
        while True:
            waiting = self._waiting.get()
            if waiting is not None:
                words = None
                try:
                    words = self._listened(*waiting)
                finally:
                    self._done(waiting[0], words)
            elif self._work.stopping.is_set() and self._waiting.empty():
                return

    def _listened(self, record: CorrectionRecord, wav: bytes) -> ListenResult | None:
        if not self._goes_on():
            return None
        try:
            words = listen(wav, self._plan, self._clock, may_go_on=self._goes_on)
        except (MediaError, OSError) as error:
            logger.error("%s could not be listened to: %s", record.correction_id, error)
            self.trouble = str(error)
            return None
        self.trouble = None
        if words is not None:
            taken = words.processor_s, words.memory_mb
            logger.info("%s was listened to in %.2f s of processor time, with %.0f MB.", record.correction_id, *taken)
        return words
