"""What the page says aloud: bounded, rationed, for one person, and real sound."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from server.voice import speech
from server.voice.speech import SpokenTexts, sayable
from shared.clock import ManualClock
from shared.errors import Refused
from shared.wav import decode_wav
from tests.device.voice.speech import understood


def fake(text: str) -> bytes:
    return text.encode() * 10


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_sentence_is_heard_as_it_was_written() -> None:
    texts = SpokenTexts(ManualClock())
    sound = texts.sound("Ana", texts.offer("Ana", "Caution, pole on the left."))
    assert sound is not None
    samples, rate_hz = decode_wav(sound)
    assert rate_hz == speech.RATE_HZ
    assert 1.0 < samples.size / rate_hz < 3.0
    assert float(np.sqrt(np.square(samples).mean())) > 0.02
    assert understood((samples * 32767).astype(np.int16), rate_hz) == "caution pole on the left"


def test_only_the_person_it_was_made_for_hears_it() -> None:
    texts = SpokenTexts(ManualClock(), fake)
    token = texts.offer("Ana", "Ada fell.")
    assert texts.sound("Ana", token) == fake("Ada fell.")
    assert texts.sound("Ben", token) is None
    assert texts.sound("Ana", "0" * 32) is None
    assert texts.offer("Ben", "Ada fell.") != token
    assert texts.offer("Ana", "Ada fell.") == token
    assert SpokenTexts(ManualClock(), fake).offer("Ana", "Ada fell.") != token, "it cannot be guessed"


def test_what_is_said_is_bounded_and_has_no_codes() -> None:
    assert sayable("one\n\x1b[31m two\x00 [[a]] <b>") == "one 31m two a b"
    assert sayable(f"Caution, {'x' * 10_000} ahead.") == f"Caution, {'x' * 40}, and so on, ahead."
    assert len(sayable("word " * 1000)) <= speech.MOST_CHARACTERS


def test_who_has_too_much_spoken_waits_and_others_do_not() -> None:
    clock = ManualClock()
    texts = SpokenTexts(clock, fake)
    long = [f"{n} " + "word " * 110 for n in range(20)]
    tokens = [texts.offer("Ana", text) for text in long]
    with pytest.raises(Refused, match="Too much"):
        [texts.sound("Ana", token) for token in tokens]
    assert texts.sound("Ben", texts.offer("Ben", "hello")) == fake("hello")
    assert texts.sound("Ana", texts.offer("Ana", long[0])) == fake(sayable(long[0])), "what is there costs nothing"
    clock.sleep(20)
    assert texts.sound("Ana", texts.offer("Ana", "hello again")) == fake("hello again")


def test_texts_and_sounds_do_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "TEXTS_MOST", 3)
    monkeypatch.setattr(speech, "SOUNDS_MOST_BYTES", 100)
    made: list[str] = []

    def render(text: str) -> bytes:
        made.append(text)
        return b"x" * 40

    texts = SpokenTexts(ManualClock(), render)
    tokens = [texts.offer("Ana", f"text {n}") for n in range(4)]
    assert texts.sound("Ana", tokens[0]) is None, "forgotten"
    for token in (*tokens[1:], tokens[1]):
        assert texts.sound("Ana", token) is not None
    assert made == ["text 1", "text 2", "text 3", "text 1"], "of three sounds two are kept"


def test_a_voice_that_fails_leaves_the_next_one_its_turn() -> None:
    def render(text: str) -> bytes:
        if text == "bad":
            raise RuntimeError(text)
        return b"fine"

    texts = SpokenTexts(ManualClock(), render)
    for _ in range(speech.TOGETHER + 1):
        with pytest.raises(RuntimeError):
            texts.sound("Ana", texts.offer("Ana", "bad"))
    assert texts.sound("Ana", texts.offer("Ana", "good")) == b"fine"
