"""The corrections that the demo's wearer speaks on the first walk, as its microphone has them: no picture is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from scripts.demo import story, wearer
from server.walks.chunks import chunk_truths
from server.walks.route import walk_from_name
from server.walks.sound import soundtrack
from shared.chunk_format import SAMPLE_RATE_HZ
from tests.shared.speech.voices import as_wav


def spoken() -> Iterator[tuple[str, bytes]]:
    """(what was said, its sound from the press of the button to its release)"""
    name, seconds, seed = story.FIRST
    walk = walk_from_name(name, seed=seed, duration_s=seconds)
    presses = wearer.plan(chunk_truths(walk), story.TAUGHT)
    with TemporaryDirectory() as folder:
        lines = wearer.speak(presses, Path(folder))
    track = soundtrack(walk, voice=lines).astype(np.float32) / 32767
    for press, line in zip(presses, lines, strict=True):
        end_s = line.t_s + len(line.samples) / SAMPLE_RATE_HZ + wearer.RELEASE_AFTER_S
        yield press.text, as_wav(track[round(press.t_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)])
