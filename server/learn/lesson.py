"""Teach now: a night for a thing that people have just confirmed, with fewer steps and the same gate.

What is smaller: optimiser steps (learn.teach_steps) and frames replayed (learn.teach_replay). All confirmed rows teach,
as in a night; cases, walks and every rule of the gate are a night's. It holds the night's lock, has the lowest priority
and a bound on its memory, so that what devices send is taken in meanwhile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from server.evaluation.stages import Stages
from server.gate.settings import Bounds
from server.learn import presets
from server.learn.memory import HeldMemory
from server.learn.nightly import Night, retrain
from server.learn.settings import LearnSettings
from server.review import teaching
from server.review.teaching import ENDED, FAILED, RUNNING, TeachState
from shared.clock import Clock

NICE = 10
EXPECTED = {
    "base": 2.0, "rows": 1.0, "views": 3.0, "replay": 4.0, "towers": 14.0, "train": 20.0, "export": 14.0,
    "quantise": 3.0, "parity": 3.0, "cases": 6.0, "answers": 6.0, "answers before quantisation": 6.0,
    "calibration": 8.0, "walks": 12.0, "champion's answers": 3.0, "cost": 4.0,
}  # fmt: skip
"""Seconds of each stage on two cores, in their order: only shares count, and they scale with what this one took."""
_STEP = re.compile(r"(?:LoRA step|tower features|evaluated) (\d+)/(\d+)")
Progress = Callable[[str], None]


@dataclass(slots=True)
class LessonProgress:
    """How far a lesson is, told after every word of progress."""

    home: Path
    state: TeachState
    clock: Clock
    began_s: float
    inside: float = 0.0
    """Share of the stage that is done."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.inside = 0.0
        self._tell(name)

    def word(self, text: str) -> None:
        """A word of progress."""
        found = _STEP.search(text)
        if found:
            self.inside = int(found[1]) / max(1, int(found[2]))
            self._tell(self.state.stage)

    def _tell(self, name: str) -> None:
        took = self.clock.monotonic_s() - self.began_s
        share, eta_s = remaining(EXPECTED, name, inside=self.inside, took_s=took)
        share = max(share, self.state.share)
        self.state = replace(self.state, stage=name, share=share, eta_s=eta_s, seconds=round(took, 1))
        teaching.write(self.home, self.state)


def remaining(expected: Mapping[str, float], stage: str, *, inside: float, took_s: float) -> tuple[float, float | None]:
    """(share of the work that is done, seconds that are left). Pure.

    expected: stage → what it takes, in the order of the stages; an unknown stage counts as the beginning
    inside: share of this stage that is done
    The seconds are None before a twentieth is done: from less nothing can be said.
    """
    names = list(expected)
    at = names.index(stage) if stage in names else 0
    done = sum(expected[name] for name in names[:at]) + inside * (expected[stage] if stage in names else 0.0)
    share = min(0.99, done / sum(expected.values()))
    return round(share, 3), round(took_s * (1 - share) / share, 0) if share >= 0.05 else None


def sized(settings: LearnSettings) -> LearnSettings:
    """The same with a lesson's steps, as its base's preset has them, and its replay."""
    steps = int(presets.effective(settings)["teach_steps"])
    return replace(settings, steps=steps, replay=min(settings.replay, settings.teach_replay))


def teach(
    home: Path, thing: str, *, settings: LearnSettings, bounds: Bounds, clock: Clock, progress: Progress
) -> Night:
    """Teach what is confirmed, and write down how far it is. The caller holds teach.lock.

    raises: Transient where a night is running; ConfigError, DatasetError, BundleError, OSError, MemoryError; each is
    written down too
    """
    began = TeachState(RUNNING, thing, "starting", began_utc_s=clock.utc_s())
    course = LessonProgress(home, began, clock, clock.monotonic_s())
    teaching.write(home, began)

    def said(text: str) -> None:
        progress(text)
        course.word(text)

    small = sized(settings)
    stages = Stages(clock, begins=course.stage)
    try:
        with HeldMemory(settings.teach_memory_mb or _physical_mb() * 3 // 4):
            night = retrain(home, settings=small, bounds=bounds, progress=said, force=True, stages=stages)
    except Exception as error:
        why = (str(error) or type(error).__name__,)
        teaching.write(home, replace(course.state, phase=FAILED, eta_s=None, reasons=why))
        raise
    took = round(clock.monotonic_s() - course.began_s, 1)
    ended = replace(course.state, phase=ENDED, stage="", share=1.0, eta_s=0.0, seconds=took, outcome=night.outcome)
    teaching.write(home, replace(ended, reasons=night.reasons, version=night.version))
    return night


def _physical_mb() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)
