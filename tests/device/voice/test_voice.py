"""The voice with real espeak-ng into WAV files, and what it does when speech or sound is missing."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.voice import earcons
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Espeak, Samples
from device.voice.phrases import Phrases, fixed_phrases, prerender
from device.voice.sinks import Timeline, UtteranceEnded, UtteranceStarted, WavFile
from device.voice.voice import SpeechRate, Voice, VoiceUtterance
from shared import vocabulary
from shared.clock import ManualClock
from shared.errors import ConfigError, MediaError
from shared.wav import decode_wav
from tests.device.voice.speech import loud, needs_espeak, say, speaking, understood, walk_on
from tests.pulse import until


def read(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, SPEECH_RATE_HZ)
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        assert samples.size == wav.getnframes(), "the header's length is the file's"
    return samples


@needs_espeak
@pytest.mark.parametrize("text", ["Stop, curb ahead.", "Caution, pole on the left.", "Guidance paused."])
def test_what_is_written_to_the_wav_file_is_understood(text: str, tmp_path: Path) -> None:
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock) as voice:
        say(voice, 1, text)
        walk_on(voice, clock, 4.0)
    assert understood(read(tmp_path / "walk.wav"), SPEECH_RATE_HZ) == " ".join(vocabulary.words(text))


@needs_espeak
def test_speech_lies_at_its_time_on_the_walk_and_the_file_is_as_long_as_the_walk(tmp_path: Path) -> None:
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock) as voice:
        for number, at_s in enumerate((1.0, 5.0)):
            walk_on(voice, clock, at_s)
            say(voice, number, "Stop, curb ahead.", tier=1, earcon="warning")
            read(tmp_path / "walk.wav")  # valid at any time
        heard = walk_on(voice, clock, 10.0)
    samples = read(tmp_path / "walk.wav")
    assert samples.size == 10 * SPEECH_RATE_HZ
    assert [round(start) for start, _ in loud(samples, SPEECH_RATE_HZ)] == [1, 5]
    assert UtteranceStarted(1, 5.0, earcons.earcon("warning").size / SPEECH_RATE_HZ) in heard
    assert UtteranceEnded(1) in heard


@needs_espeak
def test_a_cut_leaves_silence_and_ends_the_utterance_once(tmp_path: Path) -> None:
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock) as voice:
        say(voice, 1, "Continue straight, crosswalk ahead.", tier=3)
        walk_on(voice, clock, 0.5)
        voice.cut(1)
        voice.cut(1)
        say(voice, 2, "Stop, curb ahead.", tier=1)
        heard = walk_on(voice, clock, 5.0)
    assert [h for h in heard if isinstance(h, UtteranceEnded)] == [UtteranceEnded(1), UtteranceEnded(2)]
    assert understood(read(tmp_path / "walk.wav")[SPEECH_RATE_HZ // 2 :], SPEECH_RATE_HZ) == "stop curb ahead"


@needs_espeak
def test_a_tick_is_heard_over_speech_and_does_not_move_it(tmp_path: Path) -> None:
    files = []
    for name in ("plain", "ticked"):
        clock = ManualClock()
        sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / name))
        with speaking(sink, clock) as voice:
            say(voice, 1, "Stop, curb ahead.")
            walk_on(voice, clock, 0.5)
            if name == "ticked":
                voice.earcon("tick")
            walk_on(voice, clock, 3.0)
        files.append(read(tmp_path / name).astype(int))
    differ = np.flatnonzero(files[0] - files[1])
    assert files[0].size == files[1].size
    assert 0.5 <= differ[0] / SPEECH_RATE_HZ <= differ[-1] / SPEECH_RATE_HZ <= 0.53


@needs_espeak
def test_warnings_are_spoken_slower_than_a_fast_wearers_own_rate() -> None:
    fast = SpeechRate(words_per_minute=350)
    assert (fast.of(1), fast.of(2)) == (165, 350)
    assert SpeechRate(words_per_minute=130).of(1) == 130
    slow, quick = Espeak().render("Stop, curb ahead.", fast.of(1)), Espeak().render("Stop, curb ahead.", fast.of(2))
    assert slow.size > 1.3 * quick.size


@pytest.mark.parametrize("rate", [119, 401])
def test_a_rate_outside_120_to_400_words_a_minute_is_refused(rate: int) -> None:
    with pytest.raises(ConfigError, match="120 to 400"):
        SpeechRate(words_per_minute=rate)


class Counting:
    """The real program, counted."""

    name = "counting"

    def __init__(self) -> None:
        self.rendered: list[str] = []

    def render(self, text: str, words_per_minute: int) -> Samples:
        self.rendered.append(text)
        return Espeak().render(text, words_per_minute)


@needs_espeak
def test_a_phrase_is_rendered_once_and_found_on_disk_after_a_restart(tmp_path: Path) -> None:
    first = Counting()
    before = Phrases(first, tmp_path).get("Stop, curb ahead.", 165)
    again = Counting()
    phrases = Phrases(again, tmp_path)
    assert phrases.ready("Stop, curb ahead.", 165) is None
    assert np.array_equal(phrases.get("Stop, curb ahead.", 165), before)
    assert phrases.ready("Stop, curb ahead.", 165) is not None
    assert (first.rendered, again.rendered) == (["Stop, curb ahead."], [])


@needs_espeak
@pytest.mark.parametrize("spoilt", [b"", b"RIFF....", b"RIFF\0\0\0\0WAVEdata\x10\0\0\0"])
def test_a_spoilt_cached_phrase_is_rendered_again(tmp_path: Path, spoilt: bytes) -> None:
    Phrases(Espeak(), tmp_path).get("Stop, curb ahead.", 165)
    (file,) = tmp_path.glob("*.wav")
    file.write_bytes(spoilt)
    assert Phrases(Espeak(), tmp_path).get("Stop, curb ahead.", 165).size > 0
    assert decode_wav(file.read_bytes())[1] == SPEECH_RATE_HZ


@needs_espeak
def test_a_cache_folder_that_cannot_be_written_does_not_keep_the_voice_from_speaking(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert Phrases(Espeak(), tmp_path / "file" / "voice").get("Stop, curb ahead.", 165).size > 0


@needs_espeak
@pytest.mark.parametrize("failures", [1, 3])
def test_phrases_are_prepared_although_the_speech_program_was_slow_at_first(tmp_path: Path, failures: int) -> None:
    """A board that starts is busy: the program does not answer in time, for a while."""
    program, tries = tmp_path / "espeak-ng", tmp_path / "tries"
    program.write_text(
        f'#!/bin/sh\necho >> {tries}\n[ "$(wc -l < {tries})" -gt {failures} ] || exit 1\nexec espeak-ng "$@"\n'
    )
    program.chmod(0o755)
    phrases, wanted = Phrases(Espeak(program=str(program)), tmp_path / "voice"), fixed_phrases()[:4]
    pairs = [(text, 165) for text, _ in wanted]
    assert prerender(phrases, pairs, threading.Event(), again_s=0.0) == 4
    assert all(phrases.ready(text, 165) is not None for text, _ in wanted)


@needs_espeak
def test_one_phrase_that_cannot_be_rendered_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text('#!/bin/sh\ntext=$(cat)\n[ "$text" != never ] || exit 1\nprintf %s "$text" | espeak-ng "$@"\n')
    program.chmod(0o755)
    stop, phrases = threading.Event(), Phrases(Espeak(program=str(program)), tmp_path)
    pairs = [("never", 165), ("Stop, curb ahead.", 165), ("Stop, pole ahead.", 165)]
    ready = threading.Thread(target=prerender, args=(phrases, pairs, stop), kwargs={"again_s": 0.0})
    ready.start()
    until(lambda: phrases.ready("Stop, pole ahead.", 165) is not None, "the last phrase")
    stop.set()
    ready.join()
    assert phrases.ready("never", 165) is None


@needs_espeak
def test_urgent_phrases_are_prepared_first_and_preparing_stops_when_told(tmp_path: Path) -> None:
    fixed = fixed_phrases()
    tiers = [tier for _, tier in fixed]
    assert tiers == sorted(tiers)
    assert {"Stop, curb ahead.", "Duck, head obstacle ahead."} <= {text for text, tier in fixed if tier == 1}
    stop, counting = threading.Event(), Counting()
    assert prerender(Phrases(counting, tmp_path), [(text, 165) for text, _ in fixed[:3]], stop) == 3
    stop.set()
    assert prerender(Phrases(counting, tmp_path), [(text, 165) for text, _ in fixed], stop) == 0
    assert len(counting.rendered) == 3


def test_without_the_speech_program_captions_keep_their_pace_and_the_trouble_is_told_once(tmp_path: Path) -> None:
    clock, troubles = ManualClock(), list[str]()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock, synthesizer=Espeak(program="no-such-espeak"), troubles=troubles) as voice:
        heard = []
        for number in (1, 2):
            say(voice, number, "Stop, curb ahead.")
            heard += walk_on(voice, clock, clock.now_s + 2.0)
    assert heard == [UtteranceEnded(1), UtteranceEnded(2)]
    assert len(troubles) == 1
    assert "sudo apt install espeak-ng" in troubles[0]
    assert not read(tmp_path / "walk.wav").any()


def test_a_wav_file_that_cannot_be_opened_is_told_and_captions_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    clock, troubles = ManualClock(), list[str]()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "file" / "walk.wav"))
    with speaking(sink, clock, troubles=troubles) as voice:
        say(voice, 1, "Stop, curb ahead.")
        assert walk_on(voice, clock, 2.0) == [UtteranceEnded(1)]
    assert len(troubles) == 1


class FullDisk(WavFile):
    """A WAV file on a disk that is full while `full` is set."""

    full = False

    def _write(self, samples: Samples, start: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super()._write(samples, start)


@needs_espeak
def test_a_full_disk_under_the_wav_file_is_told_reaches_no_caller_and_spoils_nothing(tmp_path: Path) -> None:
    clock, troubles, file = ManualClock(), list[str](), FullDisk(tmp_path / "walk.wav")
    with speaking(Timeline(clock.monotonic_s, clock, file=file), clock, troubles=troubles) as voice:
        say(voice, 1, "Stop, curb ahead.")
        heard = walk_on(voice, clock, 2.0)
        file.full = True
        voice.earcon("tick")
        say(voice, 2, "Guidance paused.")
        heard += walk_on(voice, clock, 6.0)
        file.full = False
    assert [h for h in heard if isinstance(h, UtteranceEnded)] == [UtteranceEnded(1), UtteranceEnded(2)]
    assert troubles[:1] == ["[Errno 28] No space left on device"]
    assert understood(read(tmp_path / "walk.wav")[: 2 * SPEECH_RATE_HZ], SPEECH_RATE_HZ) == "stop curb ahead"


def test_a_silent_sink_renders_nothing_and_ends_each_utterance() -> None:
    clock, counting = ManualClock(), Counting()
    with speaking(Timeline(clock.monotonic_s, clock), clock, synthesizer=counting) as voice:
        say(voice, 7, "Caution, pole on the left.")
        assert walk_on(voice, clock, 3.0) == [UtteranceEnded(7)]
    assert counting.rendered == []


class Stutters(Timeline):
    """A sound card that wants a larger buffer, and does not take it."""

    wants_reopen = True
    opened = 0

    def open(self) -> None:
        self.opened += 1
        if self.opened > 1:
            raise MediaError("it is gone")
        super().open()


def test_a_sound_card_that_does_not_open_again_counts_as_broken_at_once() -> None:
    clock = ManualClock()
    sink = Stutters(clock.monotonic_s, clock)
    voice = Voice(None, sink, pace=SpeechRate(), clock=clock, walk_now=clock.monotonic_s, on_trouble=print)
    voice.open_sink()
    works = [voice.works]
    voice._look_after_sink()
    assert (*works, voice.works) == (True, False)


class Replaced(Timeline):
    """A headset that was lost and stands in for nobody since."""

    silent = False

    def news(self) -> str:
        return "Headset lost."


def test_what_was_said_of_an_earlier_trouble_is_not_said_again_of_the_next(tmp_path: Path) -> None:
    clock, back = ManualClock(), list[str]()
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    voice = Voice(
        Phrases(Espeak(program=str(program)), None),
        Replaced(clock.monotonic_s, clock),
        pace=SpeechRate(),
        clock=clock,
        walk_now=clock.monotonic_s,
        on_trouble=lambda why: back.append(why or voice.back_with or "Voice is back."),
    )
    voice.open_sink()
    assert voice.back_with == "Headset lost."
    for number in (1, 2):
        voice.say(VoiceUtterance(number, "note", 2))
        voice._render_and_play(voice._jobs.get())  # type: ignore[arg-type]
        program.write_text('#!/bin/sh\nexec espeak-ng "$@"\n')
    assert back[1:] == ["Voice is back."]


class Stuck:
    """A speech program that hangs until it is let go."""

    name = "stuck"

    def __init__(self) -> None:
        self.go = threading.Event()

    def render(self, text: str, words_per_minute: int) -> Samples:
        assert self.go.wait(20)
        return np.full(SPEECH_RATE_HZ, 9000, np.int16)


def test_an_utterance_cut_while_it_is_rendered_is_never_heard(tmp_path: Path) -> None:
    clock, stuck = ManualClock(), Stuck()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock, synthesizer=stuck) as voice:
        voice.say(VoiceUtterance(1, "Caution, pole on the left.", 2))
        voice.cut(1)
        assert voice.poll() == [UtteranceEnded(1)]
        stuck.go.set()
        assert voice.settle()
        assert walk_on(voice, clock, 2.0) == []
    assert not read(tmp_path / "walk.wav").any()


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9000), st.sampled_from(["place", "mix", "cut"])), max_size=25)
)
def test_the_wav_file_is_valid_after_every_step_whatever_the_steps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, int, str]]
) -> None:
    file = WavFile(tmp_path_factory.mktemp("wav") / "walk.wav")
    file.open()
    at_s = 0.0
    for gap_s, count, what in steps:
        at_s += gap_s
        if what == "cut":
            file.cut(at_s)
        else:
            getattr(file, what)(np.full(count, 1000, np.int16), at_s)
        read(file.path)
    file.close(at_s + 1)
    assert read(file.path).size >= (at_s + 1) * SPEECH_RATE_HZ - 1


@pytest.mark.parametrize("name", sorted(earcons.NOTES))
def test_earcons_are_short_soft_and_begin_and_end_in_silence(name: str) -> None:
    sound = earcons.earcon(name)
    assert 0.01 <= sound.size / SPEECH_RATE_HZ <= 0.2
    assert 3000 < np.abs(sound).max() < 14_000
    assert abs(int(sound[0])) < 500
    assert abs(int(sound[-1])) < 500


def test_the_speech_program_is_never_linked() -> None:
    code = "import sys, device.voice.voice, device.voice.speakers; print([m for m in sys.modules if 'espeak' in m])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['shared.espeak', 'device.voice.espeak']"
