"""Live sources: one or more capture processes behind the one contract, merged by time."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np

from device.capture import pipe
from device.capture.source import PartHealth, SoundBlock, SourceInfo, VideoFrame
from device.capture.worker import Capture, Item, boot_s
from device.capture.worker_process import Plan
from shared.errors import MediaError

SOUND_START_S = 5.0  # how long a camera that is ready waits for its microphone

log = logging.getLogger(__name__)


class CaptureSource:
    """A Source over one or more capture processes, merged by time."""

    def __init__(self, *plans: Plan) -> None:
        if not plans:
            raise MediaError("A live source needs a camera or a microphone.")
        self.plans = tuple(sorted(plans, key=lambda plan: plan.kind))  # the picture first
        self._news = threading.Condition()
        self._captures: tuple[Capture, ...] = ()
        self._origin_s = 0.0
        self._closed = False

    def open(self) -> SourceInfo:
        """Start all parts together. A microphone that fails beside a working camera is left to come later.

        Raises: MediaError when the camera, or the only part, did not start.
        """
        self._captures = tuple(Capture(plan, news=self._news) for plan in self.plans)
        for capture in self._captures:
            capture.start()
        with self._news:
            self._news.wait_for(self._captures[0].settled)
            self._news.wait_for(lambda: all(capture.settled() for capture in self._captures), SOUND_START_S)
        self._check(self._captures[0])
        for capture in self._captures:
            if capture.facts is None:
                why = capture.watch.trouble.rstrip(".") or f"did not start within {SOUND_START_S:g} s"
                log.warning("%s: %s. The walk begins without it. %s", capture.plan.name, why, capture.hint)
        self._origin_s = boot_s()
        return self._info()

    def _check(self, first: Capture) -> None:
        """Hold on to nothing when the part that matters most is not there."""
        if first.facts is not None:
            return
        self.close()
        raise MediaError(f"{first.plan.name}: {first.watch.trouble.rstrip('.')}.", hint=first.hint)

    def _info(self) -> SourceInfo:
        facts: dict[str, Any] = {}
        for capture in reversed(self._captures):
            facts |= capture.facts or {}
        sound = any(capture.plan.kind == "sound" and capture.facts is not None for capture in self._captures)
        return SourceInfo(
            name=", ".join(plan.name for plan in self.plans),
            width_px=int(facts.get("width_px", 0)),
            height_px=int(facts.get("height_px", 0)),
            fps=float(facts.get("fps", 0.0)),
            has_sound=sound,
            duration_s=None,
            live=True,
        )

    def read(self, timeout_s: float) -> VideoFrame | SoundBlock | None:
        """The oldest item of all parts. See Source."""
        with self._news:
            self._news.wait_for(lambda: self._oldest() is not None or self.ended, timeout_s)
            capture = self._oldest()
            return self._unwrap(capture.pop()) if capture is not None else None

    def _oldest(self) -> Capture | None:
        """The part whose next item is the oldest, forgetting what was taken before the source was open."""
        waiting = []
        for capture in self._captures:
            while capture.items and capture.items[0].message.t_s < self._origin_s:
                capture.pop()
            if capture.items and not self._closed:
                waiting.append(capture)
        return min(waiting, key=lambda capture: capture.items[0].message.t_s, default=None)

    def _unwrap(self, item: Item) -> VideoFrame | SoundBlock:
        message, t_s = item.message, item.message.t_s - self._origin_s
        if message.kind == pipe.PICTURE:
            image = message.payload.reshape(message.height, message.width, 3)
            return VideoFrame(image, t_s, item.dropped_before, message.t_s)
        return SoundBlock(message.payload.view(np.int16), t_s)

    @property
    def ended(self) -> bool:
        """Closed, or the camera was a file and everything of it was read."""
        if self._closed:
            return True
        first = self._captures[0] if self._captures else None
        return first is not None and first.watch.phase == "done" and not first.items

    @property
    def health(self) -> tuple[PartHealth, ...]:
        """Every part, the picture first."""
        with self._news:
            return tuple(capture.health() for capture in self._captures)

    @property
    def healthy(self) -> bool:
        """Every part runs and has given something lately."""
        return bool(self._captures) and all(part.healthy for part in self.health)

    @property
    def frames_dropped(self) -> int:
        """Pictures that nobody fetched in time."""
        with self._news:
            return sum(capture.dropped for capture in self._captures)

    def close(self) -> None:
        """Kill the capture processes. Idempotent, about a second at most."""
        for capture in self._captures:
            capture.close()
        with self._news:
            self._closed = True
            self._news.notify_all()
