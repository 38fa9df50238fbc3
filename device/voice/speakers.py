"""Speech out of a sound card, through PortAudio.

One stream stays open and plays silence between utterances: opening it for each would cost the first word 100 ms or
more on a Pi. Its callback only copies samples, so it keeps up while the model computes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from device.voice import buffering, portaudio, resting
from device.voice.audible import Audible
from device.voice.buffering import LEAST_S, MOST_S, Buffering
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Samples
from device.voice.output_list import OutputList
from device.voice.outputs import WORN, SoundOutput
from device.voice.portaudio import SoundSystemHangs
from device.voice.resting import Rests
from device.voice.sinks import UtteranceEnded, UtteranceStarted, VoiceEvent
from shared.clock import Clock
from shared.errors import MediaError
from shared.wav import resample

logger = logging.getLogger(__name__)

BLOCK_MS = 10
FADE_MS = 5  # a cut in the middle of a vowel clicks
DEAD_AFTER_S = 2.0  # no callback for this long: the sound card is gone (PortAudio reports nothing when it is unplugged)
CLOSE_TIMEOUT_S = 2.0  # PortAudio is known to hang in abort() after a card was unplugged
HANGS_S = 20.0  # so long in one call, the sound system does not come back: a new process may find another
CARD_RATE_HZ = 48_000
"""Of ALSA's shared output (dmix). With its own rate and channels nothing is converted inside alsa-lib, whose converters
check themselves with an assert (snd_pcm_plugin_status) that has ended the agent."""
MOST_DELAY_S = 1.0  # some drivers report nonsense as output time
HEADSET_LOST = "Headset lost."
HEADSET_CONNECTED = "Headset connected."
OUTPUT_CHANGED = "Sound output changed."
SOUND_WAS_OFF = "Sound was off."
OUTPUT_TEXTS = (HEADSET_LOST, HEADSET_CONNECTED, OUTPUT_CHANGED, SOUND_WAS_OFF)


class Speakers:
    """A sound card by name or index, the default one (None), or the best of `outputs` that works.

    With `outputs`, the next best takes over where one is lost, and the best comes back to its place while nothing is
    said. One that is listed and takes no sound is left alone for a while (device.voice.resting), and one that a sound
    server keeps silent is switched on (device.voice.audible). stereo: play two channels where the output has them.
    """

    silent = False

    def __init__(
        self, clock: Clock, *, device: str | int | None = None, outputs: OutputList | None = None, stereo: bool = False
    ) -> None:
        self._clock = clock
        self._device = device
        self._outputs = outputs
        self._stereo = stereo
        self._stream: Any = None
        self._rate_hz = SPEECH_RATE_HZ
        self._lock = threading.Lock()
        self._utterance: int | None = None
        self.channels = 1
        self._left = self._over = _silence(0, 1)
        self._gain = self._wanted_gain = 1.0
        self._begun = False
        self._ends_at_s: float | None = None
        self._heard: list[VoiceEvent] = []
        self._called_s = 0.0
        self._missed = 0
        """Looks of `watch` since PortAudio last asked for samples."""
        self._underruns = 0
        """Since the last watch, while something was said."""
        self._buffering = Buffering()
        self._open_buffer_s = LEAST_S
        self.output: SoundOutput | None = None
        """Where it plays; None = nowhere, or a device that was named by its number."""
        self._gone = self._off = self._better = self.was_lost = False
        self._rests: Rests = {}
        self._audible = Audible()
        self._opened_s = self._scanned_s = 0.0
        self._busy_since_s: float | None = None
        """Since when it is being opened."""
        self._ended = threading.Event()
        """PortAudio has ended the stream."""
        self._news = ""

    @property
    def wants_reopen(self) -> bool:
        """Opened again while nothing is said, it takes a better output, or a buffer that fits."""
        return self._better or self._buffering.buffer_s != self._open_buffer_s

    @property
    def is_alive(self) -> bool:
        """The output is listed and not silenced, and PortAudio still asks for samples: it reports nothing when a card
        is unplugged."""
        lost = self._gone or self._off or self._ended.is_set()
        return self._stream is not None and self._is_called and not lost

    @property
    def _is_called(self) -> bool:
        """Two looks in vain are needed, too: after a stall of this whole process the card is not to blame."""
        return self._clock.monotonic_s() - self._called_s <= DEAD_AFTER_S or self._missed < 2

    @property
    def hangs(self) -> bool:
        """A call into the sound system has not come back for HANGS_S: nothing will be heard of this process."""
        since_s = self._busy_since_s
        return since_s is not None and self._clock.monotonic_s() - since_s > HANGS_S

    @property
    def latency_s(self) -> float:
        """Of the open stream, as PortAudio has it."""
        return float(self._stream.latency)

    @property
    def environ(self) -> Mapping[str, str] | None:
        """What leads another program to the same output; empty where that is the system's default, None where nothing
        is open yet."""
        return None if self.output is None else self.output.environ

    def news(self) -> str:
        """What the wearer should know of the last open(), once: one of OUTPUT_TEXTS, "" = nothing."""
        news, self._news = self._news, ""
        return news

    def watch(self) -> None:
        """Look whether this output is still there, whether there is a better one, and how it stutters."""
        with self._lock:
            underruns, self._underruns = self._underruns, 0
            self._missed += 1
        before_s, now_s = self._buffering.buffer_s, self._clock.monotonic_s()
        self._buffering = buffering.step(self._buffering, underruns, now_s)
        if self._buffering.buffer_s != before_s:
            text = f"{self._buffering.buffer_s * 1000:.0f} ms ({LEAST_S * 1000:.0f} to {MOST_S * 1000:.0f})"
            logger.warning("The buffer of the sound output is %s from its next pause on.", text)
        if self._outputs is not None and self.output is not None:
            if self.is_alive and now_s - self._opened_s >= resting.WORKS_S:
                self._rests = resting.worked(self._rests, self.output.name)
            self._look_at_outputs(self._outputs, self.output, now_s)

    def _look_at_outputs(self, outputs: OutputList, place: SoundOutput, now_s: float) -> None:
        if not outputs.changed() and not resting.any_due(self._rests, self._scanned_s, now_s):
            return
        listed, self._scanned_s = outputs.scan(), now_s
        self._rests = resting.of(self._rests, (other.name for other in listed))
        self._gone = not _among(place, listed)
        self._off = not self._gone and self._audible.is_off(place)
        works = (other for other in listed if not resting.is_resting(self._rests, other.name, now_s))
        self._better = self._audible.moved or not _same(place, next(works, place))

    def open(self) -> None:
        """Raises: MediaError where there is no PortAudio or no such sound card."""
        # a hang lasts over the tries that it fails
        self._busy_since_s = self._busy_since_s or self._clock.monotonic_s()
        try:
            self._open()
        except SoundSystemHangs:
            raise
        except BaseException:
            self._busy_since_s = None
            raise
        self._busy_since_s = None

    def _open(self) -> None:
        dead = self._died_soon
        self._open_buffer_s = self._buffering.buffer_s
        self._close_stream()
        if self._outputs is None:
            self._open_place((self._device,), {}, 2)
            return
        listed = self._outputs.scan()
        now_s = self._scanned_s = self._clock.monotonic_s()
        self._rests = resting.of(self._rests, (other.name for other in listed))
        if self.output is not None and dead and self._outputs.answers and _among(self.output, listed):
            self._rests = resting.failed(self._rests, self.output.name, now_s)
        self._open_first(sorted(listed, key=lambda place: resting.is_resting(self._rests, place.name, now_s)))

    @property
    def _died_soon(self) -> bool:
        """It takes no sound, and has not for long; one that worked has a second try."""
        soon = self._clock.monotonic_s() - self._opened_s <= resting.WORKS_S
        return soon and self._stream is not None and (not self._is_called or self._ended.is_set())

    def _open_first(self, listed: Sequence[SoundOutput]) -> None:
        """The first of them that works. Raises: MediaError."""
        why: MediaError | None = None
        for place in listed:
            try:
                self._open_place(place.devices, place.environ, place.channels)
                was_off = self._audible.switch_on(place)
            except SoundSystemHangs:
                raise
            except MediaError as error:
                self._close_stream()
                self._rests = resting.failed(self._rests, place.name, self._clock.monotonic_s())
                why = why or error
                continue
            self._gone = self._off = self._better = False
            self._opened_s = self._clock.monotonic_s()
            self.was_lost = self.output is not None and not _among(self.output, listed)
            self._tell(self.output, place)
            if was_off:
                logger.warning("%s was muted; it is switched on.", place)
                self._news = self._news or SOUND_WAS_OFF
            self.output = place
            return
        assert why is not None  # there is always the default
        raise why

    def close(self) -> None:
        with self._lock:
            self._finish()
        self._close_stream()
        if self._outputs is not None:
            self._outputs.close()

    def play(self, utterance: int, samples: Samples) -> None:
        """As Sink.play: int16 [n] or [n, 2]. Raises: MediaError where the sound card stopped taking samples."""
        if not self.is_alive:
            raise MediaError("The sound output no longer takes sound.", hint="Plug the headphones in again.")
        shaped = self._shaped(samples)
        with self._lock:
            self._finish()
            self._gain = self._wanted_gain
            self._utterance, self._begun, self._ends_at_s = utterance, False, None
            self._left = shaped

    def loudness(self, gain: float) -> None:
        self._wanted_gain = gain

    def mix(self, samples: Samples) -> None:
        shaped = self._shaped(samples)
        with self._lock:
            self._over = shaped

    def cut(self) -> None:
        with self._lock:
            if self._utterance is None:
                return
            fade = min(len(self._left), self._rate_hz * FADE_MS // 1000)
            tail = self._left[:fade] * np.linspace(self._gain, 0, fade)[:, None]
            room = max(0, fade - len(self._over))
            over = np.pad(self._over, ((0, room), (0, 0))).astype(np.int32)
            over[:fade] += tail.astype(np.int32)
            self._over = np.clip(over, -32768, 32767).astype(np.int16)
            self._finish()

    def poll(self) -> list[VoiceEvent]:
        with self._lock:
            gone = not self.is_alive
            played = self._ends_at_s is not None and self._clock.monotonic_s() >= self._ends_at_s
            if self._utterance is not None and (gone or played):
                self._finish()
            heard, self._heard = self._heard, []
            return heard

    def _finish(self) -> None:
        if self._utterance is not None:
            self._heard.append(UtteranceEnded(self._utterance))
        self._utterance, self._ends_at_s = None, None
        self._left = self._left[:0]

    def _tell(self, before: SoundOutput | None, now: SoundOutput) -> None:
        """What to say of a change of place."""
        if before is None or _same(before, now):
            return
        logger.warning("Sound comes out of %s now, no longer out of %s.", now, before)
        if (before.kind in WORN) == (now.kind in WORN):
            self._news = OUTPUT_CHANGED
        else:
            self._news = HEADSET_CONNECTED if now.kind in WORN else HEADSET_LOST

    def _open_place(self, devices: Sequence[str | int | None], environ: Mapping[str, str], most_channels: int) -> None:
        """Open the first device that works. Raises: MediaError about the first of them where none does."""
        why: MediaError | None = None
        with _environment(environ):  # PortAudio lists only what it can open, so with it from the start
            sounddevice = portaudio.listed_anew()
            first_hz = CARD_RATE_HZ if "ALSA_CARD" in environ else SPEECH_RATE_HZ
            for device in devices:
                try:
                    self._stream = self._opened(sounddevice, device, most_channels, first_hz)
                    self._called_s, self._missed = self._clock.monotonic_s(), 0
                    self._stream.start()
                    return
                except (sounddevice.PortAudioError, ValueError) as error:
                    self._stream = None
                    name = "the default sound output" if device is None else f"the sound output {device!r}"
                    why = why or MediaError(
                        f"Speech cannot be played on {name}: {error}.",
                        hint="Plug in or choose headphones (voice.output), or use --speech FILE.wav or none.",
                    )
        assert why is not None
        raise why

    def _opened(self, sounddevice: Any, device: str | int | None, most_channels: int, first_hz: int) -> Any:
        """The stream at a first rate, at the voice's own, or at the card's where it takes no other; with two channels
        where it may and can."""
        last: Exception | None = None
        facts = sounddevice.query_devices(device, "output")
        default_hz, has = int(facts["default_samplerate"]), int(facts["max_output_channels"])
        channels = 2 if self._stereo and min(has, most_channels) >= 2 else 1
        ended = threading.Event()
        for rate_hz in dict.fromkeys((first_hz, SPEECH_RATE_HZ, default_hz)):
            try:
                stream = sounddevice.OutputStream(
                    samplerate=rate_hz,
                    channels=channels,
                    dtype="int16",
                    device=device,
                    latency=self._open_buffer_s,
                    blocksize=rate_hz * BLOCK_MS // 1000,
                    callback=self.fill,
                    finished_callback=ended.set,
                )
            except sounddevice.PortAudioError as error:
                last = error
            else:
                with self._lock:
                    self._rate_hz, self.channels, self._ended = rate_hz, channels, ended
                    self._left = self._over = _silence(0, channels)
                return stream
        assert last is not None
        raise last

    def _shaped(self, samples: Samples) -> Samples:
        """int16 [n, channels] at the stream's rate."""
        ways = samples.T if samples.ndim == 2 else samples[None]
        if len(ways) > self.channels:
            ways = ways.astype(np.int32).mean(axis=0)[None].astype(np.int16)
        resampled = np.stack([resample(way, SPEECH_RATE_HZ, self._rate_hz) for way in ways], axis=1)
        return np.broadcast_to(resampled, (len(resampled), self.channels))

    def fill(self, out: Any, frames: int, time: Any, status: Any) -> None:
        """PortAudio's callback: `frames` samples into `out` int16 [frames, channels]."""
        now_s = self._clock.monotonic_s()
        delay_s = min(max(0.0, time.outputBufferDacTime - time.currentTime), MOST_DELAY_S)
        with self._lock:
            self._underruns += bool(status.output_underflow) and self._utterance is not None
            self._called_s, self._missed = now_s, 0
            speech, over = self._left[:frames], self._over[:frames]
            block = np.zeros((frames, speech.shape[1]), np.int32)
            ramp = np.linspace(self._gain, self._wanted_gain, frames)  # a step in the middle of a vowel clicks
            self._gain = self._wanted_gain
            block[: len(speech)] += (speech * ramp[: len(speech), None]).astype(np.int32)
            block[: len(over)] += over
            if len(self._left) and not self._begun and self._utterance is not None:
                self._begun = True
                self._heard.append(UtteranceStarted(self._utterance, now_s + delay_s))
                self._ends_at_s = now_s + delay_s + len(self._left) / self._rate_hz
            self._left, self._over = self._left[frames:], self._over[frames:]
        out[:] = np.clip(block, -32768, 32767)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and not portaudio.called(CLOSE_TIMEOUT_S, lambda: stream.close(ignore_errors=True)):
            logger.warning("The sound output did not close; it is left behind.")


def _silence(frames: int, channels: int) -> Samples:
    return np.zeros((frames, channels), np.int16)


def _same(one: SoundOutput, other: SoundOutput) -> bool:
    return (one.through, one.name) == (other.through, other.name)


def _among(one: SoundOutput, listed: Sequence[SoundOutput]) -> bool:
    return any(_same(one, other) for other in listed)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set only while an output is opened: the microphone's process, started at another time, has its own card."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
