"""How far a check is, for people: a bar with the time that is left on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from server.maintenance.progress import CheckPart
from shared.clock import Clock, SystemClock

SAID_EVERY_S = 30.0


class CheckDisplay:
    """Shows parts of a check on stderr. A context manager."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, transient=True) if sys.stderr.isatty() else None
        self._part, self._task = "", TaskID(0)
        self._began_s = self._said_at_s = self._clock.monotonic_s()

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, part: CheckPart) -> None:
        """One more word of a check."""
        if part.name != self._part:
            self._begin(part)
        if self._bars is not None:
            self._bars.update(self._task, completed=part.done, total=part.total or None)
        elif self._clock.monotonic_s() - self._said_at_s >= SAID_EVERY_S:
            self._said_at_s = self._clock.monotonic_s()
            print(line_of(part, self._said_at_s - self._began_s), file=sys.stderr, flush=True)

    def _begin(self, part: CheckPart) -> None:
        self._part, self._began_s = part.name, self._clock.monotonic_s()
        if self._bars is not None:
            self._task = self._bars.add_task(part.name, total=part.total or None)


def line_of(part: CheckPart, took_s: float) -> str:
    """ "reading files: 40 %, about 3 min left". Pure. took_s: for what is done"""
    if not part.total:
        return f"{part.name}: {part.done} done" if part.done else part.name
    line = f"{part.name}: {part.done / part.total:.0%}"
    left_s = took_s / part.done * (part.total - part.done) if part.done else 0.0
    return line + (f", about {max(1, round(left_s / 60))} min left" if part.done else "")
