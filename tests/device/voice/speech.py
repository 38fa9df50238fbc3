"""What voice tests share: real espeak-ng, a voice on a manual walk, and a listener that knows a few sentences."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device.voice.espeak import Espeak, Synthesizer
from device.voice.phrases import Phrases
from device.voice.sinks import Sink, VoiceEvent
from device.voice.voice import SpeechRate, Voice, VoiceUtterance
from shared.clock import ManualClock

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")

GRAMMAR = """#JSGF V1.0;
grammar guidance;
public <s> = stop curb ahead | caution pole on the left | keep straight door on the right | guidance paused ;
"""


@contextmanager
def speaking(
    sink: Sink,
    clock: ManualClock,
    *,
    folder: Path | None = None,
    synthesizer: Synthesizer | None = None,
    captions_only: bool = False,
    troubles: list[str] | None = None,
    pace: SpeechRate | None = None,
) -> Iterator[Voice]:
    """A started voice whose walk goes by `clock`."""
    voice = Voice(
        None if captions_only else Phrases(synthesizer or Espeak(voice="en-us"), folder),
        sink,
        pace=pace or SpeechRate(),
        clock=clock,
        walk_now=clock.monotonic_s,
        on_trouble=(troubles if troubles is not None else []).append,
    )
    voice.start()
    try:
        yield voice
    finally:
        voice.close()


def say(voice: Voice, number: int, text: str, *, tier: int = 2, earcon: str = "") -> None:
    """Say and wait until it has begun."""
    voice.say(VoiceUtterance(number, text, tier, earcon))
    assert voice.settle()


def walk_on(voice: Voice, clock: ManualClock, until_s: float) -> list[VoiceEvent]:
    """Let the walk go on in small steps; what was heard meanwhile."""
    heard: list[VoiceEvent] = []
    while clock.now_s < until_s:
        clock.now_s = min(until_s, clock.now_s + 0.05)
        heard += voice.poll()
    return heard


def understood(samples: NDArray[np.int16], rate_hz: int) -> str:
    """Which sentence of GRAMMAR pocketsphinx hears."""
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("guidance", GRAMMAR)
    decoder.activate_search("guidance")
    count = round(samples.size * 16_000 / rate_hz)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]  # what lies above 8 kHz is cut off, not folded back
    sound = (np.fft.irfft(spectrum, count) * count / samples.size).clip(-32768, 32767).astype(np.int16)
    quiet = np.random.default_rng(0).normal(0, 20, 8000).astype(np.int16)
    decoder.start_utt()
    decoder.process_raw(np.concatenate([quiet, sound, quiet]).tobytes(), full_utt=True)
    decoder.end_utt()
    return "" if decoder.hyp() is None else str(decoder.hyp().hypstr)


def loud(samples: NDArray[np.int16], rate_hz: int) -> list[tuple[float, float]]:
    """(from, to) in seconds of each stretch that is not silent; pauses under half a second do not part two."""
    at = np.flatnonzero(np.abs(samples.astype(np.int32)) > 300) / rate_hz
    if not at.size:
        return []
    cuts = np.flatnonzero(np.diff(at) > 0.5)
    starts, ends = np.concatenate([at[:1], at[cuts + 1]]), np.concatenate([at[cuts], at[-1:]])
    return [(float(a), float(b)) for a, b in zip(starts, ends, strict=True)]
