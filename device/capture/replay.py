"""A recorded walk as a source: any video file that PyAV can read, with its sound track, in real time or at once.

- Sound is never held up by slow pictures: film reads them apart.
- At real pace a picture that is LATE_S late is dropped and counted; a machine that is CATCH_UP_S behind jumps to the
  next key frame. Sound is never dropped: what is due comes as one longer block.
- At fast pace nothing is dropped; whoever reads sets the pace.
- Pictures are upright, of square pixels, in ordinary colours and at most max_side_px; sound is 16 kHz mono
  (shared.film). Sound before the first picture is kept; both start near 0. Stamps that begin again or jump are one
  walk, told once.
- A damaged file plays as far as it decodes and then ends, with a warning in the log.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from device.capture import video_file
from device.capture.source import Kind, Pace, PartHealth, SoundBlock, SourceInfo, VideoFrame
from shared.clock import Clock, SystemClock
from shared.errors import MediaError
from shared.film import opening
from shared.jpeg import MAX_FILM_SIDE_PX

LATE_S = 0.15
CATCH_UP_S = 2.0
SHORT_S = 1.0

logger = logging.getLogger(__name__)


class ReplaySource:
    def __init__(
        self,
        path: Path,
        *,
        pace: Pace = "real",
        clock: Clock | None = None,
        max_side_px: int = MAX_FILM_SIDE_PX,
        untimed_fps: float = 0.0,
    ) -> None:
        """untimed_fps: pictures a second of a film that has no times in it; 0 = what its header says"""
        self.path = path
        self._untimed_fps = untimed_fps
        self._pace = pace
        self._clock = clock or SystemClock()
        self._max_side_px = max_side_px
        self._lock = threading.Lock()  # close() must not free a file that read() is decoding
        self._pictures: video_file.Pictures | None = None
        self._sound: video_file.Sound | None = None
        self._duration_s: float | None = None
        self._origin_s: float | None = None
        self._last_t_s = 0.0
        self._dropped = 0
        self._dropped_before = 0
        self._joins_told = 0
        self._ended = False

    def open(self) -> SourceInfo:
        """Find what is in the file. Raises: MediaError."""
        opening.check_file(self.path)
        self._pictures = video_file.Pictures.find(
            self.path, max_side_px=self._max_side_px, untimed_fps=self._untimed_fps
        )
        self._sound = video_file.Sound.find(self.path)
        parts = [part for part in (self._pictures, self._sound) if part is not None]
        if all(part.head is None for part in parts):
            self.close()
            raise MediaError(f"{self.path} holds neither picture nor sound that can be played.", hint=opening.COPY_HINT)
        self._duration_s = max((part.duration_s for part in parts if part.duration_s is not None), default=None)
        if self._pictures is not None and self._pictures.untimed:
            logger.warning("%s", opening.untimed(self.path, self._pictures.fps, told=bool(self._untimed_fps)))
        return self._info()

    def _info(self) -> SourceInfo:
        width, height, fps = 0, 0, 0.0
        if self._pictures is not None and self._pictures.head is not None:
            height, width = self._pictures.picture(self._pictures.head).shape[:2]
            fps = self._pictures.fps
        has_sound = self._sound is not None and self._sound.head is not None
        return SourceInfo(self.path.name, width, height, fps, has_sound, self._duration_s, live=False)

    def read(self, timeout_s: float) -> VideoFrame | SoundBlock | None:
        until_s = self._clock.monotonic_s() + timeout_s
        while True:
            with self._lock:
                t_s = self._next_t_s()
                if t_s is None:
                    return None
                ahead_s = self._ahead_s(t_s)
                if ahead_s <= 0:
                    item = self._take(-ahead_s)
                    if item is not None:
                        self._last_t_s = item.t_s
                        return item
            now_s = self._clock.monotonic_s()
            if now_s >= until_s:
                return None
            if ahead_s > 0:  # else: a late picture was dropped; look at the next one
                self._clock.sleep(min(ahead_s, until_s - now_s))

    def _next_t_s(self) -> float | None:
        """When the next item is on the source clock; None at the end."""
        picture = self._pictures.head_t_s if self._pictures is not None else None
        sound = self._sound.head_t_s if self._sound is not None else None
        times = [t_s for t_s in (picture, sound) if t_s is not None]
        if not times and not self._ended:
            self._finish()
        return min(times, default=None)

    def _ahead_s(self, t_s: float) -> float:
        """How long until `t_s` is due; below 0 = that much late."""
        if self._pace == "fast":
            return 0.0
        now_s = self._clock.monotonic_s()
        if self._origin_s is None:
            self._origin_s = now_s - t_s  # the walk starts with the first read, not while models were loading
        return self._origin_s + t_s - now_s

    def _take(self, late_s: float) -> VideoFrame | SoundBlock | None:
        """The next item, or None where it was a picture too late to be of use."""
        pictures, sound = self._pictures, self._sound
        picture_s = pictures.head_t_s if pictures is not None else None
        if sound is not None and _first(sound.head_t_s, picture_s):
            block = sound.take()
            return block if late_s < LATE_S else sound.extend(block, block.t_s + late_s)
        assert pictures is not None
        if self._pace == "real" and late_s > LATE_S:
            self._drop(pictures, late_s)
            return None
        t_s = picture_s or 0.0
        due_s = None if self._origin_s is None else self._origin_s + t_s
        frame = VideoFrame(pictures.picture(pictures.take()), t_s, self._dropped_before, due_s)
        self._dropped_before = 0
        self._tell_joins(pictures)
        return frame

    def _tell_joins(self, pictures: video_file.Pictures) -> None:
        if pictures.joins and not self._joins_told:
            logger.warning("%s: from %.1f s on %s", self.path, self._last_t_s, opening.JOINED)
        self._joins_told = pictures.joins

    def _drop(self, pictures: video_file.Pictures, late_s: float) -> None:
        skipped = pictures.jump(late_s) if late_s > CATCH_UP_S else 0
        if not skipped:
            pictures.take()
        self._dropped += skipped or 1
        self._dropped_before += skipped or 1

    def _finish(self) -> None:
        self._ended = True
        jumped = self._pictures is not None and self._pictures.joins > 0  # then the header's length does not count
        if self._duration_s is not None and not jumped and self._last_t_s < self._duration_s - SHORT_S:
            logger.warning(
                "%s ends after %.1f s of %.1f s: it is cut off or damaged. What could be read was played.",
                self.path,
                self._last_t_s,
                self._duration_s,
            )
        for part in (self._pictures, self._sound):
            if part is not None and part.damaged:
                logger.warning("%s: %d damaged pieces were left out.", self.path, part.damaged)

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def health(self) -> tuple[PartHealth, ...]:
        kind: Kind = "picture" if self._pictures is not None else "sound"
        opened = self._pictures is not None or self._sound is not None
        return (PartHealth(self.path.name, kind, opened and not self._ended, 0, ""),)

    @property
    def healthy(self) -> bool:
        return self.health[0].healthy

    @property
    def frames_dropped(self) -> int:
        return self._dropped

    def close(self) -> None:
        with self._lock:
            self._ended = True
            for part in (self._pictures, self._sound):
                if part is not None:
                    part.close()
            self._pictures = self._sound = None


def _first(t_s: float | None, other_s: float | None) -> bool:
    return t_s is not None and (other_s is None or t_s <= other_s)
