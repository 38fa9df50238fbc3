"""From pictures, sound and presses to the moments that are stored: records with their payloads, ready to seal.

The capture thread owns this; only `unsure` may be called from another one. All times are walk time.

A correction is about the chunk that was being recorded when the button went down. If that chunk never had a picture,
it is tied to the last one that had. Its sound is cut once the microphone has been heard up to its end, and it is sealed
once its chunk is closed.
"""

from __future__ import annotations

import logging
import queue
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device.boot import kernel_boot
from device.capture.recorder import ClosedChunk, Recorder, SoundTail
from device.capture.source import SoundBlock, VideoFrame
from device.config import FlagsSection
from device.guidance.history import GuidanceHistory
from device.moments import flags
from device.moments.flags import FlagState, SelectedChunk
from device.moments.sealer import Parcel
from device.moments.speech_bounds import speech_bounds
from device.outbox.index import UNKNOWN_BOOT
from shared import hidden
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import Clock
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord
from shared.wav import encode_wav

logger = logging.getLogger(__name__)

NOT_KEPT = "Correction not kept, no picture."
NOTHING_HEARD = "Correction not kept, nothing heard."
FORGOTTEN = "Last 5 minutes forgotten."
FORGOTTEN_SINCE_ON = "Forgotten since switching on."
DISCARDED = "Correction discarded."
NOTHING_TO_DISCARD = "No correction to discard."
MOMENT_TEXTS = (NOT_KEPT, NOTHING_HEARD, FORGOTTEN, FORGOTTEN_SINCE_ON, DISCARDED, NOTHING_TO_DISCARD)
FORGET_S = 300.0
AGAIN_S = 15.0  # a correction that is spoken so soon after one was discarded is about the same moment
MOST_DISCARDABLE = 16
SHORTEST_CORRECTION_S = 0.3  # a slip of the finger
SOUND_TIMEOUT_S = 1.0  # a microphone that died must not hold a correction back
MOST_CHUNKS_BACK = 30
_CLOCK_SYNCED = Path("/run/systemd/timesync/synchronized")


@dataclass(frozen=True, slots=True)
class WalkId:
    """Whose walk this is, and when it began."""

    device: str
    boot_id: str
    """New with every start of the agent, so that ids stay unique without a counter on disk."""
    began_s: float
    """Monotonic: seconds since boot."""
    began_utc: float
    clock_synced: bool
    wearer: str = ""
    consent: str = "own-device"
    context: str = ""
    own_clock: bool = False
    """Walk time is not the machine's: a replay."""

    @classmethod
    def begin(
        cls,
        device: str,
        clock: Clock,
        *,
        wearer: str = "",
        consent: str = "",
        context: str = "",
        own_clock: bool = False,
    ) -> WalkId:
        """A new walk, now."""
        boot_id = kernel_boot() + secrets.token_hex(3)
        synced = _CLOCK_SYNCED.exists()
        return cls(device, boot_id, clock.monotonic_s(), clock.utc_s(), synced, wearer, consent, context, own_clock)

    @property
    def walk_id(self) -> str:
        return f"{self.device}-{self.boot_id}"

    @property
    def erase_boot(self) -> str:
        """What the boot ids of records begin with whose times are on the same clock as this walk's: those of earlier
        starts since the machine's boot, too. A walk with a clock of its own is alone on it."""
        kernel = kernel_boot()
        return self.boot_id if self.own_clock or kernel == UNKNOWN_BOOT else kernel

    def chunk_id(self, sequence: int) -> str:
        return f"{self.walk_id}-{sequence:05d}"


@dataclass(frozen=True, slots=True)
class Correction:
    """Being spoken, or waiting for its sound and its chunk."""

    number: int
    sequence: int
    from_s: float
    spoken: str
    model_version: str
    to_s: float | None = None


@dataclass(frozen=True, slots=True)
class MomentsPorts:
    store: Callable[[Parcel], None]
    earcon: Callable[[str], None]
    listening: Callable[[bool], None]
    announce: Callable[[str], None]
    fov_deg: Callable[[], float] = lambda: 0.0
    """The angle that is set or known for the camera; 0 = neither."""


class Moments:
    def __init__(
        self, recorder: Recorder, walk: WalkId, history: GuidanceHistory, ports: MomentsPorts, settings: FlagsSection
    ) -> None:
        self._recorder = recorder
        self._walk = walk
        self._history = history
        self._ports = ports
        self._settings = settings
        self._tail = SoundTail()
        self._flags = FlagState()
        self._open: Correction | None = None
        self._waiting: list[Correction] = []
        self._corrections = 0
        self._erasures = 0
        self._handed_over: list[tuple[str, int]] = []
        """Id and chunk of the corrections that were handed over, newest last: what can be discarded."""
        self._again: tuple[int, float] | None = None
        """Chunk of the correction that was discarded last, and when."""
        self.paused = False
        """Nothing is recorded."""
        self._newest_closed = -1
        self._noted: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self.chunks = 0
        """Closed so far."""

    def begin(self, clock: Clock) -> None:
        """The walk begins now, perhaps long after the agent started."""
        self._walk = replace(
            self._walk, began_s=clock.monotonic_s(), began_utc=clock.utc_s(), clock_synced=_CLOCK_SYNCED.exists()
        )

    def feed(self, item: VideoFrame | SoundBlock, now_s: float) -> None:
        """Record one item and decide about what it closed."""
        if self.paused:
            return
        if isinstance(item, SoundBlock):
            self._tail.feed(item)
        for chunk in self._recorder.feed(item):
            self._closed(chunk)
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        while not self._noted.empty():
            t_s, flag = self._noted.get()
            self._mark(self._recorder.sequence_at(t_s), flag)
        if self._open is not None and now_s - self._open.from_s >= self._settings.longest_correction_s:
            self.end_correction(self._open.from_s + self._settings.longest_correction_s)
        self._settle_corrections(now_s)

    def flag(self, t_s: float) -> None:
        self._ports.earcon("tick")
        self._mark(self._recorder.sequence_at(t_s), "wearer")

    def note(self, t_s: float, flag: str) -> None:
        """Guidance has a reason to keep this moment: one of messages.FLAGS. Any thread."""
        self._noted.put((t_s, flag))

    def begin_correction(self, t_s: float, model_version: str) -> None:
        """The button went down at `t_s`. A second one while one is spoken is ignored."""
        if self._open is not None:
            return
        self._corrections += 1
        sequence = self._about_again(t_s) or self._recorder.sequence_at(t_s)
        self._open = Correction(self._corrections, sequence, t_s, self._history.last_guidance, model_version)
        self._ports.listening(True)
        self._ports.earcon("listening")

    def end_correction(self, t_s: float) -> None:
        spoken, self._open = self._open, None
        if spoken is None:
            return
        self._ports.listening(False)
        if t_s - spoken.from_s < SHORTEST_CORRECTION_S:
            self._ports.earcon("refused")
            return
        self._mark(spoken.sequence, "correction")
        self._waiting.append(replace(spoken, to_s=t_s))

    def finish(self, now_s: float) -> None:
        """The walk is over: close and decide everything."""
        if self._open is not None:
            self.end_correction(now_s)
        for chunk in self._recorder.flush():
            self._closed(chunk)
        self.tick(now_s)
        self._settle_corrections(now_s, ended=True)
        self._flags, chunks = flags.finish(self._flags, self._walk.chunk_id, self._settings)
        self._store(chunks)

    def pause(self, t_s: float) -> None:
        """Nothing is kept from now on, and what is in memory is forgotten."""
        self.paused = True
        self._forget_memory(t_s)

    def resume(self, t_s: float) -> None:
        """Record again, from the next whole chunk on."""
        self._forget_memory(t_s)
        self.paused = False

    def forget(self, t_s: float) -> None:
        """Erase the last FORGET_S: in memory now, in the outbox and on the server by a wish that is handed over.

        What was recorded before the machine was switched on is on another clock, and is not among it: that is said.
        """
        self._forget_memory(t_s)
        to_s = self._walk.began_s + t_s
        reaches = to_s >= FORGET_S or self._walk.own_clock
        self._erase(
            FORGOTTEN if reaches else FORGOTTEN_SINCE_ON,
            t_s,
            boot_id=self._walk.erase_boot,
            from_s=to_s - FORGET_S,
            to_s=to_s,
        )

    def discard_correction(self, t_s: float) -> None:
        """Erase the last correction of this walk, wherever it has come to; called again, the one before it."""
        if self._open is not None:
            self._again = self._open.sequence, t_s
            self._open = None
            self._ports.listening(False)
            self._ports.announce(DISCARDED)
        elif self._waiting:
            self._again = self._waiting.pop().sequence, t_s
            self._ports.announce(DISCARDED)
        elif self._handed_over:
            name, sequence = self._handed_over.pop()
            self._again = sequence, t_s
            self._erase(DISCARDED, t_s, record_ids=(name,))
        else:
            self._ports.announce(NOTHING_TO_DISCARD)

    def is_last_correction(self, correction_id: str) -> bool:
        """Whether it is the newest one of this walk that was not discarded. Any thread."""
        newest = self._handed_over[-1:]
        return bool(newest) and newest[0][0] == correction_id

    def _about_again(self, t_s: float) -> int | None:
        """The chunk of a correction that was just discarded, and is spoken once more."""
        again, self._again = self._again, None
        return again[0] if again is not None and t_s - again[1] <= AGAIN_S else None

    def _forget_memory(self, t_s: float) -> None:
        if self._open is not None:
            self._open = None
            self._ports.listening(False)
        self._waiting.clear()
        while not self._noted.empty():
            self._noted.get()
        self._recorder.clear(t_s)
        self._tail.clear()
        self._flags = flags.forget(self._flags)

    def _erase(self, say: str, t_s: float, **what: Any) -> None:
        """say: once it is durable."""
        self._erasures += 1
        record = EraseRecord(
            erase_id=f"{self._walk.walk_id}-e{self._erasures:03d}",
            device=self._walk.device,
            asked_at_utc=self._walk.began_utc + t_s,
            extra={"walk_id": self._walk.walk_id, "walk_s": round(t_s, 3)},
            **what,
        )
        self._ports.store(Parcel(record, {}, say))

    def _closed(self, chunk: ClosedChunk) -> None:
        self.chunks += 1
        self._newest_closed = chunk.sequence
        self._flags, chunks = flags.close(self._flags, chunk.sequence, self._walk.chunk_id, self._settings)
        self._store(chunks)

    def _mark(self, sequence: int, flag: str) -> None:
        self._flags, chunks = flags.mark(self._flags, sequence, flag, self._settings)
        self._store(chunks)

    def _store(self, chunks: tuple[SelectedChunk, ...]) -> None:
        for selected in chunks:
            chunk = self._recorder.chunk(selected.sequence)
            if chunk is not None:
                self._ports.store(Parcel(self._record(chunk, selected.flags), _payloads(chunk)))
            elif flags.PREDECESSOR not in selected.flags:
                logger.warning("Chunk %d was flagged, but it has no picture.", selected.sequence)

    def _record(self, chunk: ClosedChunk, chunk_flags: tuple[str, ...]) -> ChunkRecord:
        talk = self._history.talk(chunk.started_at_s, chunk.started_at_s + chunk.duration_s)
        walk = self._walk
        return ChunkRecord(
            chunk_id=walk.chunk_id(chunk.sequence),
            device=walk.device,
            boot_id=walk.boot_id,
            sequence=chunk.sequence,
            walk_id=walk.walk_id,
            started_at_s=walk.began_s + chunk.started_at_s,
            duration_s=chunk.duration_s,
            captured_at_utc=walk.began_utc + chunk.started_at_s,
            clock_synced=walk.clock_synced,
            flags=chunk_flags,
            raw_output=talk.raw_output,
            spoken=talk.spoken,
            confidence=talk.confidence,
            model_version=talk.model_version,
            parts=(),
            wearer=walk.wearer,
            consent=walk.consent,
            context=walk.context,
            width_px=chunk.width_px,
            height_px=chunk.height_px,
            fov_deg=self._ports.fov_deg(),
            extra={
                "walk_s": round(chunk.started_at_s, 3),
                "looks": talk.looks,
                "hazards": [[h.object, h.side, round(h.score, 4)] for h in talk.hazards],
                "frames_dropped": chunk.frames_dropped,
                **({hidden.FIELD: chunk.hidden} if chunk.hidden else {}),
            },
        )

    def _trimmed(self, spoken: Correction) -> tuple[Correction, bytes] | None:
        """A correction without the silence around its words, and its sound as WAV; None where nothing is heard."""
        assert spoken.to_s is not None
        samples = self._tail.samples(spoken.from_s, spoken.to_s)
        bounds = speech_bounds(samples)
        if bounds is None:
            return None
        from_s = spoken.to_s - (len(samples) - bounds.first) / SAMPLE_RATE_HZ
        to_s = spoken.to_s - (len(samples) - bounds.last) / SAMPLE_RATE_HZ
        return replace(spoken, from_s=from_s, to_s=to_s), encode_wav(samples[bounds.first : bounds.last])

    def _settle_corrections(self, now_s: float, *, ended: bool = False) -> None:
        self._waiting = [spoken for spoken in self._waiting if not self._settled(spoken, now_s, ended=ended)]

    def _settled(self, spoken: Correction, now_s: float, *, ended: bool) -> bool:
        """Whether a correction could be handed over, or has nothing to be about."""
        assert spoken.to_s is not None
        heard = self._tail.heard_until_s >= spoken.to_s or now_s >= spoken.to_s + SOUND_TIMEOUT_S
        if not ended and not (heard and self._newest_closed >= spoken.sequence):
            return False
        chunk = self._recorder.chunk(spoken.sequence)
        if chunk is None:
            before = self._recorder.predecessors(spoken.sequence, MOST_CHUNKS_BACK)
            if not before:
                self._ports.announce(NOT_KEPT)
                return True
            chunk = before[-1]
            self._mark(chunk.sequence, "correction")
        trimmed = self._trimmed(spoken)
        if trimmed is None:
            self._ports.announce(NOTHING_HEARD)
            return True
        spoken, wav = trimmed
        assert spoken.to_s is not None
        record = CorrectionRecord(
            correction_id=f"{self._walk.walk_id}-c{spoken.number:03d}",
            device=self._walk.device,
            chunk_id=self._walk.chunk_id(chunk.sequence),
            wearer=self._walk.wearer,
            started_at_s=self._walk.began_s + spoken.from_s,
            duration_s=spoken.to_s - spoken.from_s,
            captured_at_utc=self._walk.began_utc + spoken.from_s,
            spoken=spoken.spoken,
            model_version=spoken.model_version,
            parts=(),
            extra={"walk_id": self._walk.walk_id, "walk_s": round(spoken.from_s, 3)},
        )
        self._ports.store(Parcel(record, {"correction_audio": wav}))
        self._handed_over = [*self._handed_over, (record.correction_id, chunk.sequence)][-MOST_DISCARDABLE:]
        return True


def _payloads(chunk: ClosedChunk) -> dict[str, bytes]:
    payloads = {"frame": chunk.frame_jpeg, "audio": chunk.audio_wav}
    return payloads if chunk.clip_mp4 is None else payloads | {"clip": chunk.clip_mp4}
