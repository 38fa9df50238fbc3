"""What goes on beside the walk, once a second: the status file, the status on the broker, news.

Its thread calls nothing that guidance waits for. It is also the one that notices a model stuck in a picture, which the
guiding thread itself cannot say: "Guidance paused" then goes straight to the voice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.guidance.loop import Guidance
from device.health import announcements, status
from device.health.ration import RationedNews
from device.health.status import DeviceStatus
from shared import policy
from shared.background import Background
from shared.clock import Clock
from shared.notify import notify

logger = logging.getLogger(__name__)

EVERY_S = 1.0
PUBLISH_EVERY_S = 10.0
JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class MonitorPorts:
    """What upkeep asks of the rest."""

    status: Callable[[], DeviceStatus]
    publish: Callable[[DeviceStatus], None]
    online: Callable[[], bool | None]
    """None = there is no broker to be online with."""
    sound_healthy: Callable[[], bool]
    announce: Callable[[str], None]
    """Say something without the guiding thread."""
    watched: Callable[[], bool]
    """A sentinel says that guidance stopped, so that two voices need not."""
    news: RationedNews
    erasures_refused: Callable[[], int] = int
    """How many wishes to have moments erased the server has refused."""


class HealthMonitor:
    def __init__(self, ports: MonitorPorts, guidance: Guidance, *, state_dir: Path, clock: Clock) -> None:
        self._ports = ports
        self._guidance = guidance
        self._state_dir = state_dir
        self._clock = clock
        self._link = announcements.Outage()
        self._sound = announcements.Outage()
        self._refusals = self._not_erased = announcements.RefusalNews()
        self._stuck = announcements.StuckNews()
        self._status_failed = False
        self._written_s = self._published_s = float("-inf")
        self._published: object = None
        self._shown = ""
        self._rounds = Background.every(EVERY_S, self.tick, name="health monitor")

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close(JOIN_S)

    def tick(self) -> None:
        now_s = self._clock.monotonic_s()
        self._watch_model(now_s)
        self._ports.news.tick()
        online = self._ports.online()
        if online is not None:
            self._link, text = announcements.link_news(self._link, now_s, online=online)
            self._announce(text, about="link")
        self._sound, text = announcements.sound_news(self._sound, now_s, healthy=self._ports.sound_healthy())
        self._announce(text, about="microphone")
        if now_s - self._written_s >= status.EVERY_S:
            self._written_s = now_s
            self._write()

    def _announce(self, text: str | None, *, about: str | None = None) -> None:
        if text is not None:
            self._ports.news.tell(text, about=about)

    def _watch_model(self, now_s: float) -> None:
        guidance, before = self._guidance, self._stuck
        if not guidance.model_version:
            self._stuck = announcements.StuckNews()
            return
        stuck_s, in_time = guidance.stuck_s, guidance.looks_in_time
        self._stuck, text = announcements.stuck_news(
            before, now_s, stuck_s=stuck_s, looks_in_time=in_time, watched=self._ports.watched()
        )
        if self._stuck.stuck and not before.stuck:
            logger.error("The model has been at one picture for %.0f s", stuck_s)
        if text == policy.PAUSED:
            self._ports.announce(text)  # the guiding thread cannot
        elif text is not None:
            guidance.tell(text, about=policy.GUIDING, sees=True)

    def _show(self, line: str) -> None:
        """For `systemctl status`."""
        if line != self._shown:
            self._shown = line
            notify(f"STATUS={line}")

    def _tell_refusals(self, failed: int, now_s: float) -> None:
        """failed: records of all kinds that lie refused"""
        wishes = self._ports.erasures_refused()
        self._refusals, text = announcements.refusal_news(self._refusals, now_s, refused=failed - wishes)
        self._announce(text)
        self._not_erased, text = announcements.refusal_news(
            self._not_erased, now_s, refused=wishes, text=announcements.NOT_ERASED
        )
        self._announce(text)

    def _write(self) -> None:
        current = self._ports.status()
        self._show(status.in_one_line(current))
        now_s = self._clock.monotonic_s()
        self._tell_refusals(current.failed, now_s)
        what = (current.model_version, current.model_state, current.queued, current.failed, current.waits)
        if what != self._published or now_s - self._published_s >= PUBLISH_EVERY_S:
            self._published, self._published_s = what, now_s
            self._ports.publish(current)
        try:
            status.write(self._state_dir, current)
            self._status_failed = False
        except OSError as error:
            if not self._status_failed:
                logger.warning("The status cannot be written: %s", error)
            self._status_failed = True
