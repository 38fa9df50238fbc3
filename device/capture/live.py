"""A live source: one or more capture processes behind the one contract, merged by time."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from device.capture import pipe
from device.capture.source import PartHealth, SoundBlock, SourceInfo, VideoFrame
from device.capture.supervisor import Phase
from device.capture.worker import CapturedItem, CaptureWorker, boot_s
from device.capture.worker_process import Plan
from shared.errors import MediaError

SOUND_START_S = 5.0  # how long a camera that is ready waits for its microphone

logger = logging.getLogger(__name__)


class LiveSource:
    """A Source over a camera, a microphone or both, merged by time. A microphone that is not there yet does not hold
    the camera up. Raises: MediaError without any plan."""

    def __init__(self, *plans: Plan) -> None:
        if not plans:
            raise MediaError("A live source needs a camera or a microphone.")
        self.plans = tuple(sorted(plans, key=lambda plan: plan.kind))  # the picture first
        self._news = threading.Condition()
        self._workers: tuple[CaptureWorker, ...] = ()
        self._origin_s = 0.0
        self._closed = False

    def open(self) -> SourceInfo:
        """Start all parts together. A microphone that fails beside a working camera is left to come later.

        Raises: MediaError when the camera, or the only part, did not start; it is tried on, until `close`.
        """
        self._workers = tuple(CaptureWorker(plan, news=self._news) for plan in self.plans)
        for worker in self._workers:
            worker.start()
        with self._news:
            self._news.wait_for(self._workers[0].settled)
            self._news.wait_for(lambda: all(worker.settled() for worker in self._workers), SOUND_START_S)
        self._origin_s = boot_s()
        self._check(self._workers[0])
        for worker in self._workers:
            if worker.facts is None:
                why = worker.state.trouble.rstrip(".") or f"did not start within {SOUND_START_S:g} s"
                logger.warning("%s: %s. The walk begins without it. %s", worker.plan.name, why, worker.hint)
        return self._info()

    def _check(self, first: CaptureWorker) -> None:
        if first.facts is not None:
            return
        raise MediaError(f"{first.plan.name}: {first.state.trouble.rstrip('.')}.", hint=first.hint)

    def _info(self) -> SourceInfo:
        facts: dict[str, Any] = {}
        for worker in reversed(self._workers):
            facts |= worker.facts or {}
        if "mode" in facts:
            angle = "an unknown angle" if facts.get("fov_deg") is None else f"{facts['fov_deg']} degrees"
            logger.info("The sensor is read as %s and shows %s from left to right.", facts["mode"], angle)
        sound = any(worker.plan.kind == "sound" and worker.facts is not None for worker in self._workers)
        width_px, height_px = int(facts.get("width_px", 0)), int(facts.get("height_px", 0))
        name = ", ".join(plan.name for plan in self.plans)
        return SourceInfo(name, width_px, height_px, float(facts.get("fps", 0.0)), sound, None, live=True)

    def read(self, timeout_s: float) -> VideoFrame | SoundBlock | None:
        with self._news:
            self._news.wait_for(lambda: self._oldest() is not None or self.ended, timeout_s)
            worker = self._oldest()
            return self._unwrap(worker) if worker is not None else None

    def _oldest(self) -> CaptureWorker | None:
        """The part whose next item is the oldest, forgetting what was taken before the source was open."""
        waiting = []
        for worker in self._workers:
            while worker.items and worker.items[0].message.t_s < self._origin_s:
                worker.pop()
            if worker.items and not self._closed:
                waiting.append(worker)
        return min(waiting, key=lambda worker: worker.items[0].message.t_s, default=None)

    def _unwrap(self, worker: CaptureWorker) -> VideoFrame | SoundBlock:
        item = worker.pop()
        if item.message.kind == pipe.PICTURE:
            newest = self._frame(worker, worker.items[-1]) if worker.items else None
            return replace(self._frame(worker, item), newest=newest)
        return SoundBlock(item.message.payload.view(np.int16), item.message.t_s - self._origin_s)

    def _frame(self, worker: CaptureWorker, item: CapturedItem) -> VideoFrame:
        message, fov_deg = item.message, (worker.facts or {}).get("fov_deg")
        image = message.payload.reshape(message.height, message.width, 3)
        return VideoFrame(image, message.t_s - self._origin_s, item.dropped_before, message.t_s, fov_deg)

    @property
    def ended(self) -> bool:
        """Closed, or the camera was a file and everything of it was read."""
        if self._closed:
            return True
        first = self._workers[0] if self._workers else None
        return first is not None and first.state.phase == Phase.DONE and not first.items

    @property
    def health(self) -> tuple[PartHealth, ...]:
        with self._news:
            return tuple(worker.health() for worker in self._workers)

    @property
    def healthy(self) -> bool:
        return bool(self._workers) and all(part.healthy for part in self.health)

    @property
    def frames_dropped(self) -> int:
        with self._news:
            return sum(worker.dropped for worker in self._workers)

    def close(self) -> None:
        """Kill the capture processes. Idempotent, about a second at most."""
        for worker in self._workers:
            worker.close()
        with self._news:
            self._closed = True
            self._news.notify_all()
