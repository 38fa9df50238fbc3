"""What every source keeps, checked the same way on all of them: the rules in device/sources/__init__.py."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from device.capture.source import SOUND_TRAILS_S, SoundBlock, Source, SourceInfo, VideoFrame
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import SystemClock

PATIENCE_S = 20.0  # for what takes a moment on a busy machine; never a bar


@dataclass
class Walk:
    """All that a source gave."""

    info: SourceInfo
    frames: list[VideoFrame] = field(default_factory=list)
    blocks: list[SoundBlock] = field(default_factory=list)

    @property
    def sound(self) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        """All sound, one block after the other."""
        return np.concatenate([block.samples for block in self.blocks]) if self.blocks else np.empty(0, np.int16)


def walk(source: Source, *, for_s: float | None = None, info: SourceInfo | None = None) -> Walk:
    """Open a source (unless `info` says that it is), read it to its end or for a while, and hold it to the contract."""
    seen = Walk(info or source.open())
    last_s = {VideoFrame: -1.0, SoundBlock: -1.0}
    newest_s = 0.0
    stop_at = time.monotonic() + (for_s if for_s is not None else 300.0)
    while not source.ended and time.monotonic() < stop_at:
        item = source.read(0.1)
        if item is None:
            continue
        assert item.t_s >= last_s[type(item)], "time went back"
        assert item.t_s >= newest_s - (SOUND_TRAILS_S if seen.info.live else 0.0), "sound and picture are out of order"
        last_s[type(item)], newest_s = item.t_s, max(newest_s, item.t_s)
        if isinstance(item, VideoFrame):
            check_frame(item, seen.info)
            seen.frames.append(item)
        else:
            check_block(item)
            seen.blocks.append(item)
    if for_s is None:
        assert source.ended, "it never ended"
        assert source.read(0.0) is None
    check_whole(seen)
    return seen


def check_frame(frame: VideoFrame, info: SourceInfo) -> None:
    """RGB, uint8, the size that was announced, taken in the past."""
    assert frame.taken_s is None or frame.taken_s <= SystemClock().monotonic_s()
    assert frame.taken_s is not None or not info.live
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (info.height_px, info.width_px, 3)
    assert frame.image.flags.c_contiguous
    assert frame.dropped_before >= 0


def check_block(block: SoundBlock) -> None:
    """Mono int16, not empty."""
    assert block.samples.dtype == np.int16
    assert block.samples.ndim == 1
    assert len(block.samples) > 0


def check_whole(seen: Walk) -> None:
    """What was announced came, from near 0 on; sound does not overlap."""
    assert bool(seen.frames) == seen.info.has_picture
    assert not seen.blocks or seen.info.has_sound
    starts = [items[0].t_s for items in (seen.frames, seen.blocks) if items]
    assert min(starts) < 1.0
    for before, after in zip(seen.blocks, seen.blocks[1:], strict=False):
        assert after.t_s > before.t_s + len(before.samples) / SAMPLE_RATE_HZ - 0.02


def check_close(source: Source) -> None:
    """Close at once, twice, from another thread while somebody reads; then it is over."""
    reader = threading.Thread(target=lambda: source.read(0.5))
    reader.start()
    started = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - started < PATIENCE_S
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert source.ended
    assert source.read(0.0) is None
    assert not source.healthy


def check_timeout(source: Source) -> None:
    """Reading with no patience comes back, with or without an item."""
    for _ in range(5):
        started = time.monotonic()
        source.read(0.0)
        assert time.monotonic() - started < PATIENCE_S
