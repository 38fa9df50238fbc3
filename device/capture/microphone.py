"""A microphone through PortAudio (sounddevice): 16 kHz mono int16, whatever the sound card can do.

The capture runs in a process of its own: PortAudio does not tell that a USB microphone was unplugged
(sounddevice issue 627), and its reads and even its shutdown can hang.

Sound is timed by counting samples, not by when a block arrives: arrival jitters by tens of milliseconds, a sound
card's clock drifts by at most some 100 ppm. `next_start_s` joins the two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.capture.pipe import Outlet
from device.capture.source import BLOCK_SAMPLES
from device.capture.supervisor import Limits
from device.capture.worker_process import Plan
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import SystemClock
from shared.errors import MediaError
from shared.film.mixing import Mixer

HINT = (
    f"Check the plug; `{sys.executable} -m sounddevice` lists the devices: give the number or a part of the name of one"
    " that has inputs."
)
PORTAUDIO_HINT = "Install it: sudo apt install libportaudio2."
HOLE_S = 0.25
_BACK = 0.01
_FORTH = 0.0003  # 300 ppm: more than any sound card drifts, and little beside the way back

Samples = NDArray[np.int16]


def microphone_plan(device: str | int = "default", *, rate_hz: int | None = None, limits: Limits | None = None) -> Plan:
    """device: a number or a part of a name as `python -m sounddevice` lists them, or "default".

    rate_hz: open the sound card at this rate instead of the one found by trying.
    """
    options = {"device": str(device), "rate_hz": rate_hz}
    target = "device.capture.microphone:capture"
    return Plan(f"microphone {device}", "sound", target, options, HINT, limits or Limits())


def capture(out: Outlet, *, device: str, rate_hz: int | None) -> None:
    """Runs in the capture process, for ever. Raises: MediaError when the microphone cannot be opened."""
    try:
        import sounddevice  # only this process pays for it
    except OSError as error:
        raise MediaError(f"PortAudio is missing ({error})", hint=PORTAUDIO_HINT) from error
    which: int | str | None = None if device == "default" else int(device) if device.isdecimal() else device
    try:
        rate, channels = _format(sounddevice, which, rate_hz)
        stream = sounddevice.InputStream(samplerate=rate, channels=channels, device=which, dtype="int16", latency="low")
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such name, or several
        raise MediaError(f"PortAudio cannot open {device!r} ({error})") from error
    try:
        _pass_on(out, stream, rate)
    except sounddevice.PortAudioError as error:
        raise MediaError(f"{device!r} stopped giving sound ({error})") from error


def _format(sounddevice: Any, which: int | str | None, rate_hz: int | None) -> tuple[int, int]:
    """Rate and channels that the sound card can do: 16 kHz mono where it can."""
    facts = sounddevice.query_devices(which, "input")
    channels = min(2, facts["max_input_channels"])
    wanted = [(rate_hz or SAMPLE_RATE_HZ, 1), (rate_hz or SAMPLE_RATE_HZ, channels)]
    for rate, count in wanted:
        try:
            sounddevice.check_input_settings(device=which, channels=count, dtype="int16", samplerate=rate)
        except sounddevice.PortAudioError:
            continue
        return rate, count
    return int(facts["default_samplerate"]), channels


def _pass_on(out: Outlet, stream: Any, rate: int) -> None:
    """Read blocks, bring them to 16 kHz mono, time them, send them. For ever."""
    clock = SystemClock()
    convert, mixer = converter(rate), Mixer()
    block = round(rate * BLOCK_SAMPLES / SAMPLE_RATE_HZ)
    start_s: float | None = None
    while True:
        data, overflowed = stream.read(block)
        samples = convert(np.ascontiguousarray(mixer.mixed(data.T)))
        if len(samples) == 0:
            continue
        if start_s is None:  # not before: a sound server may take two seconds from "open" to the first sound
            out.hello({"rate_hz": rate})
        length_s = len(samples) / SAMPLE_RATE_HZ
        observed_s = clock.monotonic_s() - length_s - stream.latency
        start_s = next_start_s(start_s, observed_s, length_s=length_s, hole=overflowed)
        out.sound(samples, start_s)
        start_s += length_s


def next_start_s(expected_s: float | None, observed_s: float, *, length_s: float, hole: bool) -> float:
    """When a block began.

    expected_s: where the block before ended, None for the first; observed_s: by its arrival, which may be late but
    never early; hole: the sound card says that it lost samples.
    returns: expected_s, moved at most 1 % of the block back and 0.03 % forth towards the observation, so that it
    settles on the earliest arrivals; or observed_s itself after a hole or where they are HOLE_S apart.
    """
    if expected_s is None:
        return observed_s
    late_s = observed_s - expected_s
    if late_s > HOLE_S or (hole and late_s > 0):
        return observed_s
    return expected_s + max(min(late_s, _FORTH * length_s), -_BACK * length_s)


def converter(rate: int) -> Callable[[Samples], Samples]:
    """A function that brings successive blocks, int16 [n] mono, from `rate` (Hz) to 16 kHz; it keeps what it needs
    from block to block."""
    if rate == SAMPLE_RATE_HZ:
        return lambda samples: samples
    import av  # only where it is needed

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)

    def convert(samples: Samples) -> Samples:
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = rate
        parts = [part.to_ndarray()[0] for part in resampler.resample(frame)]
        return np.concatenate(parts).astype(np.int16) if parts else np.empty(0, np.int16)

    return convert
