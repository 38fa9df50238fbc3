"""Work on a thread of its own, with an owner that ends it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.backoff import exponential_s

logger = logging.getLogger(__name__)

JOIN_S = 10.0


class Background:
    """One thread. `start` it once; its owner calls `close`.

    run: the work; returns soon after `stopping` is set. What it raises is logged with the traceback; after that it is
    called again `restart_s` seconds later, or, where that is None, the thread ends.
    wake: called by `close` to end a wait inside `run`.
    """

    def __init__(
        self,
        run: Callable[[], object],
        *,
        name: str,
        restart_s: float | None = None,
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        self.stopping = threading.Event()
        """Set once the work should end."""
        self._work = run
        self._restart_s = restart_s
        self._wake = wake
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @classmethod
    def every(cls, interval_s: float, call: Callable[[], object], *, name: str, at_once: bool = False) -> Background:
        """Call again and again, `interval_s` after the call before has ended. at_once: the first time without a wait.
        A call that raises is logged and does not end it."""

        def run() -> None:
            while not background.stopping.is_set():
                if at_once or not background.stopping.wait(interval_s):
                    call()
                if at_once:
                    background.stopping.wait(interval_s)

        background = cls(run, name=name, restart_s=interval_s if at_once else 0.0)
        return background

    @classmethod
    def until(cls, works: Callable[[], bool], *, name: str, first_s: float = 2.0, most_s: float = 60.0) -> Background:
        """Call `works` until it returns True: the first time after `first_s`, then with exponential backoff up to
        `most_s`, for ever. An exception is logged and counts as False."""

        def run() -> None:
            failures = 0
            while not background.stopping.wait(exponential_s(failures, base_s=first_s, max_s=most_s)):
                try:
                    if works():
                        return
                except Exception:
                    logger.exception("%s failed", name)
                failures += 1

        background = cls(run, name=name)
        return background

    @property
    def is_alive(self) -> bool:
        """Started, and not ended yet."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin. Raises: RuntimeError the second time."""
        self._thread.start()

    def close(self, timeout_s: float = JOIN_S) -> bool:
        """Have it end and wait for that, at most `timeout_s`. Whether it has ended; also where it was never started.

        May be called again, and by the thread itself, which then is not waited for.
        """
        self.stopping.set()
        self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("%s did not end within %g s; it is left behind.", self._thread.name, timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self._work()
                return
            except Exception:
                logger.exception("%s failed", self._thread.name)
            if self._restart_s is None or self.stopping.wait(self._restart_s) or self.stopping.is_set():
                return


def within(timeout_s: float, call: Callable[[], object], *, name: str) -> bool:
    """Run a call that may hang on a thread of its own. Whether it came back in time; what it raises is logged."""
    work = Background(call, name=name)
    work.start()
    return work.close(timeout_s)
