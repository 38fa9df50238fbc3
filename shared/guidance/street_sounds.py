"""Sirens and horns, heard in the microphone's sound: while one sounds, the street is more important than the voice.

    listen(ear, samples) → (ear, "siren" | "horn" | None)      no model; about 0.3 ms for each 0.1 s of sound

Both are tones, where a street is noise. A horn holds several tones still; a siren moves one smoothly up and down, or
steps between two. Speech does neither for long enough: measured on 11 s of a speaker, its tones hold for 0.2 s and move
smoothly for 0.3 s at most; rain, an engine and a passing train do not at all. One single tone that holds (a kettle, a
crossing's beep, our own earcons) is not a horn.

Loudness does not matter as long as there is some, so clipped sound is heard too: clipping adds overtones to a tone and
takes none away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ

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


_SIREN_STEPS = round(SIREN_S * SAMPLE_RATE_HZ / NARROW_HOP)


@dataclass(frozen=True, slots=True, eq=False)
class StreetEar:
    """What is remembered of the sound so far. Start with StreetEar()."""

    sound: Spectrum = field(default_factory=lambda: np.zeros(0))
    """float64 [n] at SAMPLE_RATE_HZ, -1..1: the newest sound, less than one wide window and a hop"""
    passed: int = 0
    """Of `sound`, samples that the narrow windows have passed."""
    before: Spectrum | None = None
    """Spectrum of the last wide window."""
    held_hops: int = 0
    """For how many hops several tones have held still."""
    track: tuple[float, ...] = ()
    """Hz of the strongest tone in the last narrow windows, as long as it moved smoothly."""


def listen(ear: StreetEar, samples: Samples) -> tuple[StreetEar, str | None]:
    """The next piece of a walk's sound.

    samples: int16 [n] at SAMPLE_RATE_HZ
    returns: "siren" or "horn", the newest that is heard in it, None = neither
    """
    ear = replace(ear, sound=np.concatenate([ear.sound, samples / 32768.0]))
    heard = None
    while ear.sound.size >= WIDE + HOP:
        ear = _next_hop(replace(ear, sound=ear.sound[HOP:], passed=max(0, ear.passed - HOP)))
        if is_siren(ear.track):
            heard = "siren"
        elif ear.held_hops >= HORN_HOPS:
            heard = "horn"
    return ear, heard


def _next_hop(ear: StreetEar) -> StreetEar:
    sound = ear.sound[:WIDE]
    loud = float(np.mean(sound[-HOP:] ** 2)) > QUIET
    wide = _spectrum(sound, WIDE, WIDE)
    held = loud and ear.before is not None and holds(wide, ear.before)
    passed, track = ear.passed, ear.track
    while passed + NARROW <= sound.size:
        track = _follow(track, sound[passed : passed + NARROW]) if loud else ()
        passed += NARROW_HOP
    return replace(ear, passed=passed, before=wide, held_hops=ear.held_hops + 1 if held else 0, track=track)


def _follow(track: tuple[float, ...], sound: Spectrum) -> tuple[float, ...]:
    """One more step of the strongest tone; what is no tone, or jumps, ends the track."""
    hertz, share = tone(_spectrum(sound, NARROW, PADDED))
    if share < SIREN_SHARE:
        return ()
    smooth = not track or abs(math.log(hertz / track[-1])) < SIREN_STEP
    return (*track, hertz)[-_SIREN_STEPS:] if smooth else (hertz,)


def is_siren(track: Sequence[float]) -> bool:
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
