"""The recorder: whatever order pictures and sound come in, the chunks are right and nothing goes unaccounted."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Iterable

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.capture.recorder import ClosedChunk, Recorder
from device.capture.source import BLOCK_SAMPLES, SoundBlock, VideoFrame
from shared.chunk_format import SAMPLE_RATE_HZ

RATE = SAMPLE_RATE_HZ
Item = VideoFrame | SoundBlock


def _frame(t_s: float, *, size: tuple[int, int] = (48, 64), level: int | None = None, dropped: int = 0) -> VideoFrame:
    shade = level if level is not None else round(t_s * 10) % 256
    return VideoFrame(np.full((*size, 3), shade, np.uint8), t_s, dropped)


def _numbered(first: int, count: int) -> NDArray[np.int16]:
    """Samples that tell their own number, so that every one of them can be found again. Never 0."""
    return ((np.arange(first, first + count) % 30_000) + 1).astype(np.int16)


def _block(first: int, count: int = BLOCK_SAMPLES) -> SoundBlock:
    return SoundBlock(_numbered(first, count), first / RATE)


def _walk(seconds: float, *, fps: float = 10.0) -> list[Item]:
    frames: list[Item] = [_frame(n / fps) for n in range(round(seconds * fps))]
    blocks: list[Item] = [_block(first) for first in range(0, round(seconds * RATE), BLOCK_SAMPLES)]
    return sorted([*frames, *blocks], key=lambda item: item.t_s)


def _record(recorder: Recorder, items: Iterable[Item]) -> list[ClosedChunk]:
    chunks = [chunk for item in items for chunk in recorder.feed(item)]
    return chunks + recorder.flush()


def _samples(chunk: ClosedChunk) -> NDArray[np.int16]:
    with wave.open(io.BytesIO(chunk.audio_wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def _shade(chunk: ClosedChunk) -> int:
    image = cv2.imdecode(np.frombuffer(chunk.frame_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return int(np.asarray(image).mean().round())


def _pictures(mp4: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(mp4), "r") as file:
        return list(file.decode(video=0))


# The usual walk


def test_a_walk_becomes_whole_chunks_and_the_rest() -> None:
    recorder = Recorder()
    chunks = _record(recorder, _walk(9.2))
    assert [chunk.started_at_s for chunk in chunks] == [0, 2, 4, 6, 8]
    assert [chunk.duration_s for chunk in chunks] == pytest.approx([2, 2, 2, 2, 1.2])
    assert [chunk.sequence for chunk in chunks] == [0, 1, 2, 3, 4]
    assert [chunk.frames_seen for chunk in chunks] == [20, 20, 20, 20, 12]
    assert np.array_equal(np.concatenate([_samples(chunk) for chunk in chunks]), _numbered(0, round(9.2 * RATE)))


def test_the_picture_is_the_one_nearest_the_middle() -> None:
    frames = [_frame(t_s, level=round(t_s * 100)) for t_s in (0.0, 0.4, 0.85, 1.3, 1.9)]
    chunks = _record(Recorder(), frames)
    assert _shade(chunks[0]) == pytest.approx(85, abs=2)


def test_a_chunk_closes_as_soon_as_picture_and_sound_have_passed_its_end() -> None:
    recorder = Recorder()
    for item in _walk(2.0):
        assert recorder.feed(item) == []
    assert recorder.feed(_frame(2.0)) != []


def test_sound_that_trails_the_picture_still_gets_into_its_chunk() -> None:
    recorder = Recorder()
    items = sorted(_walk(6.0), key=lambda item: item.t_s + (0.4 if isinstance(item, SoundBlock) else 0.0))
    chunks = _record(recorder, items)
    assert np.array_equal(np.concatenate([_samples(chunk) for chunk in chunks]), _numbered(0, 6 * RATE))
    assert recorder.counts.samples_lost == 0


def test_a_walk_without_sound_has_silence_of_the_right_length() -> None:
    chunks = _record(Recorder(), [_frame(n / 10) for n in range(45)])
    assert [len(_samples(chunk)) for chunk in chunks] == [32_000, 32_000, 8_000]
    assert not any(_samples(chunk).any() for chunk in chunks)


def test_sound_alone_makes_no_chunks_but_is_counted() -> None:
    recorder = Recorder()
    chunks = _record(recorder, [_block(first) for first in range(0, 6 * RATE, BLOCK_SAMPLES)])
    assert chunks == []
    assert recorder.counts.without_picture == 3
    assert recorder.counts.samples_lost == 6 * RATE


def test_a_camera_that_was_away_costs_its_chunks_and_no_others() -> None:
    recorder = Recorder()
    items = [item for item in _walk(12.0) if isinstance(item, SoundBlock) or not 3.0 <= item.t_s < 8.5]
    chunks = _record(recorder, items)
    assert [chunk.sequence for chunk in chunks] == [0, 1, 4, 5]
    assert recorder.counts.without_picture == 2
    assert chunks[1].frames_seen == 10
    assert all(chunk.duration_s == 2.0 for chunk in chunks)


def test_camera_and_microphone_both_away_is_counted_too() -> None:
    recorder = Recorder()
    chunks = _record(recorder, [item for item in _walk(12.0) if not 4.0 <= item.t_s < 8.0])
    assert [chunk.sequence for chunk in chunks] == [0, 1, 4, 5]
    assert recorder.counts.without_picture == 2


def test_a_rest_under_half_a_second_is_left_out_and_counted() -> None:
    recorder = Recorder()
    chunks = _record(recorder, _walk(2.3))
    assert [chunk.sequence for chunk in chunks] == [0]
    assert recorder.counts.too_short == 1
    assert recorder.counts.frames_left_out == 3


def test_nothing_at_all_flushes_to_nothing() -> None:
    assert Recorder().flush() == []


def test_pictures_lost_before_the_recorder_are_told_in_their_chunk() -> None:
    chunks = _record(Recorder(), [_frame(0.5), _frame(1.5, dropped=7), _frame(2.5), _frame(3.5, dropped=1)])
    assert [chunk.frames_dropped for chunk in chunks] == [7, 1]


def test_a_time_belongs_to_one_sequence_number_closed_or_not() -> None:
    assert [Recorder().sequence_at(t_s) for t_s in (-1.0, 0.0, 3.999)] == [0, 0, 1]


# The ring


def test_the_ring_keeps_the_newest_chunks_and_gives_predecessors() -> None:
    recorder = Recorder(ring_chunks=3)
    _record(recorder, _walk(10.0))
    assert [chunk.sequence for chunk in recorder.predecessors(4, 2)] == [2, 3]
    assert [chunk.sequence for chunk in recorder.predecessors(4, 99)] == [2, 3]
    assert recorder.predecessors(2, 1) == []
    assert recorder.chunk(1) is None
    assert (kept := recorder.chunk(4)) is not None
    assert kept.sequence == 4
    assert recorder.counts.evicted == 2


def test_a_gap_before_a_chunk_is_not_bridged_by_an_older_predecessor() -> None:
    recorder = Recorder()
    _record(recorder, [item for item in _walk(8.0) if not 2.0 <= item.t_s < 6.0])
    assert recorder.predecessors(3, 1) == []


@settings(max_examples=15, deadline=None)
@given(limit=st.integers(1, 400_000), seconds=st.integers(2, 20))
def test_the_ring_stays_within_its_bytes(limit: int, seconds: int) -> None:
    recorder = Recorder(ring_bytes=limit, clips=False)
    for item in _walk(seconds, fps=5):
        recorder.feed(item)
        held = [chunk.size_bytes for chunk in recorder.predecessors(1000, 1000)]
        assert sum(held) <= limit or len(held) == 1
        assert math.floor(item.t_s / 2.0) + 1 - recorder.counts.chunks <= 2  # open ones


# Clips


def test_a_clip_is_h264_of_at_most_480p_with_a_key_frame_first() -> None:
    frames = [_frame(n / 15, size=(720, 1280)) for n in range(30)]
    clip = _record(Recorder(), frames)[0].clip_mp4
    assert clip is not None
    pictures = _pictures(clip)
    with av.open(io.BytesIO(clip), "r") as file:
        assert file.streams.video[0].codec_context.name == "h264"
    assert pictures[0].key_frame
    assert (pictures[0].width, pictures[0].height) == (854, 480)
    assert 15 <= len(pictures) <= 20
    assert [picture.time for picture in pictures][:3] == pytest.approx([0, 2 / 15, 3 / 15], abs=0.01)


def test_ten_pictures_a_second_all_go_into_the_clip() -> None:
    clip = _record(Recorder(), [_frame(n / 10) for n in range(20)])[0].clip_mp4
    assert clip is not None
    assert len(_pictures(clip)) == 20


def test_clips_can_be_given_up_and_taken_up_again_and_none_is_half_of_one() -> None:
    recorder, clips = Recorder(), dict[int, bool]()
    for item in _walk(12.0):
        recorder.clips = not 3.0 <= item.t_s < 7.0
        clips |= {chunk.sequence: chunk.clip_mp4 is not None for chunk in recorder.feed(item)}
    assert [clips[sequence] for sequence in range(5)] == [True, False, False, False, True]


def test_clips_can_be_left_out() -> None:
    assert [chunk.clip_mp4 for chunk in _record(Recorder(clips=False), _walk(4.0))] == [None, None]


def test_a_camera_that_changes_its_size_on_the_way_keeps_its_clip() -> None:
    frames = [_frame(n / 10, size=(48, 64) if n < 10 else (96, 128)) for n in range(20)]
    chunk = _record(Recorder(), frames)[0]
    assert chunk.clip_mp4 is not None
    assert {(p.width, p.height) for p in _pictures(chunk.clip_mp4)} == {(64, 48)}


def test_an_encoder_that_fails_costs_the_clip_not_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.capture.recorder.h264_encoder", lambda: "no-such-encoder")
    recorder = Recorder()
    chunks = _record(recorder, _walk(4.0))
    assert [chunk.clip_mp4 for chunk in chunks] == [None, None]
    assert recorder.counts.clips_failed == 2


# Any interleaving


@st.composite
def _any_walk(draw: st.DrawFn) -> list[Item]:
    """Pictures at any rising times, sound in blocks of any length with holes, the sound trailing by up to 0.4 s."""
    steps = draw(st.lists(st.floats(0.001, 3.0), min_size=0, max_size=40))
    frames: list[Item] = [_frame(float(t_s)) for t_s in np.cumsum(steps)]
    blocks: list[Item] = []
    at = 0
    for hole, count in draw(st.lists(st.tuples(st.sampled_from([0, 0, 0, 500, 9_000, 70_000]), st.integers(1, 9_000)))):
        at += hole
        blocks.append(_block(at, count))
        at += count
    lag_s = draw(st.floats(0.0, 0.4))

    def comes_at(item: Item) -> float:
        return item.t_s + (lag_s + len(item.samples) / RATE if isinstance(item, SoundBlock) else 0.0)

    longest_s = max((len(item.samples) / RATE for item in blocks if isinstance(item, SoundBlock)), default=0.0)
    return sorted([*frames, *blocks], key=comes_at if lag_s + longest_s < 0.5 else lambda item: item.t_s)


@settings(max_examples=150, deadline=None)
@given(_any_walk())
def test_any_interleaving_gives_the_right_chunks_and_loses_nothing(items: list[Item]) -> None:
    recorder = Recorder(clips=False)
    chunks = _record(recorder, items)
    frames = [item for item in items if isinstance(item, VideoFrame)]
    fed = {int(number) for item in items if isinstance(item, SoundBlock) for number in _place(item)}
    found: set[int] = set()
    sequences = [chunk.sequence for chunk in chunks]
    assert sequences == sorted(set(sequences))
    for chunk in chunks:
        samples = _samples(chunk)
        assert chunk.started_at_s == chunk.sequence * 2.0
        assert chunk.duration_s == 2.0 or chunk is chunks[-1]
        assert 0.5 <= chunk.duration_s <= 2.0
        assert len(samples) == round(chunk.duration_s * RATE)
        mine = [frame for frame in frames if math.floor(frame.t_s / 2.0) == chunk.sequence]
        assert chunk.frames_seen == len(mine)
        found |= {chunk.sequence * 32_000 + int(n) for n in np.nonzero(samples)[0]}
    counts = recorder.counts
    assert sum(chunk.frames_seen for chunk in chunks) + counts.frames_late + counts.frames_left_out == len(frames)
    assert counts.frames_late == 0
    assert len(found) + counts.samples_lost == len(fed)
    assert counts.chunks == len(chunks)


def _place(block: SoundBlock) -> range:
    first = round(block.t_s * RATE)
    return range(first, first + len(block.samples))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(_frame, st.floats(allow_nan=True, allow_infinity=True), level=st.just(1)),
            st.builds(
                lambda count, t_s: SoundBlock(np.ones(count, np.int16), t_s),
                st.integers(0, 5_000),
                st.floats(allow_nan=True, allow_infinity=True),
            ),
        ),
        max_size=30,
    )
)
def test_times_that_make_no_sense_are_counted_never_an_error(items: list[Item]) -> None:
    recorder = Recorder(clips=False)
    chunks = _record(recorder, items)
    frames = sum(isinstance(item, VideoFrame) for item in items)
    counts = recorder.counts
    assert sum(chunk.frames_seen for chunk in chunks) + counts.frames_late + counts.frames_left_out == frames
