"""The models of an agent whose disk takes no updates yet: read-only, or broken.

Until the disk does, the model in the current slot guides as it lies there, and offers wait; then they are followed as
ever. A disk must never keep the agent from guiding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from device.capture.source import VideoFrame
from device.updates.model_source import Models
from device.updates.updater import UpdateReport
from shared.background import Background

WAITS = "no updates: the disk cannot be written"


class LateModels(Models):
    """kept: what guides until then; make: the models that follow offers. Raises: OSError while they cannot."""

    def __init__(self, kept: Models, make: Callable[[], Models]) -> None:
        self._kept, self._make = kept, make
        self._late: Models | None = None
        self._lock = threading.Lock()
        self._offer: bytes | None = None
        self._online = False
        self._tries = Background.until(self._made, name="model folder")

    def start(self) -> None:
        self._kept.start()
        self._tries.start()

    def close(self) -> None:
        self._tries.close()
        self._now.close()

    def looked(self, version: str) -> None:
        self._now.looked(version)

    def failed(self, version: str, reason: str) -> None:
        self._now.failed(version, reason)

    def saw(self, frame: VideoFrame) -> None:
        self._now.saw(frame)

    def on_offer(self, payload: bytes) -> None:
        with self._lock:
            self._offer = payload
            if self._late is not None:
                self._late.on_offer(payload)

    def on_block(self, levels: list[str], payload: bytes) -> None:
        self._now.on_block(levels, payload)

    def link_changed(self, online: bool) -> None:
        with self._lock:
            self._online = online
            self._now.link_changed(online)

    @property
    def state_text(self) -> str:
        return WAITS if self._late is None else self._late.state_text

    @property
    def is_settled(self) -> bool:
        return self._now.is_settled

    @property
    def updates(self) -> tuple[UpdateReport, ...]:
        return self._now.updates

    @property
    def _now(self) -> Models:
        return self._kept if self._late is None else self._late

    def _made(self) -> bool:
        try:
            late = self._make()
        except OSError:
            return False
        self._kept.close()
        late.start()
        with self._lock:
            self._late = late
            late.link_changed(self._online)
            if self._offer is not None:
                late.on_offer(self._offer)
        return True
