"""What a listener makes of a recording: where the sentinel's patterns of tones are in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device.sentinel.sounds import TONES
from device.sentinel.watch import Saying

WINDOW_MS, HOP_MS = 60, 15
LOUD = 1500  # amplitude; speech and tones are 10,000
PURE = 0.5  # share of the energy within one tone: speech spreads it
NEAR = 0.05  # of a tone's pitch


def notes(samples: NDArray[np.int16], rate_hz: int) -> list[tuple[float, float]]:
    """(seconds, Hz) of each window with one pure tone in it."""
    size, hop = rate_hz * WINDOW_MS // 1000, rate_hz * HOP_MS // 1000
    found = []
    shape = np.hanning(size)
    pitches = np.fft.rfftfreq(size, 1 / rate_hz)
    for at in range(0, samples.size - size, hop):
        window = samples[at : at + size].astype(np.float64)
        if np.abs(window).max() < LOUD:
            continue
        power = np.abs(np.fft.rfft(window * shape)) ** 2
        top = int(power.argmax())
        if power[max(0, top - 2) : top + 3].sum() >= PURE * power.sum():
            found.append((at / rate_hz, float(pitches[top])))
    return found


def heard(samples: NDArray[np.int16], rate_hz: int, saying: Saying) -> list[float]:
    """When (seconds) each pattern of this kind begins."""
    wanted = [hertz for hertz, _ in TONES[saying] if hertz]
    longest_s = sum(ms for _, ms in TONES[saying]) / 1000 + 0.2
    begun: list[float] = []
    played = notes(samples, rate_hz)
    for number, (at_s, hertz) in enumerate(played):
        if abs(hertz - wanted[0]) > NEAR * wanted[0] or (begun and at_s - begun[-1] < longest_s):
            continue
        steps = _steps([pitch for later_s, pitch in played[number:] if later_s <= at_s + longest_s])
        if len(steps) >= len(wanted) and all(
            abs(a - b) <= NEAR * b for a, b in zip(steps[: len(wanted)], wanted, strict=True)
        ):
            begun.append(at_s)
    return begun


def _steps(pitches: list[float]) -> list[float]:
    """Each pitch once while it lasts; a window across two tones belongs to neither."""
    steps: list[float] = []
    for before, pitch in zip([0.0, *pitches], pitches, strict=False):
        if abs(before - pitch) <= NEAR * pitch and not (steps and abs(steps[-1] - pitch) <= NEAR * pitch):
            steps.append(pitch)
    return steps
