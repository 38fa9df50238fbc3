"""What a chest microphone hears on a walk, made of noise and arithmetic: traffic, wind, rain, steps, vehicles, rooms.

Mono, 16 kHz. Pure: the same walk and lines give the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.walks.walk import STEPS_HZ, Leg, Walk, aside_m, forward_m
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError

_DUCKED = 0.45
"""Share of the surroundings left while the wearer speaks: a close voice makes the microphone's gain fall."""
_VOICE_RMS = 0.13
_FADE_S = 0.06
Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """The wearer says something. samples: int16 [n], mono 16 kHz."""

    t_s: float
    samples: NDArray[np.int16]


def soundtrack(walk: Walk, *, voice: Sequence[SpokenLine] = ()) -> NDArray[np.int16]:
    """int16 [duration_s * 16000]. Raises: ConfigError for a line that starts outside the walk or is not int16 mono."""
    total = round(walk.duration_s * SAMPLE_RATE_HZ)
    track = np.zeros(total, dtype=np.float32)
    for i, leg in enumerate(walk.legs):
        begin, end = round(leg.start_s * SAMPLE_RATE_HZ), min(total, round(leg.end_s * SAMPLE_RATE_HZ))
        if end > begin:
            rng = np.random.default_rng([walk.seed, i, 0x50])
            _join(track, begin, _surroundings(walk, leg, end - begin, rng))
    for line in voice:
        track = _spoken(track, line)
    return (np.clip(track, -0.98, 0.98) * 32767).astype(np.int16)


def _join(track: Sound, begin: int, part: Sound) -> None:
    """Put a leg's sound in place, fading over its first samples so that the seam does not click."""
    fade = min(len(part), int(0.08 * SAMPLE_RATE_HZ))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    part[:fade] *= ramp
    part[len(part) - fade :] *= ramp[::-1]
    track[begin : begin + len(part)] += part


def _surroundings(walk: Walk, leg: Leg, count: int, rng: np.random.Generator) -> Sound:
    steps = _steps(leg, count, rng)
    if leg.place.indoor:
        hum = 0.004 * np.sin(2 * np.pi * 100 * np.arange(count, dtype=np.float32) / SAMPLE_RATE_HZ)
        dry = steps * 1.3 + _noise(rng, count, low_hz=80, high_hz=500) * 0.006
        return (_room(dry, rng) + hum).astype(np.float32)
    gusts = 0.6 + 0.4 * _slow(rng, count, 0.25)
    sound = (
        steps
        + _noise(rng, count, low_hz=40, high_hz=300) * 0.03
        + _noise(rng, count, low_hz=60, high_hz=240) * 0.016 * gusts
    )
    if leg.setting == "park":  # leaves
        sound += _noise(rng, count, low_hz=2200, high_hz=5200) * 0.004 * gusts
    if walk.weather.rain > 0:
        sound += _noise(rng, count, low_hz=1500, high_hz=7500) * 0.03 * walk.weather.rain
    return (sound + _passing(leg, count, rng)).astype(np.float32)


def _noise(rng: np.random.Generator, count: int, *, low_hz: float, high_hz: float) -> Sound:
    """Noise between two frequencies, rms 1, soft at both edges."""
    size = 1 << max(10, (count - 1).bit_length())
    spectrum = np.fft.rfft(rng.standard_normal(size).astype(np.float32))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    shape = 1 / (1 + (hertz / high_hz) ** 4) / (1 + (low_hz / np.maximum(hertz, 1.0)) ** 4)
    sound = np.fft.irfft(spectrum * shape)[:count]
    return (sound / max(1e-9, float(np.sqrt(np.mean(sound**2))))).astype(np.float32)


def _slow(rng: np.random.Generator, count: int, hertz: float) -> Sound:
    """A random curve between -1 and 1 that changes about `hertz` times a second."""
    knots = max(4, int(count / SAMPLE_RATE_HZ * hertz) + 3)
    return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), rng.uniform(-1, 1, knots)).astype(np.float32)


def _steps(leg: Leg, count: int, rng: np.random.Generator) -> Sound:
    """A thud and a scrape per step; soft on grass, sharp indoors."""
    track = np.zeros(count, dtype=np.float32)
    long = int(0.16 * SAMPLE_RATE_HZ)
    at = np.arange(long, dtype=np.float32) / SAMPLE_RATE_HZ
    hard = 1.4 if leg.place.indoor else 1.0
    period = SAMPLE_RATE_HZ / STEPS_HZ
    for k in range(int(count / period)):
        begin = int((k + 0.3) * period + rng.normal(0, 120))
        if begin < 0 or begin + long > count:
            continue
        thud = np.sin(2 * np.pi * (78 + rng.normal(0, 5)) * at) * np.exp(-at / 0.025)
        scrape = rng.standard_normal(long).astype(np.float32) * np.exp(-at / (0.018 / hard)) * hard
        track[begin : begin + long] += (0.05 * thud + 0.022 * scrape).astype(np.float32) * float(rng.uniform(0.7, 1.1))
    return track


def _passing(leg: Leg, count: int, rng: np.random.Generator) -> Sound:
    """Each moving vehicle: engine and tyres swell as it comes near and fall in pitch as it goes."""
    track = np.zeros(count, dtype=np.float32)
    every = 160
    grid = np.arange(0, count + every, every)
    seconds = grid / SAMPLE_RATE_HZ
    for thing in leg.things:
        if thing.object != "vehicle" or not thing.vz_mps:
            continue
        z = np.array([forward_m(leg, leg.start_s + t) for t in seconds])
        x = np.array([aside_m(leg, float(value)) for value in z])
        far = np.hypot(thing.x_m + thing.vx_mps * seconds - x, thing.z_m + thing.vz_mps * seconds - z)
        loud = np.interp(np.arange(count), grid, 1.6 / (1.0 + (far / 3.2) ** 1.7)).astype(np.float32)
        closing = -np.gradient(far, seconds)
        pitch = np.interp(np.arange(count), grid, 88.0 * (343.0 / (343.0 - np.clip(closing, -40, 40)))).astype(
            np.float32
        )
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
        engine = 0.6 * np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.2 * np.sin(3.01 * phase)
        tyres = _noise(rng, count, low_hz=250, high_hz=1500)
        track += loud * (0.05 * engine + 0.07 * tyres).astype(np.float32)
    return track


def _room(dry: Sound, rng: np.random.Generator) -> Sound:
    """Reverberation of a corridor, 0.7 s."""
    long = int(0.7 * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(long) * np.exp(-np.arange(long) / (0.12 * SAMPLE_RATE_HZ)) * 0.05
    tail[0] = 1.0
    size = 1 << (len(dry) + long - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)[: len(dry)]
    return wet.astype(np.float32)


def _spoken(track: Sound, line: SpokenLine) -> Sound:
    """Mix a line in, at the level of a voice close to the microphone, and turn the surroundings down under it."""
    begin = round(line.t_s * SAMPLE_RATE_HZ)
    if line.samples.dtype != np.int16 or line.samples.ndim != 1:
        raise ConfigError("A spoken line is not int16 mono.", hint="Give samples as int16 [n] at 16 kHz.")
    if not 0 <= begin < len(track):
        raise ConfigError(
            f"A spoken line starts at {line.t_s:g} s, outside the walk of {len(track) / SAMPLE_RATE_HZ:g} s."
        )
    words = line.samples[: len(track) - begin].astype(np.float32) / 32768
    loud = words[np.abs(words) > 0.02]
    if loud.size:
        words *= _VOICE_RMS / math.sqrt(float(np.mean(loud**2)))
    fade, end = _FADE_S * SAMPLE_RATE_HZ, begin + len(words)
    corners = (begin - fade, begin, end, end + fade)
    gain = np.interp(np.arange(len(track)), corners, (1.0, _DUCKED, _DUCKED, 1.0)).astype(np.float32)
    mixed: Sound = track * gain
    mixed[begin : begin + len(words)] += words
    return mixed
