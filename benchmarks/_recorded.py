"""A drawn walk as the device would have recorded it: what the other benchmarks send and look at."""

from __future__ import annotations

from device.capture.recorder import ClosedChunk, Recorder
from device.capture.source import BLOCK_SAMPLES, SoundBlock, VideoFrame
from server.walks import render_frame, soundtrack, walk_from_name
from shared.chunk_format import SAMPLE_RATE_HZ

FPS = 10
WIDTH_PX, HEIGHT_PX = 640, 480


def chunks(seconds: float = 60.0, *, route: str = "works") -> list[ClosedChunk]:
    """The 2 s chunks of a walk, with picture, sound and clip."""
    walk = walk_from_name(route, duration_s=seconds)
    recorder = Recorder()
    sound = soundtrack(walk)
    closed: list[ClosedChunk] = []
    blocks = iter(range(0, len(sound) - BLOCK_SAMPLES + 1, BLOCK_SAMPLES))
    at = next(blocks, None)
    for number in range(int(seconds * FPS)):
        t_s = number / FPS
        while at is not None and at / SAMPLE_RATE_HZ <= t_s:
            closed += recorder.feed(SoundBlock(sound[at : at + BLOCK_SAMPLES], at / SAMPLE_RATE_HZ))
            at = next(blocks, None)
        closed += recorder.feed(VideoFrame(render_frame(walk, t_s, WIDTH_PX, HEIGHT_PX).image, t_s))
    return closed + recorder.flush()
