"""Deletes what the server has, on a thread of its own: unlinking three files a chunk took 29 % of the link's thread.

In batches: the disk syncs once for all of one. What a crash leaves is deleted by the next start.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.background import Background

BATCH = 16  # records; fewer are deleted when nothing else is left to do
logger = logging.getLogger(__name__)


class Deletion:
    """forget: deletes what is merged (Outbox.forget_merged). Raises: OSError, which is logged and tried again with the
    next batch."""

    def __init__(self, forget: Callable[[], object]) -> None:
        self._forget = forget
        self._waiting = 0
        """Merged and not yet asked to be deleted."""
        self._changed = threading.Condition()
        self._asked = False
        self._trouble: str | None = None
        self._thread = Background(self._run, name="outbox deletion", wake=self._wake)

    def start(self) -> None:
        """Begin, with what an earlier process had no time for."""
        self.ask()
        self._thread.start()

    def add(self, merged: int, *, last: bool) -> None:
        """So many more may be deleted, sooner or later. last: nothing else is under way, so do it now."""
        self._waiting += merged
        if self._waiting >= BATCH or (last and self._waiting):
            self.ask()

    def ask(self) -> None:
        """Delete what there is, soon."""
        self._waiting = 0
        with self._changed:
            self._asked = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End after what is under way, and delete the rest. Idempotent."""
        if self._thread.close(timeout_s):
            self._once()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._thread.stopping.is_set())
                if not self._asked:
                    return
                self._asked = False
            self._once()

    def _once(self) -> None:
        try:
            self._forget()
        except OSError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                logger.error("What the server has cannot be deleted here; it is tried again: %s", error)
        else:
            self._trouble = None
