"""How long warnings take in each language, as espeak-ng says them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import pytest

from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Espeak
from device.voice.phrases import fixed_phrases
from shared import languages, vocabulary

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
OTHERS = tuple(code for code in languages.packaged() if code != "en")
WPM = 165
MOST_TIMES, SLACK_S, MOST_S = 1.4, 0.3, 3.0
"""A warning lasts at most so many times as long as in English, or so much longer where it is one word; and never longer
than it is fresh (`warning_stale_after_s`)."""


def spoken_s(text: str, voice: str) -> float:
    return float(Espeak(voice=voice).render(text, WPM).size / SPEECH_RATE_HZ)


def too_long(code: str, texts: Iterable[str]) -> list[tuple[str, float, float]]:
    """(words, seconds, seconds in English)"""
    language, voice = languages.chosen(code)
    lengths = (
        (language.spoken(text), spoken_s(language.spoken(text), voice), spoken_s(text, "en-us")) for text in texts
    )
    return [
        (said, own_s, english_s)
        for said, own_s, english_s in lengths
        if own_s > min(MOST_S, max(MOST_TIMES * english_s, english_s + SLACK_S))
    ]


@needs_espeak
@pytest.mark.parametrize("code", OTHERS)
def test_a_warning_for_each_thing_ahead_takes_little_longer_than_in_english(code: str) -> None:
    texts = [text for text, tier in fixed_phrases() if tier == 1]
    assert len(texts) >= 9
    assert too_long(code, [*texts, "Stop, vehicle approaching left."]) == []


@needs_espeak
@pytest.mark.soak
@pytest.mark.parametrize("code", OTHERS)
def test_every_warning_takes_little_longer_than_in_english(code: str) -> None:
    texts = [text for text, slots in vocabulary.sayable().items() if vocabulary.tier(slots) == 1]
    assert too_long(code, texts) == []
