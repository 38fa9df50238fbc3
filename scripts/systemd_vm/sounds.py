"""Every sound that the machine may make, as its own espeak-ng renders it: what `ears` listens for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.agent.run import SAID_BEFOREHAND
from device.sentinel import sounds as sentinel_sounds
from device.sentinel.watch import WORDS, Saying
from device.voice.earcons import NOTES, SPEECH_RATE_HZ, earcon
from device.voice.espeak import Espeak
from device.voice.phrases import Phrases, fixed_phrases
from device.voice.voice import SpeechRate
from scripts.systemd_vm.ears import RATE_HZ, Sound
from shared import bundle, model_card
from shared.wav import resample

EARCONS = ("tick", "listening", "listened", "refused", "warning")
"""Those that are reported when they stand alone."""


def known(root: Path, cache: Path) -> dict[str, Sound]:
    """float32 [n] at ears.RATE_HZ by what it means. root: the machine's file system."""
    program = cache / "espeak-ng"
    cache.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec chroot {root.resolve()} espeak-ng "$@"\n')
    program.chmod(0o755)
    phrases, rate = Phrases(Espeak(program=str(program)), cache), SpeechRate()
    card = model_card.card_of(bundle.read_manifest(root / "opt/model").model)
    wanted = [(text, 2) for text in (*SAID_BEFOREHAND, *model_card.spoken(card))] + fixed_phrases()
    sounds = {text: heard(phrases.get(text, rate.of(tier))) for text, tier in wanted}
    for saying, text in WORDS.items():
        tones = np.array(sentinel_sounds.tones(sentinel_sounds.TONES[saying]), np.int16)
        words = phrases.get(text, rate.words_per_minute)
        sounds[f"{text}"] = heard(np.concatenate([tones, words]))
        sounds[f"(tones: {text})"] = heard(tones)
        if saying is Saying.BACK:
            sounds[f"{text} (the agent)"] = heard(words)
    return sounds | {f"(earcon: {name})": heard(earcon(name)) for name in EARCONS if name in NOTES}


def heard(samples: NDArray[np.int16]) -> Sound:
    """int16 [n] at the voice's rate → float32 at that of the ears."""
    return (resample(samples, SPEECH_RATE_HZ, RATE_HZ) / 32768).astype(np.float32)
