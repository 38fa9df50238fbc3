"""Where the seconds of a long piece of work go: wall and processor time of each of its stages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.clock import Clock, SystemClock


def processor_s() -> float:
    """Processor seconds of this process, its threads, and its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass(slots=True)
class Stages:
    """Adds up the time of stages by name. A stage inside another one counts for itself, not for the outer one."""

    clock: Clock = field(default_factory=SystemClock)
    processor: Callable[[], float] = processor_s
    begins: Callable[[str], None] = lambda name: None
    """Told the name of each stage as it begins."""
    _took: dict[str, list[float]] = field(default_factory=dict)
    _inside: list[list[float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block. One name may be measured several times: the times are added."""
        began = self.clock.monotonic_s(), self.processor()
        self.begins(name)
        inner = [0.0, 0.0]
        self._inside.append(inner)
        try:
            yield
        finally:
            self._inside.pop()
            whole = self.clock.monotonic_s() - began[0], self.processor() - began[1]
            took = self._took.setdefault(name, [0.0, 0.0])
            for at, value in enumerate(whole):
                took[at] += value - inner[at]
                if self._inside:
                    self._inside[-1][at] += value

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Name → {"seconds", "cpu_seconds"}, in the order in which the stages began to end."""
        return {
            name: {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)} for name, (wall, cpu) in self._took.items()
        }
