"""The wearer of the demo: when they press the button on the first walk, and what they say into the microphone.

The wearer knows what is there (a companion told them; the renderer knows it), and corrects every silence or wrong word
about the new object. The voice is espeak-ng's, mixed into the walk's own sound track, so that the correction goes
through the real microphone path.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Espeak
from server.walks import ChunkTruth, SpokenLine
from shared import vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.wav import resample

PRESS_AFTER_S = 1.15  # into the chunk: just after its middle frame
SPEAK_AFTER_S = 0.25  # after the press
RELEASE_AFTER_S = 0.3  # after the last word
EVERY_S = 3.6  # a correction takes 2.2 s; a person breathes between two
RATE_WPM = 165


@dataclass(frozen=True, slots=True)
class Press:
    """When the wearer presses the button, and what they are about to say."""

    t_s: float
    text: str


def plan(truths: Sequence[ChunkTruth], taught: str) -> list[Press]:
    """Corrections for chunks about the new object, as often as a person can speak."""
    presses: list[Press] = []
    free_from_s = 0.0
    for truth in truths:
        slots = vocabulary.parse(truth.instruction) if truth.instruction else None
        at_s = truth.start_s + PRESS_AFTER_S
        if slots is not None and slots.object == taught and free_from_s <= at_s < truth.end_s:
            presses.append(Press(at_s, truth.instruction))
            free_from_s = at_s + EVERY_S
    return presses


def speak(presses: Sequence[Press], folder: Path) -> list[SpokenLine]:
    """Synthesise what is said at each press, and write the button's script to `folder`/buttons.jsonl."""
    voice = Espeak()
    lines, script = [], []
    for press in presses:
        samples = resample(voice.render(press.text.rstrip("."), RATE_WPM), SPEECH_RATE_HZ, SAMPLE_RATE_HZ)
        starts_s = press.t_s + SPEAK_AFTER_S
        until_s = starts_s + len(samples) / SAMPLE_RATE_HZ + RELEASE_AFTER_S
        lines.append(SpokenLine(starts_s, np.asarray(samples, np.int16)))
        script.append({"t_s": press.t_s, "action": "hold", "until_s": round(until_s, 3)})
    (folder / "buttons.jsonl").write_text("".join(json.dumps(line) + "\n" for line in script))
    return lines
