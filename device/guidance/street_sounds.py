"""Sirens and horns, heard in the microphone's sound: while one sounds, the street is more important than the voice.

    Ear.feed(samples) → "siren" | "horn" | ""      no model; about 0.3 ms for each 0.1 s of sound

Both are tones, where a street is noise. A horn holds several tones still; a siren moves one smoothly up and down, or
steps between two. Speech does neither for long enough: measured on 11 s of a speaker, its tones hold for 0.2 s and move
smoothly for 0.3 s at most; rain, an engine and a passing train do not at all. One single tone that holds (a kettle, a
crossing's beep, our own earcons) is not a horn.

Loudness does not matter as long as there is some, so clipped sound is heard too: clipping adds overtones to a tone and
takes none away.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from shared.media import SAMPLE_RATE_HZ

Samples = NDArray[np.int16]
Spectrum = NDArray[np.float64]

HOP = SAMPLE_RATE_HZ // 10
QUIET = 1e-5  # mean square of full scale, -50 dB, under which nothing is looked for
ALL_FROM_HZ = 120.0  # wind and handling noise lie below

WIDE = 4096  # 0.26 s: parts tones 8 Hz from each other, and blurs those that move
HORN_HZ = (280.0, 3800.0)
PARTIALS, PARTIAL_LEAST, CLEAR_PARTIAL = 8, 0.01, 0.04
"""So many tones are looked at; the smallest share of the energy that counts; one that is heard as a tone."""
HORN_SHARE, HORN_PARTIALS, HORN_HOPS = 0.45, 2, 4

NARROW, NARROW_HOP, PADDED = 512, 320, 2048  # 32 ms every 20 ms: follows a siren that yelps three times a second
WIDTH = 16  # bins of 8 Hz to each side of a tone: it moves within a window
SIREN_HZ = (380.0, 2200.0)
OVERTONES = 5
SIREN_SHARE, SIREN_STEP, SIREN_RANGE = 0.5, 0.2, 1.15
SIREN_S = 0.8


class Ear:
    """Feed it the sound of a walk, in order."""

    def __init__(self) -> None:
        self._sound = np.zeros(0)
        self._taken = 0
        """Of `_sound`, samples that the narrow windows have passed."""
        self._before: Spectrum | None = None
        self._held = 0
        self._track: list[float] = []

    def feed(self, samples: Samples) -> str:
        """Sound at SAMPLE_RATE_HZ, int16 [n]. Returns the newest that is heard in it, "" = neither."""
        self._sound = np.concatenate([self._sound, samples / 32768.0])
        found = ""
        while self._sound.size >= WIDE + HOP:
            self._sound = self._sound[HOP:]
            self._taken = max(0, self._taken - HOP)
            found = self._listen(self._sound[:WIDE]) or found
        return found

    def _listen(self, sound: Spectrum) -> str:
        loud = float(np.mean(sound[-HOP:] ** 2)) > QUIET
        wide = _spectrum(sound, WIDE, WIDE)
        held = loud and self._before is not None and holds(wide, self._before)
        self._held = self._held + 1 if held else 0
        self._before = wide
        while self._taken + NARROW <= sound.size:
            self._follow(sound[self._taken : self._taken + NARROW], loud=loud)
            self._taken += NARROW_HOP
        if is_siren(self._track):
            return "siren"
        return "horn" if self._held >= HORN_HOPS else ""

    def _follow(self, sound: Spectrum, *, loud: bool) -> None:
        """One more step of the strongest tone; what is no tone, or jumps, ends the track."""
        hertz, share = tone(_spectrum(sound, NARROW, PADDED)) if loud else (0.0, 0.0)
        if share < SIREN_SHARE:
            self._track = []
            return
        smooth = not self._track or abs(math.log(hertz / self._track[-1])) < SIREN_STEP
        self._track = [*self._track, hertz][-_SIREN_STEPS:] if smooth else [hertz]


_SIREN_STEPS = round(SIREN_S * SAMPLE_RATE_HZ / NARROW_HOP)


def is_siren(track: list[float]) -> bool:
    """Whether a tone went on for long enough, and went somewhere. track: Hz of successive narrow windows."""
    return len(track) >= _SIREN_STEPS and max(track) / min(track) >= SIREN_RANGE


def holds(now: Spectrum, before: Spectrum) -> bool:
    """Whether most of the energy is in tones, several, that were there before as well. Spectra of wide windows."""
    total, total_before = _energy(now), _energy(before)
    rest = np.where(_between(HORN_HZ, WIDE), now, 0.0)
    share, clear = 0.0, 0
    for _ in range(PARTIALS):
        at = int(rest.argmax())
        part = float(rest[max(0, at - 2) : at + 3].sum()) / total
        if part < PARTIAL_LEAST:
            break
        rest[max(0, at - 2) : at + 3] = 0.0
        near = before[max(0, at - 4) : at + 5]
        still = abs(max(0, at - 4) + int(near.argmax()) - at) <= 1
        if still and before[max(0, at - 2) : at + 3].sum() / total_before > 0.3 * part:
            share, clear = share + part, clear + (part > CLEAR_PARTIAL)
    return share >= HORN_SHARE and clear >= HORN_PARTIALS


def tone(spectrum: Spectrum) -> tuple[float, float]:
    """(Hz, share of the energy with its overtones) of the strongest tone of a narrow window."""
    at = int(np.where(_between(SIREN_HZ, PADDED), spectrum, 0.0).argmax())
    parts = [spectrum[max(0, at * n - WIDTH) : at * n + WIDTH + 1].sum() for n in range(1, OVERTONES + 1)]
    return at * SAMPLE_RATE_HZ / PADDED, float(sum(parts)) / _energy(spectrum)


def _spectrum(sound: Spectrum, size: int, padded: int) -> Spectrum:
    power: Spectrum = np.abs(np.fft.rfft(sound * _window(size), padded)) ** 2
    return power


@cache
def _window(size: int) -> Spectrum:
    return np.hanning(size)


def _energy(spectrum: Spectrum) -> float:
    first = math.ceil(ALL_FROM_HZ * 2 * (spectrum.size - 1) / SAMPLE_RATE_HZ)
    return float(spectrum[first:].sum()) + 1e-12


@cache
def _between(hertz: tuple[float, float], size: int) -> NDArray[np.bool_]:
    bins = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    inside: NDArray[np.bool_] = (bins >= hertz[0]) & (bins <= hertz[1])
    return inside
