"""How loud, how soon and how late the voice speaks, measured in what came out."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device.voice import phrases
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Samples
from device.voice.phrases import Phrases
from device.voice.sinks import Timeline, UtteranceEnded, WavFile
from device.voice.voice import DUCKED, SpeechRate, Voice, VoiceUtterance
from shared.clock import ManualClock
from shared.errors import ConfigError
from tests.device.voice.speech import say, speaking, walk_on


class Steady:
    """Two seconds at one height, so that loudness can be read off."""

    name = "steady"

    def render(self, text: str, words_per_minute: int) -> Samples:
        return np.full(2 * SPEECH_RATE_HZ, 10_000, np.int16)


def heights(path: Path, *at_s: float) -> list[int]:
    with wave.open(str(path)) as wav:
        samples: NDArray[np.int16] = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    return [int(samples[round(t_s * SPEECH_RATE_HZ)]) for t_s in at_s]


def spoken(folder: Path, pace: SpeechRate, *, tier: int, duck_at_s: float | None = None) -> list[int]:
    """Heights at 0.2 s and 1.5 s of one utterance; the street gets loud at `duck_at_s`, quiet at 1.2 s if after 1 s."""
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(folder / "walk.wav"))
    with speaking(sink, clock, synthesizer=Steady(), pace=pace) as voice:
        if duck_at_s == 0.0:
            voice.duck(on=True)
        say(voice, 1, "a", tier=tier)
        if duck_at_s:
            walk_on(voice, clock, duck_at_s)
            voice.duck(on=True)
        walk_on(voice, clock, 3.0)
    return heights(folder / "walk.wav", 0.2, 1.5)


def test_the_wearers_volume_is_the_voices_but_a_warning_keeps_half_of_its_own(tmp_path: Path) -> None:
    assert spoken(tmp_path, SpeechRate(volume=0.2), tier=2) == [2000, 2000]
    assert spoken(tmp_path, SpeechRate(volume=0.2), tier=1) == [5000, 5000]
    assert spoken(tmp_path, SpeechRate(), tier=1) == [10_000, 10_000]


def test_while_the_street_is_loud_everything_but_a_warning_is_quieter_also_what_is_being_said(tmp_path: Path) -> None:
    quiet = round(10_000 * DUCKED)
    assert spoken(tmp_path, SpeechRate(), tier=2, duck_at_s=0.0) == [quiet, quiet]
    assert spoken(tmp_path, SpeechRate(), tier=2, duck_at_s=1.0) == [10_000, quiet]
    assert spoken(tmp_path, SpeechRate(), tier=1, duck_at_s=1.0) == [10_000, 10_000]


def test_louder_and_quieter_answer_with_a_sound_and_keep_within_bounds(tmp_path: Path) -> None:
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock, synthesizer=Steady(), pace=SpeechRate(volume=0.8)) as voice:
        found = [voice.change_volume(0.1) for _ in range(4)] + [voice.change_volume(-0.3) for _ in range(4)]
        walk_on(voice, clock, 1.0)
        say(voice, 1, "a")
        walk_on(voice, clock, 4.0)
    assert found == [0.9, 1.0, 1.0, 1.0, 0.7, 0.4, 0.1, 0.1]
    assert heights(tmp_path / "walk.wav", 1.5) == [1000]


@pytest.mark.parametrize("volume", [0.0, 1.1])
def test_a_volume_outside_its_bounds_is_refused(volume: float) -> None:
    with pytest.raises(ConfigError, match=r"0\.1 to 1"):
        SpeechRate(volume=volume)


def test_words_that_took_too_long_to_render_are_not_said_any_more(tmp_path: Path) -> None:
    clock = ManualClock()

    class Slow(Steady):
        def render(self, text: str, words_per_minute: int) -> Samples:
            if text == "late":
                clock.now_s += 2.5
            return super().render(text, words_per_minute)

    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock, synthesizer=Slow()) as voice:
        voice.say(VoiceUtterance(1, "late", 2, expires_s=clock.now_s + 2.0))
        assert voice.settle()
        assert voice.poll() == [UtteranceEnded(1)]
        voice.say(VoiceUtterance(2, "soon", 2, expires_s=clock.now_s + 2.0))
        assert voice.settle()
        walk_on(voice, clock, 8.0)
    assert heights(tmp_path / "walk.wav", 2.0, 3.0) == [0, 10_000]


def test_a_warning_that_is_not_rendered_yet_is_heard_as_its_earcon_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    voice = Voice(
        Phrases(Steady(), None), sink, pace=SpeechRate(), clock=clock, walk_now=clock.monotonic_s, on_trouble=print
    )
    voice.open_sink()  # the worker is not started: nothing is rendered
    voice.say(VoiceUtterance(1, "Stop, purple thing ahead.", 1, "warning"))
    walk_on(voice, clock, 0.5)
    voice.close()
    with wave.open(str(tmp_path / "walk.wav")) as wav:
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    assert np.abs(samples[: SPEECH_RATE_HZ // 10]).max() > 5000


def test_prepared_warnings_stay_ready_however_many_other_phrases_are_said() -> None:
    cache = Phrases(Steady(), None)
    cache.get("Stop, curb ahead.", 165, keep=True)
    for number in range(phrases.MOST_IN_RAM + 10):
        cache.get(f"phrase {number}", 190)
    assert cache.ready("Stop, curb ahead.", 165) is not None
    assert cache.ready("phrase 0", 190) is None
