"""The microphone: real PortAudio through a real sound server, and the arithmetic of its times."""

from __future__ import annotations

import os
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.capture.live import LiveSource
from device.capture.microphone import _pass_on, converter, microphone_plan, next_start_s
from device.capture.pipe import SOUND, Inlet, Outlet
from device.capture.source import SoundBlock
from device.capture.supervisor import Limits
from shared.errors import MediaError
from tests.device.capture import films
from tests.pulse import PulseChild, until

BLOCK_S = 0.05


def _tone_file(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(films.tone(seconds, 48_000).tobytes())
    return path


def _listen(source: LiveSource, *, loud_s: float) -> list[SoundBlock]:
    """Blocks until `loud_s` seconds of them were not silent."""
    stop_at = time.monotonic() + 20.0
    blocks: list[SoundBlock] = []
    while sum(len(block.samples) for block in blocks if _loud(block)) < loud_s * 16_000:
        assert time.monotonic() < stop_at, "the tone was never heard"
        item = source.read(0.2)
        if isinstance(item, SoundBlock):
            blocks.append(item)
    return blocks


def _loud(block: SoundBlock) -> bool:
    return bool(np.abs(block.samples).max() > 2000)


@pytest.mark.parametrize(("device", "rate_hz"), [("default", None), ("pulse", None), ("default", 48_000)])
def test_a_tone_in_the_room_is_heard(device: str, rate_hz: int | None, pulse: PulseChild, tmp_path: Path) -> None:
    source = LiveSource(microphone_plan(device, rate_hz=rate_hz))
    source.open()
    try:
        player = pulse.play(_tone_file(tmp_path / "tone.wav", 1.5))
        blocks = _listen(source, loud_s=0.8)
        assert player.wait(20) == 0
    finally:
        source.close()
    heard = np.concatenate([block.samples for block in blocks if _loud(block)])
    assert films.loudest_hz(heard) == pytest.approx(films.TONE_HZ, abs=10)


class Opposite:
    """A stream of PortAudio whose two channels cancel each other out, as of a microphone that is wired wrong."""

    latency = 0.0

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    def read(self, count: int) -> tuple[NDArray[np.int16], bool]:
        if not self.blocks:
            raise MediaError("enough")
        self.blocks -= 1
        tone = films.tone(count / 16_000, 16_000)
        return np.stack([tone, -tone], axis=1), False


def test_a_stereo_microphone_whose_channels_cancel_is_heard() -> None:
    read_fd, write_fd = os.pipe()
    with pytest.raises(MediaError, match="enough"):
        _pass_on(Outlet(write_fd), Opposite(4), 16_000)
    inlet, peaks = Inlet(read_fd), list[int]()
    while (message := inlet.take()) is not None:
        if message.kind == SOUND:
            peaks.append(int(np.abs(message.payload.view(np.int16)).max()))
    os.close(read_fd)
    os.close(write_fd)
    assert len(peaks) == 4
    assert min(peaks) > 5000


def test_a_sound_card_that_hangs_is_let_go_and_comes_back(pulse: PulseChild) -> None:
    limits = Limits(start_s=10.0, stall_s=1.0, backoff_first_s=0.05, backoff_max_s=0.1)
    source = LiveSource(microphone_plan(limits=limits))
    source.open()
    try:
        assert source.healthy
        pulse.freeze()
        until(lambda: not source.healthy, "the hang to be noticed")
        started = time.monotonic()
        while source.read(0.1) is not None:  # what had come before
            assert time.monotonic() - started < 20
        pulse.thaw()
        until(lambda: source.healthy, "the microphone to be back")
        until(lambda: isinstance(source.read(0.1), SoundBlock), "sound")
    finally:
        pulse.thaw()
        source.close()
    assert source.health[0].restarts >= 1


@pytest.mark.usefixtures("pulse")
@pytest.mark.parametrize("device", ["no such microphone", "77"])
def test_a_microphone_that_is_not_there_is_named_with_what_to_do(device: str) -> None:
    source = LiveSource(microphone_plan(device))
    with pytest.raises(MediaError) as caught:
        source.open()
    source.close()
    assert f"microphone {device}: PortAudio cannot open '{device}'" in str(caught.value)
    assert "python -m sounddevice" in str(caught.value)


# Times


def test_the_first_block_begins_when_it_was_observed() -> None:
    assert next_start_s(None, 12.5, length_s=BLOCK_S, hole=False) == 12.5


def test_a_lost_piece_moves_time_on_at_once() -> None:
    assert next_start_s(10.0, 10.1, length_s=BLOCK_S, hole=True) == 10.1
    assert next_start_s(10.0, 10.5, length_s=BLOCK_S, hole=False) == 10.5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), drift=st.floats(-1.5e-4, 1.5e-4), on_time=st.floats(0.1, 1.0))
def test_times_follow_the_sound_card_through_jitter_and_drift(seed: int, drift: float, on_time: float) -> None:
    rng = np.random.default_rng(seed)
    jitter_s = np.where(rng.random(3000) < on_time, rng.uniform(0, 0.003), rng.uniform(0, 0.15, 3000))
    expected_s: float | None = None
    for number, late_s in enumerate(jitter_s):
        true_s = 100.0 + number * BLOCK_S * (1 + drift)
        start_s = next_start_s(expected_s, true_s + float(late_s), length_s=BLOCK_S, hole=False)
        assert expected_s is None or start_s >= expected_s - 0.01 * BLOCK_S - 1e-9, "more than 1 % of a block back"
        if number > 2000:
            assert abs(start_s - true_s) < 0.02
        expected_s = start_s + BLOCK_S


@given(st.sampled_from([8_000, 44_100, 48_000]), st.integers(20, 60))
def test_converted_sound_keeps_its_length_and_pitch(rate: int, blocks: int) -> None:
    convert = converter(rate)
    sound = films.tone(blocks * BLOCK_S, rate)
    size = round(rate * BLOCK_S)
    parts = [convert(sound[first : first + size]) for first in range(0, len(sound), size)]
    out = np.concatenate(parts)
    assert len(out) / 16_000 == pytest.approx(blocks * BLOCK_S, abs=0.01)
    assert films.loudest_hz(out) == pytest.approx(films.TONE_HZ, abs=3)
