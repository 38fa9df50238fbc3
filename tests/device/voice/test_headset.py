"""A headset that comes and goes, in a real PulseAudio whose sinks are loaded and unloaded; and what two ears hear."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
from numpy.typing import NDArray

from device.voice import earcons, portaudio
from device.voice.espeak import Samples
from device.voice.output_list import OutputList
from device.voice.phrases import Phrases
from device.voice.portaudio import SoundSystemHangs
from device.voice.resting import FIRST_S
from device.voice.sinks import UtteranceEnded, UtteranceStarted, VoiceEvent
from device.voice.speakers import HANGS_S, HEADSET_CONNECTED, HEADSET_LOST, SOUND_WAS_OFF, Speakers
from device.voice.voice import SpeechRate, Voice, VoiceUtterance
from shared.clock import ManualClock, SystemClock
from shared.sides import Side
from tests.device.voice.speech import loud
from tests.pulse import RATE_HZ, SPEAKERS, PulseChild, until

CLOCK = SystemClock()
HEADSET = "bluez_output.38_18_4C_E9_85_B4.1"


class Note:
    """Half a second of one note."""

    name = "note"

    def render(self, text: str, words_per_minute: int) -> Samples:
        return (np.sin(np.arange(11_025) / 8) * 12_000).astype(np.int16)


class Wearer:
    """A voice on the best output of a sound system, and what it reports."""

    def __init__(self, *, stereo: bool = False) -> None:
        self.speakers = Speakers(CLOCK, outputs=OutputList(CLOCK), stereo=stereo)
        self.troubles: list[str] = []
        self.news: list[str] = []
        self.heard: list[VoiceEvent] = []
        self.phrases = Phrases(Note(), None)
        self.voice = Voice(
            self.phrases,
            self.speakers,
            pace=SpeechRate(),
            clock=CLOCK,
            walk_now=CLOCK.monotonic_s,
            on_trouble=self.troubles.append,
        )
        self.voice.on_news = self.news.append
        self.voice.start()

    def say(self, number: int, *, earcon: str | None = None, side: Side | None = None, tier: int = 2) -> None:
        self.voice.say(VoiceUtterance(number, "note", tier, earcon, side=side))
        until(lambda: self._over(number), f"the end of utterance {number}")

    def sounded(self, number: int) -> bool:
        return any(isinstance(event, UtteranceStarted) and event.utterance == number for event in self.heard)

    def is_on(self, sink: str) -> bool:
        return self.speakers.output is not None and self.speakers.output.name == sink and self.voice.works

    def _over(self, number: int) -> bool:
        self.heard += self.voice.poll()
        return UtteranceEnded(number) in self.heard


@pytest.fixture
def wearer(own_pulse: PulseChild) -> Iterator[Wearer]:
    wearer = Wearer()
    yield wearer
    wearer.voice.close()


def test_a_headset_that_is_lost_is_replaced_within_two_seconds_and_taken_again_when_it_is_back(
    own_pulse: PulseChild, wearer: Wearer
) -> None:
    assert wearer.is_on(SPEAKERS)
    module = own_pulse.plug_in(HEADSET)
    until(lambda: wearer.is_on(HEADSET), "the headset to be used")
    assert (wearer.news, wearer.troubles) == ([HEADSET_CONNECTED], [])  # nothing was lost: it was between utterances
    with own_pulse.record(sink=HEADSET) as on_headset:
        wearer.say(1)
        until(lambda: bool(loud(on_headset(), RATE_HZ)), "the note")

    lost_s = CLOCK.monotonic_s()
    own_pulse.unplug(module)
    until(lambda: len(wearer.troubles) == 2, "the loss and the next output")
    assert CLOCK.monotonic_s() - lost_s < 2.0 + 1.0  # 0.6 s and what a busy machine adds
    assert wearer.troubles[1] == ""
    assert wearer.voice.back_with == HEADSET_LOST
    with own_pulse.record() as on_speakers:
        wearer.say(2)
        until(lambda: bool(loud(on_speakers(), RATE_HZ)), "the note")

    own_pulse.plug_in(HEADSET)
    until(lambda: wearer.is_on(HEADSET), "the headset to be used again")
    assert wearer.news == [HEADSET_CONNECTED, HEADSET_CONNECTED]
    assert all(wearer.sounded(number) for number in (1, 2))


def test_what_is_said_while_a_headset_is_lost_ends_and_is_reported_as_unheard(
    own_pulse: PulseChild, wearer: Wearer
) -> None:
    module = own_pulse.plug_in(HEADSET)
    until(lambda: wearer.is_on(HEADSET), "the headset to be used")
    wearer.phrases.get("note", 190, keep=True)
    own_pulse.unplug(module)
    number = 10
    while len(wearer.troubles) < 2:  # said again and again into the loss
        number += 1
        wearer.say(number)
    assert "gone" in wearer.troubles[0]  # VoiceLost: the policy says again what was said from 3 s before it on
    wearer.say(1000)
    assert wearer.sounded(1000)


def test_an_output_that_is_listed_and_does_not_work_is_passed_over_and_not_tried_at_every_change(
    own_pulse: PulseChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    wearer = Wearer()
    try:
        tried: list[str] = []
        really = Speakers._open_place

        def refused(speakers: Speakers, devices, environ, channels) -> None:  # type: ignore[no-untyped-def]
            tried.append(environ.get("PULSE_SINK", ""))
            really(speakers, ("no such device",) if HEADSET in environ.values() else devices, environ, channels)

        monkeypatch.setattr(Speakers, "_open_place", refused)
        module = own_pulse.plug_in(HEADSET)
        until(lambda: tried == [HEADSET, SPEAKERS], "the headset to be tried")
        wearer.say(1)
        own_pulse.plug_in("another")  # is the default now, and better than what is used
        until(lambda: wearer.is_on("another"), "the other output")
        assert tried.count(HEADSET) == 1
        own_pulse.unplug(module)
        wearer.say(2)
        assert wearer.sounded(2)
    finally:
        wearer.voice.close()


def test_a_device_that_no_list_shows_is_tried_again_and_others_play_meanwhile(own_pulse: PulseChild) -> None:
    clock = ManualClock(CLOCK.monotonic_s())
    speakers = Speakers(clock, outputs=OutputList(CLOCK, wanted="bluealsa"))
    speakers.open()
    try:
        assert speakers.output is not None
        assert speakers.output.name == SPEAKERS
        wants = []
        for later_s in (1.0, FIRST_S):
            clock.now_s += later_s
            speakers.watch()
            wants.append(speakers.wants_reopen)
        assert wants == [False, True]
        # as bluez-alsa does when the headset is there: the name leads somewhere
        conf = own_pulse.folder / "asound.conf"
        conf.write_text(conf.read_text() + "pcm.bluealsa { type pulse }\n")
        speakers.open()
        assert (speakers.output.name, speakers.news()) == ("bluealsa", HEADSET_CONNECTED)
    finally:
        speakers.close()


def test_a_headset_that_stays_listed_and_takes_no_sound_is_left_for_an_output_that_does(
    own_pulse: PulseChild, wearer: Wearer
) -> None:
    own_pulse.plug_in(HEADSET)
    until(lambda: wearer.is_on(HEADSET), "the headset to be used")
    own_pulse.control("suspend-sink", HEADSET, "1")
    until(lambda: wearer.is_on(SPEAKERS), "another output")
    assert wearer.voice.back_with == HEADSET_LOST
    with own_pulse.record() as on_speakers:
        wearer.say(1)
        until(lambda: bool(loud(on_speakers(), RATE_HZ)), "the note")
    own_pulse.plug_in("another")  # is the default now; whatever changes, the headset is not tried again so soon
    until(lambda: wearer.is_on("another"), "the better one of those that work")


@pytest.mark.parametrize(
    "silenced", ["sink muted", *(pytest.param(what, marks=pytest.mark.soak) for what in ("sink at 0", "stream muted"))]
)
def test_an_output_that_somebody_silenced_is_switched_on_and_what_was_not_heard_is_said_again(
    own_pulse: PulseChild, wearer: Wearer, silenced: str
) -> None:
    wearer.say(1)
    stream = own_pulse.control("list", "short", "sink-inputs").split("\t")[0]
    command = {
        "sink muted": ("set-sink-mute", SPEAKERS, "1"),
        "sink at 0": ("set-sink-volume", SPEAKERS, "0"),
        "stream muted": ("set-sink-input-mute", stream, "1"),
    }[silenced]
    until(lambda: not wearer.speakers._outputs.changed(), "calm")  # type: ignore[union-attr]
    own_pulse.control(*command)
    until(lambda: wearer.troubles[-1:] == [""], "the silence to be noticed and mended")
    assert len(wearer.troubles) == 2  # VoiceLost and VoiceFound: the policy says again what nobody heard
    was_off = silenced in ("sink muted", "sink at 0")  # a stream is made anew, unmuted
    assert wearer.voice.back_with == (SOUND_WAS_OFF if was_off else "")
    with own_pulse.record() as on_speakers:
        wearer.say(2)
        until(lambda: bool(loud(on_speakers(), RATE_HZ)) or np.abs(on_speakers()).max() > 400, "the note")


def test_a_stream_that_was_moved_to_another_sink_comes_back_in_the_next_pause(
    own_pulse: PulseChild, wearer: Wearer
) -> None:
    own_pulse.control("load-module", "module-null-sink", "sink_name=elsewhere")
    wearer.say(1)
    until(lambda: not wearer.speakers._outputs.changed(), "calm")  # type: ignore[union-attr]
    stream, at, *_ = own_pulse.control("list", "short", "sink-inputs").split("\t")
    own_pulse.control("move-sink-input", stream, "elsewhere")

    def is_back() -> bool:
        listed = own_pulse.control("list", "short", "sink-inputs").split("\t")
        return len(listed) > 1 and listed[0] != stream and listed[1] == at

    until(is_back, "the stream")
    assert (wearer.troubles, wearer.news) == ([], [])


def test_a_sound_server_that_hangs_is_left_alone_until_it_answers(own_pulse: PulseChild) -> None:
    """A second call into PortAudio beside the one that hangs would use what that one frees."""
    clock = ManualClock(CLOCK.monotonic_s())
    speakers = Speakers(clock, outputs=OutputList(CLOCK))
    speakers.open()
    before = {thread.ident for thread in threading.enumerate()}
    own_pulse.freeze()
    try:
        for _ in range(3):
            with pytest.raises(SoundSystemHangs):
                speakers.open()
        inside = [thread for thread in threading.enumerate() if thread.name == "sound output"]
        assert len(inside) == 1
        assert {thread.ident for thread in inside}.isdisjoint(before)
        hangs = [speakers.hangs]
        clock.now_s += HANGS_S + 1.0
        hangs.append(speakers.hangs)
    finally:
        own_pulse.thaw()
    until(lambda: not portaudio.hangs(), "the call to come back")
    speakers.open()
    assert (speakers.is_alive, *hangs, speakers.hangs) == (True, False, True, False)
    speakers.close()


def ears(samples: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    both = samples[: samples.size // 2 * 2].reshape(-1, 2).astype(np.float64)
    return both[:, 0], both[:, 1]


def played_and_heard(wearer: Wearer, sound: Callable[[], NDArray[np.int16]], side: Side) -> bool:
    """Play a warning's earcon and wait a moment for it: a busy machine's null sink may drop all of it."""
    wearer.voice.earcon("warning", side=side)
    with suppress(TimeoutError):
        until(lambda: bool(loud(sound(), 2 * RATE_HZ)), "the sound", timeout_s=2.0)
        return True
    return False


def rms(samples: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize(("side", "louder_db"), [(Side.LEFT, 10.0), (Side.RIGHT, -10.0), (Side.AHEAD, 0.0)])
def test_a_sound_is_heard_on_the_side_of_what_it_is_about(own_pulse: PulseChild, side: Side, louder_db: float) -> None:
    wearer = Wearer(stereo=True)
    try:
        with own_pulse.record(channels=2) as sound:
            until(lambda: played_and_heard(wearer, sound, side), "the sound")
            until(lambda: not sound()[-RATE_HZ // 2 :].any(), "its end")
            left, right = ears(sound())
    finally:
        wearer.voice.close()
    assert 20 * np.log10(rms(left) / rms(right)) == pytest.approx(louder_db, abs=1.0)


def test_speech_itself_stays_in_the_middle_and_stereo_off_plays_one_channel(own_pulse: PulseChild) -> None:
    wearer = Wearer(stereo=True)
    try:
        with own_pulse.record(channels=2) as sound:
            wearer.say(1, earcon="direction", side=Side.RIGHT)
            until(lambda: not sound()[-RATE_HZ // 4 :].any(), "silence")
            left, right = ears(sound())
        # 10 ms each: a busy machine's null sink drops blocks, so nothing here hangs on the moment
        pieces = [slice(at, at + RATE_HZ // 100) for at in range(0, len(left) - RATE_HZ // 100, RATE_HZ // 100)]
        ratios = [rms(right[piece]) / rms(left[piece]) for piece in pieces if rms(left[piece]) > 300]
        assert max(ratios) > 2
        assert min(ratios) > 0.9
        assert np.median(ratios) == pytest.approx(1.0, rel=0.02)
        assert wearer.speakers.channels == 2
    finally:
        wearer.voice.close()
    mono = Wearer(stereo=False)
    try:
        with own_pulse.record(channels=2) as sound:
            until(lambda: played_and_heard(mono, sound, Side.RIGHT), "the sound")
            until(lambda: not sound()[-RATE_HZ // 2 :].any(), "its end")
            left, right = ears(sound())
        assert rms(left) == pytest.approx(rms(right), rel=0.02)
    finally:
        mono.voice.close()


def test_a_far_ear_hears_later_and_the_three_kinds_of_sound_differ() -> None:
    near, far = earcons.earcon("warning", Side.LEFT).T
    lag = int(np.argmax(np.correlate(far[:800].astype(float), near[:800].astype(float), "full"))) - 799
    assert lag == round(0.0006 * earcons.SPEECH_RATE_HZ)
    kinds = ("warning", "direction", "answer")
    loudest = [np.abs(np.fft.rfft(earcons.earcon(kind), 22_050)) for kind in kinds]
    assert len({int(np.argmax(spectrum)) // 100 for spectrum in loudest}) == 3
    alike = [
        float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        for at, one in enumerate(loudest)
        for other in loudest[:at]
    ]
    assert max(alike) < 0.2
