"""Sound of any channels as one."""

from __future__ import annotations

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.film.mono import Mono

RATE = 16_000


def wave(hz: float, seconds: float = 0.5) -> NDArray[np.int16]:
    return (12_000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def mixed(*channels: NDArray[np.int16], layout: str) -> NDArray[np.int16]:
    """The channels through Mono, in blocks as a decoder gives them."""
    mono, together, parts = Mono(), np.stack(channels), list[NDArray[np.int16]]()
    for start in range(0, together.shape[1], 512):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(together[:, start : start + 512]), format="s16p", layout=layout
        )
        frame.rate = RATE
        parts.append(mono.take(frame))
    return np.concatenate([*parts, mono.take(None)])


def loudness(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.square(samples.astype(np.float64)).mean()))


def test_equal_channels_are_one() -> None:
    assert loudness(mixed(wave(440), wave(440), layout="stereo")) == pytest.approx(loudness(wave(440)), rel=0.02)


@pytest.mark.parametrize("share", [1.0, 0.9, 1.1])
def test_channels_that_cancel_out_are_heard(share: float) -> None:
    opposite = (-share * wave(440)).astype(np.int16)
    heard = mixed(wave(440), opposite, layout="stereo")
    assert loudness(heard) >= 0.9 * loudness(wave(440))
    jumps = np.abs(np.diff(heard.astype(int))).max()
    assert jumps < 3 * np.abs(np.diff(wave(440).astype(int))).max(), "no click where a channel is chosen"


def test_different_sounds_left_and_right_are_both_heard() -> None:
    spectrum = np.abs(np.fft.rfft(mixed(wave(440), wave(1000), layout="stereo")))
    loud = {round(float(at) * RATE / (2 * (len(spectrum) - 1))) for at in np.argsort(spectrum)[-2:]}
    assert {round(hz / 10) for hz in loud} == {44, 100}


def test_one_silent_channel_leaves_the_other() -> None:
    assert loudness(mixed(wave(440), 0 * wave(440), layout="stereo")) >= 0.4 * loudness(wave(440))


def test_six_channels_are_mixed() -> None:
    channels = [wave(300 + 100 * number) for number in range(6)]
    assert loudness(mixed(*channels, layout="5.1")) > 1000


def test_silence_stays_silence() -> None:
    assert not mixed(0 * wave(440), 0 * wave(440), layout="stereo").any()
