"""How an agent is doing: the status for a person and for the broker, and the figures of the report."""

from __future__ import annotations

import logging
from dataclasses import asdict
from os import getpid
from typing import Any

from device.agent.parts import Parts
from device.boot import agent_version, kernel_boot
from device.health import status
from device.health.status import DeviceStatus
from device.updates.state import UpdateReport
from shared.model_card import SightCard

logger = logging.getLogger(__name__)


class AgentState:
    """Asks the parts. Any thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def online(self) -> bool | None:
        """None = there is no broker to be online with."""
        without = False if self._parts.admission.trouble else None
        return without if self._parts.link is None else self._parts.link.online

    def sound_healthy(self) -> bool:
        return all(part.healthy for part in self._source_health() if part.kind == "sound")

    def progress(self) -> object:
        """A new look; without a model, a new chunk; after the walk, time itself. While the camera is away nothing is
        looked at, and a restart would not bring it back: then it is that the loop goes round which waits for it. Of a
        camera that nobody tries any more it would, and of a voice that hangs."""
        parts = self._parts
        if self._is_dumb():
            return None
        if not parts.walking:
            return parts.clock.monotonic_s()
        cameras = (part for part in self._source_health() if part.kind == "picture")
        if any(not part.healthy and not part.given_up for part in cameras):
            return parts.rounds
        if parts.guidance.model_version:
            return parts.guidance.progress_s
        return parts.rounds if parts.recording.paused else parts.moments.chunks

    def _is_dumb(self) -> bool:
        """The sound system hangs in this process and nothing is felt: another process may find one that works."""
        parts = self._parts
        felt = parts.tactile is not None and not parts.tactile.trouble
        return parts.speakers is not None and parts.speakers.hangs and not felt

    def status(self) -> DeviceStatus:
        parts = self._parts
        counts, history, link = parts.outbox.counts(), parts.guidance.history, parts.link
        parts.waiting = counts.queued
        now_s = parts.clock.monotonic_s()
        waits = (parts.sync_watch.decision.text, None if link is None else link.server_waits)
        return DeviceStatus(
            device=parts.walk.device,
            kernel_boot=kernel_boot(),
            updated_s=now_s,
            pid=getpid(),
            agent_version=agent_version(),
            uptime_s=now_s - parts.walk.began_s,
            source=parts.config.capture.source,
            walking=parts.walking,
            walk_s=parts.walk_clock.now_s(),
            guidance=self._guidance_text(),
            model_version=parts.guidance.model_version,
            model_state=parts.models.state_text,
            last_said=history.last_guidance,
            looks=history.looks,
            chunks=parts.moments.chunks,
            flagged=parts.report.kept,
            not_kept=parts.sealer.lost,
            online=bool(self.online()),
            broker=parts.admission.address,
            queued=counts.queued,
            queued_bytes=counts.queued_bytes,
            failed=counts.failed,
            waits=tuple(text for text in waits if text is not None),
            troubles=self._troubles(),
            offline="" if link is None else link.why_offline or "",
            device_kind=parts.device_kind,
            recording=not parts.recording.paused,
            look_p95_ms=parts.guidance.look_p95_ms,
            battery_percent=parts.power.percent,
            battery_minutes=parts.power.minutes_left,
            low_voltage=parts.power.reading.low_voltage,
            heat_c=parts.power.heat.heat_c,
            profile=parts.profile.name,
            **asdict(parts.guidance.sight or SightCard()),
        )

    def _troubles(self) -> tuple[str, ...]:
        parts = self._parts
        vibration = "" if parts.tactile is None else parts.tactile.trouble
        troubles = (
            parts.voice.trouble,
            vibration,
            parts.sealer.trouble,
            parts.admission.trouble,
            parts.own_words.trouble,
        )
        sources = (f"{part.name}: {part.trouble}" for part in self._source_health() if not part.healthy)
        return (*(trouble for trouble in troubles if trouble), *sources)

    def _source_health(self) -> tuple[Any, ...]:
        return self._parts.source.health if self._parts.source is not None and self._parts.walking else ()

    def _guidance_text(self) -> str:
        if not self._parts.guidance.model_version:
            return "no model"
        if not self._parts.walking:
            return "ended"
        return "paused" if self._parts.guidance.paused else "guiding"

    def publish(self, device_status: DeviceStatus) -> None:
        """Renew the certificate where it is time, keep what the wearer was told, hand the status to the broker."""
        self.keep_told()
        if self._parts.renewal is not None:
            self._parts.renewal.tick()
        if self._parts.link is not None:
            free = status.free_bytes(self._parts.state_dir)
            self._parts.link.set_status(status.retained(device_status, disk_free_bytes=free))

    def keep_told(self) -> None:
        """At worst the wearer is told again."""
        try:
            self._parts.sight_told.keep()
            self._parts.profile.keep()
            self._parts.volume.keep()
        except OSError as error:
            logger.warning("What the wearer was told and has set cannot be kept: %s", error)

    def figures(self) -> dict[str, Any]:
        """What the report holds beside what was said and flagged."""
        parts = self._parts
        counts, history, link = parts.outbox.counts(), parts.guidance.history, parts.link
        return {
            "source_name": parts.report.source_name,
            "model_version": parts.guidance.model_version,
            "model_state": parts.models.state_text,
            "duration_s": round(parts.walk_clock.reached_s, 3),
            "chunks": parts.moments.chunks,
            "looks": history.looks,
            "stopped": [asdict(stopped) for stopped in history.stopped],
            "frames_seen": parts.report.frames_seen,
            "frames_dropped": 0 if parts.source is None else parts.source.frames_dropped,
            "not_kept": parts.sealer.lost + parts.sealer.held,
            "sync": {
                "queued": counts.queued,
                "merged": counts.merged,
                "failed": counts.failed,
                "sent_bytes": 0 if link is None else link.sent_bytes,
                "resent_bytes": 0 if link is None else link.resent_bytes,
            },
            "updates": [update_entry(update) for update in parts.models.updates],
        }


def update_entry(update: UpdateReport) -> dict[str, Any]:
    names = ("from_version", "to_version", "fetched_bytes", "copied_bytes")
    return {name: getattr(update, name) for name in names} | {"seconds": round(update.seconds, 3)}
