"""Cutting a spoken correction out of the last 30 s of sound."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.capture.recorder import SNAP, SoundLine, SoundTail
from device.capture.source import SoundBlock
from shared.chunk_format import SAMPLE_RATE_HZ

RATE = SAMPLE_RATE_HZ


def _numbered(first: int, count: int) -> NDArray[np.int16]:
    return ((np.arange(first, first + count) % 30_000) + 1).astype(np.int16)


def _filled(seconds: float, *, tail: SoundTail | None = None) -> SoundTail:
    tail = tail or SoundTail()
    for first in range(0, round(seconds * RATE), 800):
        tail.feed(SoundBlock(_numbered(first, 800), first / RATE))
    return tail


def _read(wav: bytes) -> NDArray[np.int16]:
    with wave.open(io.BytesIO(wav)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@given(st.floats(0, 9.9), st.floats(0.001, 5))
def test_a_cut_is_exactly_what_was_heard(from_s: float, length_s: float) -> None:
    tail = _filled(10.0)
    to_s = min(from_s + length_s, 10.0)
    first, last = round(from_s * RATE), round(to_s * RATE)
    assert np.array_equal(_read(tail.cut(from_s, to_s)), _numbered(first, last - first))


def test_what_was_not_heard_is_silence() -> None:
    sound = _read(_filled(2.0).cut(1.5, 3.0))
    assert sound[: RATE // 2].all()
    assert not sound[RATE // 2 :].any()
    assert len(sound) == round(1.5 * RATE)


def test_only_the_last_seconds_are_kept() -> None:
    tail = _filled(20.0, tail=SoundTail(seconds=5.0))
    assert tail.kept_samples <= 5.0 * RATE + 800
    assert len(_read(tail.cut(0.0, 20.0))) == 5 * RATE
    assert np.array_equal(_read(tail.cut(0.0, 20.0)), _numbered(15 * RATE, 5 * RATE))


def test_it_tells_how_far_it_has_heard() -> None:
    assert SoundTail().heard_until_s == 0.0
    assert _filled(3.0).heard_until_s == pytest.approx(3.0)


@pytest.mark.parametrize(("from_s", "to_s"), [(2.0, 2.0), (3.0, 2.0), (float("nan"), 2.0)])
def test_a_cut_that_holds_nothing_is_an_error(from_s: float, to_s: float) -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        _filled(4.0).cut(from_s, to_s)


# The line on which sound is placed


@given(st.lists(st.tuples(st.floats(-0.019, 0.019), st.integers(1, 2000)), max_size=50))
def test_blocks_whose_stamps_wander_a_little_are_joined_without_a_gap(blocks: list[tuple[float, int]]) -> None:
    line, at = SoundLine(), RATE
    line.place(SoundBlock(np.zeros(RATE, np.int16), 0.0))
    for wander_s, count in blocks:
        start, samples = line.place(SoundBlock(np.zeros(count, np.int16), at / RATE + wander_s))
        assert start == at
        assert len(samples) == count
        at += count
    assert line.lost == 0


@given(st.lists(st.tuples(st.floats(-5, 50), st.integers(0, 3000)), max_size=50))
def test_no_two_blocks_are_ever_placed_over_each_other(blocks: list[tuple[float, int]]) -> None:
    line, end, placed = SoundLine(), 0, 0
    for t_s, count in blocks:
        start, samples = line.place(SoundBlock(np.zeros(count, np.int16), t_s))
        if len(samples):
            assert start >= end
            assert start >= 0
            end = start + len(samples)
        placed += len(samples)
    assert placed + line.lost == sum(count for _, count in blocks)


def test_a_real_hole_stays_a_hole() -> None:
    line = SoundLine()
    line.place(SoundBlock(np.zeros(RATE, np.int16), 0.0))
    assert line.place(SoundBlock(np.zeros(10, np.int16), 1.0 + (SNAP + 1) / RATE))[0] == RATE + SNAP + 1
