"""The last minutes of the walk in memory, as encoded 2 s chunks. Pure: pictures and sound in, closed chunks out.

Invariants (tests/device/capture/test_recorder.py holds them for any interleaving of pictures and sound):

- Chunk `sequence` covers [start, start + CHUNK_S) of the source clock, aligned to whole multiples of CHUNK_S.
- Its sound is exactly as long as the chunk: silence where there was none. Every sample that was fed is in exactly one
  chunk, or counted in `counts`.
- Its picture is the one nearest the middle of CHUNK_S. A chunk without a picture is not handed out, but counted.
- A chunk is closed when pictures and sound have both passed its end, or either has by SOUND_TRAILS_S: live sound trails
  the picture, and a microphone that died must not hold chunks back.
- Memory is bounded: ring_chunks and ring_bytes of encoded chunks, and raw pictures of at most two open ones.
- Nothing here raises for what a source gives. A clip that cannot be encoded is left out and counted.

Not thread-safe: one thread feeds and asks.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from device.capture.clip import ClipEncoder, h264_encoder
from device.capture.source import SOUND_TRAILS_S, SoundBlock, VideoFrame
from shared.chunk_format import CHUNK_S, SAMPLE_RATE_HZ, SHORTEST_CHUNK_S
from shared.errors import MediaError
from shared.jpeg import encode_jpeg
from shared.wav import encode_wav

CHUNK_SAMPLES = round(CHUNK_S * SAMPLE_RATE_HZ)
CLIP_FPS = 10.0
RING_CHUNKS = 60  # two minutes
RING_BYTES = 48 * 1024 * 1024  # beside a model that needs 500 MB on a 1 GB Pi
SNAP = round(0.02 * SAMPLE_RATE_HZ)  # stamps wander by a sample or two: within 20 ms sound goes on where it ended
_LONGEST_INTERVAL_S = 0.2
_FAR_S = 1e9  # 30 years of walking: beyond it, or not a number, a stamp means nothing
_SOON_S = 0.005  # a picture a moment early is taken: at 10 fps every one would otherwise wait for the next

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClosedChunk:
    sequence: int
    started_at_s: float
    """On the source clock."""
    duration_s: float
    """CHUNK_S, or less for the last one of a walk."""
    frame_jpeg: bytes
    audio_wav: bytes
    """Exactly duration_s of 16 kHz mono int16."""
    clip_mp4: bytes | None
    """H.264, at most 480p; None when clips are off."""
    width_px: int
    """Of the picture as the source gave it."""
    height_px: int
    frames_seen: int
    frames_dropped: int
    """Lost before they reached the recorder, as the source tells."""
    hidden: str = ""
    """What a veil hid of the picture; "" = there was none."""

    @property
    def size_bytes(self) -> int:
        return len(self.frame_jpeg) + len(self.audio_wav) + len(self.clip_mp4 or b"")


@dataclass(frozen=True, slots=True, eq=False)
class Veiled:
    """A picture as it is kept, and what was hidden of it."""

    image: NDArray[np.uint8]
    hidden: str


Veil = Callable[[NDArray[np.uint8], float], Veiled]
"""(picture, its time on the source clock) → what is kept of it. Raises: MediaError; there is then no picture."""


@dataclass(frozen=True, slots=True)
class RecorderCounts:
    """What went past, in all."""

    chunks: int = 0
    """Closed and handed out."""
    without_picture: int = 0
    """Chunks that had no picture: the camera was away."""
    too_short: int = 0
    """Ends of walks under 0.5 s, with or without a picture."""
    evicted: int = 0
    """Chunks that left the ring."""
    frames_late: int = 0
    """Pictures of a chunk that was already closed, or stamped with no time."""
    frames_left_out: int = 0
    """Pictures of chunks that were not handed out (too_short)."""
    samples_lost: int = 0
    """Sound of a closed chunk or a chunk that was not handed out, before 0, or given twice."""
    clips_failed: int = 0


@dataclass(slots=True)
class _Open:
    index: int
    sound: NDArray[np.int16]
    samples: int = 0
    image: NDArray[np.uint8] | None = None
    image_t_s: float = 0.0
    off_middle_s: float = math.inf
    frames_seen: int = 0
    frames_dropped: int = 0
    clip: ClipEncoder | None = None
    next_clip_s: float = 0.0
    clip_done: bool = False


@dataclass(slots=True)
class SoundLine:
    next_sample: int | None = None
    lost: int = 0
    """Samples left out because sound was already there, or they are from before 0."""

    def place(self, block: SoundBlock) -> tuple[int, NDArray[np.int16]]:
        """First sample's number since 0, and the samples to put there, int16 [n]."""
        if not abs(block.t_s) < _FAR_S:
            self.lost += len(block.samples)
            return self.next_sample or 0, block.samples[:0]
        start = round(block.t_s * SAMPLE_RATE_HZ)
        floor = self.next_sample or 0
        if self.next_sample is not None and abs(start - self.next_sample) <= SNAP:
            start = self.next_sample
        skip = min(max(0, floor - start), len(block.samples))
        self.lost += skip
        start = max(start, floor)
        self.next_sample = start + len(block.samples) - skip
        return start, block.samples[skip:]


class Recorder:
    """Cuts what comes into chunks. ring_chunks, ring_bytes: what is held in memory at most. veil: hides parts of the
    picture when its chunk is closed; not of a clip, which is encoded before."""

    def __init__(
        self,
        *,
        clips: bool = True,
        veil: Veil | None = None,
        ring_chunks: int = RING_CHUNKS,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        self._veil = veil
        self.counts = RecorderCounts()
        self.clips = True
        """Off: no clips for now, where the board has better things to do. Any thread."""
        self._ring: deque[ClosedChunk] = deque()
        self._ring_chunks, self._ring_bytes, self._held_bytes = ring_chunks, ring_bytes, 0
        self._encoder = h264_encoder() if clips else None
        self._open: dict[int, _Open] = {}
        self._floor = 0  # the first index that is not closed
        self._line = SoundLine()
        self._frame_s = self._sound_s = self._newest_s = -math.inf
        self._interval_s = 0.0

    def feed(self, item: VideoFrame | SoundBlock) -> list[ClosedChunk]:
        """Take one item; the chunks that it closed, oldest first."""
        if isinstance(item, VideoFrame):
            self._feed_frame(item)
        else:
            self._feed_sound(item)
        return self._close_ready()

    def flush(self) -> list[ClosedChunk]:
        """The end of the walk: what is still open, the last chunk as long as its content, if at least 0.5 s."""
        end_s = max(self._frame_s + self._interval_s, self._sound_s)
        out = []
        for index in sorted(self._open):
            begun_s = index * CHUNK_S
            length_s = CHUNK_S if index + 1 in self._open else min(CHUNK_S, end_s - begun_s)
            out += self._close(index, length_s)
        return out

    def clear(self, now_s: float) -> None:
        """Forget everything that is held. What belongs to the chunk of `now_s`, or an earlier one, is not taken any
        more: no chunk holds a part of what was to be forgotten."""
        for chunk in self._open.values():
            self._drop_clip(chunk)
        self._open.clear()
        self._ring.clear()
        self._held_bytes = 0
        newest_s = max(now_s, self._frame_s, self._sound_s)
        self._floor = max(self._floor, math.floor(newest_s / CHUNK_S) + 1)

    def chunk(self, sequence: int) -> ClosedChunk | None:
        return next((chunk for chunk in self._ring if chunk.sequence == sequence), None)

    def predecessors(self, sequence: int, count: int) -> list[ClosedChunk]:
        """The chunks of the `count` numbers before `sequence` that are still in the ring, oldest first."""
        return [chunk for chunk in self._ring if sequence - count <= chunk.sequence < sequence]

    def sequence_at(self, t_s: float) -> int:
        """The number of the chunk that time belongs to, closed or not."""
        return max(0, math.floor(t_s / CHUNK_S))

    def _feed_frame(self, frame: VideoFrame) -> None:
        index = self._index(frame.t_s)
        if index is None:
            self._count(frames_late=1)
            return
        chunk = self._opened(index)
        chunk.frames_seen += 1
        chunk.frames_dropped += frame.dropped_before
        at_s = frame.t_s - index * CHUNK_S
        if abs(at_s - CHUNK_S / 2) < chunk.off_middle_s:
            chunk.off_middle_s, chunk.image, chunk.image_t_s = abs(at_s - CHUNK_S / 2), frame.image, frame.t_s
        self._clip(chunk, frame.image, at_s)
        if frame.t_s > self._frame_s:
            self._interval_s = min(frame.t_s - self._frame_s, _LONGEST_INTERVAL_S)
        self._frame_s = max(self._frame_s, frame.t_s)
        self._newest_s = max(self._newest_s, frame.t_s)

    def _feed_sound(self, block: SoundBlock) -> None:
        lost = self._line.lost
        start, samples = self._line.place(block)
        self._count(samples_lost=self._line.lost - lost)
        self._newest_s = max(self._newest_s, start / SAMPLE_RATE_HZ)
        while len(samples):
            index, offset = divmod(start, CHUNK_SAMPLES)
            part = samples[: CHUNK_SAMPLES - offset]
            if index < self._floor:
                self._count(samples_lost=len(part))
            else:
                chunk = self._opened(index)
                chunk.sound[offset : offset + len(part)] = part
                chunk.samples += len(part)
            start, samples = start + len(part), samples[len(part) :]
        self._sound_s = max(self._sound_s, start / SAMPLE_RATE_HZ)

    def _index(self, t_s: float) -> int | None:
        """The chunk that a time belongs to; None for one that is closed or no time at all."""
        if not self._floor * CHUNK_S <= t_s < _FAR_S:
            return None
        return math.floor(t_s / CHUNK_S)

    def _opened(self, index: int) -> _Open:
        if index not in self._open:
            self._open[index] = _Open(index, np.zeros(CHUNK_SAMPLES, np.int16))
        return self._open[index]

    def _close_ready(self) -> list[ClosedChunk]:
        out = []
        for index in sorted(self._open):
            end_s = (index + 1) * CHUNK_S
            passed = self._frame_s >= end_s and self._sound_s >= end_s
            if not passed and self._newest_s < end_s + SOUND_TRAILS_S:
                break
            out += self._close(index, CHUNK_S)
        return out

    def _close(self, index: int, length_s: float) -> list[ClosedChunk]:
        """Encode one chunk, oldest first; empty where there is nothing to hand out."""
        samples = round(length_s * SAMPLE_RATE_HZ)
        length_s = samples / SAMPLE_RATE_HZ
        chunk = self._open.pop(index)
        self._count(without_picture=index - self._floor if self._floor else 0)  # both camera and microphone were away
        self._floor = index + 1
        if chunk.image is None or length_s < SHORTEST_CHUNK_S:
            self._drop_clip(chunk)
            self._count(samples_lost=chunk.samples, frames_left_out=chunk.frames_seen)
            self._count(**{"too_short" if length_s < SHORTEST_CHUNK_S else "without_picture": 1})
            return []
        try:
            veiled = Veiled(chunk.image, "") if self._veil is None else self._veil(chunk.image, chunk.image_t_s)
            picture = encode_jpeg(veiled.image)
        except MediaError as error:
            logger.warning("Chunk %d has no picture: %s", index, error)
            self._drop_clip(chunk)
            self._count(without_picture=1, samples_lost=chunk.samples, frames_left_out=chunk.frames_seen)
            return []
        closed = ClosedChunk(
            sequence=index,
            started_at_s=index * CHUNK_S,
            duration_s=length_s,
            frame_jpeg=picture,
            audio_wav=encode_wav(chunk.sound[:samples]),
            clip_mp4=self._finish_clip(chunk),
            width_px=chunk.image.shape[1],
            height_px=chunk.image.shape[0],
            frames_seen=chunk.frames_seen,
            frames_dropped=chunk.frames_dropped,
            hidden=veiled.hidden,
        )
        self._store(closed)
        return [closed]

    def _store(self, chunk: ClosedChunk) -> None:
        self._ring.append(chunk)
        self._held_bytes += chunk.size_bytes
        self._count(chunks=1)
        while len(self._ring) > 1 and (len(self._ring) > self._ring_chunks or self._held_bytes > self._ring_bytes):
            self._held_bytes -= self._ring.popleft().size_bytes
            self._count(evicted=1)

    def _clip(self, chunk: _Open, image: NDArray[np.uint8], at_s: float) -> None:
        """Encode this picture now, unless one was just encoded: all at the end of the chunk would delay guidance."""
        if self._encoder is None or chunk.clip_done or at_s + _SOON_S < chunk.next_clip_s:
            return
        if not self.clips:
            self._drop_clip(chunk)
            return
        chunk.next_clip_s = max(chunk.next_clip_s, at_s - 1 / CLIP_FPS) + 1 / CLIP_FPS
        try:
            if chunk.clip is None:
                height, width = image.shape[:2]
                chunk.clip = ClipEncoder(width, height, fps=CLIP_FPS, encoder=self._encoder)
            chunk.clip.add(image, at_s)
        except MediaError as error:
            logger.warning("The clip of chunk %d is left out: %s", chunk.index, error)
            self._count(clips_failed=1)
            self._drop_clip(chunk)

    def _finish_clip(self, chunk: _Open) -> bytes | None:
        clip, chunk.clip = chunk.clip, None
        if clip is None:
            return None
        try:
            return clip.finish()
        except MediaError as error:
            logger.warning("The clip of chunk %d is left out: %s", chunk.index, error)
            self._count(clips_failed=1)
            return None

    def _drop_clip(self, chunk: _Open) -> None:
        """No clip for this chunk: half of one would mislead whoever reviews it."""
        clip, chunk.clip, chunk.clip_done = chunk.clip, None, True
        if clip is not None:
            clip.discard()

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.counts, name) + by for name, by in more.items() if by}
        if counts:
            self.counts = replace(self.counts, **counts)


@dataclass(slots=True)
class SoundTail:
    """The last seconds of sound, for cutting a spoken correction out of it. Not thread-safe."""

    seconds: float = 30.0
    _line: SoundLine = field(default_factory=SoundLine)
    _blocks: deque[tuple[int, NDArray[np.int16]]] = field(default_factory=deque)

    def feed(self, block: SoundBlock) -> None:
        """Take a block and forget what is older than `seconds`."""
        start, samples = self._line.place(block)
        if len(samples):
            self._blocks.append((start, samples))
        oldest = (self._line.next_sample or 0) - round(self.seconds * SAMPLE_RATE_HZ)
        while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= oldest:
            self._blocks.popleft()

    def clear(self) -> None:
        """Forget all sound."""
        self._blocks.clear()

    @property
    def kept_samples(self) -> int:
        return sum(len(samples) for _, samples in self._blocks)

    @property
    def heard_until_s(self) -> float:
        """Where the sound so far ends. Live sound trails the picture: wait for this to pass the end of a cut."""
        return (self._line.next_sample or 0) / SAMPLE_RATE_HZ

    def cut(self, from_s: float, to_s: float) -> bytes:
        """The same as `samples`, as a WAV file."""
        return encode_wav(self.samples(from_s, to_s))

    def samples(self, from_s: float, to_s: float) -> NDArray[np.int16]:
        """[from_s, to_s] of the source clock, int16 [n], silence where there was no sound.

        At most the last `seconds` before to_s. Raises: ValueError unless to_s is after from_s.
        """
        if not to_s > from_s:
            raise ValueError(f"a cut from {from_s} s to {to_s} s holds nothing")
        first, last = (round(t_s * SAMPLE_RATE_HZ) for t_s in (max(from_s, to_s - self.seconds), to_s))
        out = np.zeros(last - first, np.int16)
        for start, samples in self._blocks:
            begin, end = max(start, first), min(start + len(samples), last)
            if begin < end:
                out[begin - first : end - first] = samples[begin - start : end - start]
        return out
