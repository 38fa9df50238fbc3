"""Speech out of a sound card, through PortAudio.

One stream stays open and plays silence between utterances: opening it for each would cost the first word 100 ms or
more on a Pi. Its callback only copies samples, so it keeps up while the model computes.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np

from device.voice.alsa_lines import each_kind_once
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Samples
from device.voice.sinks import UtteranceEnded, UtteranceStarted, VoiceEvent
from shared.background import within
from shared.clock import Clock
from shared.errors import MediaError
from shared.wav import resample

logger = logging.getLogger(__name__)

BLOCK_MS = 10
BUFFER_S = 0.02  # a cut must be silence within 50 ms: 28 to 40 measured with this, 29 to 69 with 30 ms …
MOST_BUFFER_S = 0.2  # … but a stuttering warning is worse than a late cut: doubled when the machine is too busy
STUTTERS = 8  # underruns after which it is doubled
FADE_MS = 5  # a cut in the middle of a vowel clicks
DEAD_AFTER_S = 2.0  # no callback for this long: the sound card is gone (PortAudio reports nothing when it is unplugged)
CLOSE_TIMEOUT_S = 2.0  # PortAudio is known to hang in abort() after a card was unplugged
MOST_DELAY_S = 1.0  # some drivers report nonsense as output time


class Speakers:
    """A sound card, by name, by index, or the default one (None)."""

    silent = False

    def __init__(self, clock: Clock, *, device: str | int | None = None) -> None:
        self._clock = clock
        self._device = device
        self._stream: Any = None
        self._opened_before = False
        self._rate_hz = SPEECH_RATE_HZ
        self._lock = threading.Lock()
        self._utterance: int | None = None
        self._left = np.zeros(0, np.int16)
        self._over = np.zeros(0, np.int16)
        self._gain = self._wanted_gain = 1.0
        self._begun = False
        self._ends_at_s: float | None = None
        self._heard: list[VoiceEvent] = []
        self._called_s = 0.0
        self._buffer_s = BUFFER_S
        self._stutters = 0

    @property
    def wants_reopen(self) -> bool:
        """It stutters: opened again while nothing is said, it takes a larger buffer."""
        return self._stutters >= STUTTERS and self._buffer_s < MOST_BUFFER_S

    @property
    def is_alive(self) -> bool:
        """PortAudio still asks for samples: it reports nothing when a card is unplugged."""
        return self._stream is not None and self._clock.monotonic_s() - self._called_s <= DEAD_AFTER_S

    @property
    def latency_s(self) -> float:
        """Of the open stream, as PortAudio has it."""
        return float(self._stream.latency)

    def open(self) -> None:
        """Raises: MediaError where there is no PortAudio or no such sound card."""
        if self.wants_reopen:
            self._buffer_s = min(MOST_BUFFER_S, 2 * self._buffer_s)
            logger.warning("The sound output stutters; its buffer is now %.0f ms.", self._buffer_s * 1000)
        self._stutters = 0
        self._close_stream()
        try:
            import sounddevice
        except OSError as error:
            raise MediaError(
                f"There is no sound output: {error}.", hint="Install PortAudio: sudo apt install libportaudio2."
            ) from None
        each_kind_once()
        if self._opened_before:
            within(CLOSE_TIMEOUT_S, lambda: _rescan(sounddevice), name="sound output")
        self._opened_before = True
        try:
            self._stream = self._opened(sounddevice)
            self._called_s = self._clock.monotonic_s()
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            self._stream = None
            name = "the default sound output" if self._device is None else f"the sound output {self._device!r}"
            raise MediaError(
                f"Speech cannot be played on {name}: {error}.",
                hint="Plug in or choose headphones (voice.output), or use --speech FILE.wav or none.",
            ) from None

    def play(self, utterance: int, samples: Samples) -> None:
        """As Sink.play: int16 [n]. Raises: MediaError where the sound card stopped taking samples."""
        if not self.is_alive:
            raise MediaError("The sound output no longer takes sound.", hint="Plug the headphones in again.")
        with self._lock:
            self._finish()
            self._gain = self._wanted_gain
            self._utterance, self._begun, self._ends_at_s = utterance, False, None
            self._left = resample(samples, SPEECH_RATE_HZ, self._rate_hz)

    def loudness(self, gain: float) -> None:
        self._wanted_gain = gain

    def mix(self, samples: Samples) -> None:
        with self._lock:
            self._over = resample(samples, SPEECH_RATE_HZ, self._rate_hz)

    def cut(self) -> None:
        with self._lock:
            if self._utterance is None:
                return
            fade = min(self._left.size, self._rate_hz * FADE_MS // 1000)
            tail = self._left[:fade] * np.linspace(self._gain, 0, fade)
            room = max(0, fade - self._over.size)
            over = np.pad(self._over, (0, room)).astype(np.int32)
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

    def close(self) -> None:
        with self._lock:
            self._finish()
        self._close_stream()

    def _finish(self) -> None:
        if self._utterance is not None:
            self._heard.append(UtteranceEnded(self._utterance))
        self._utterance, self._ends_at_s = None, None
        self._left = np.zeros(0, np.int16)

    def _opened(self, sounddevice: Any) -> Any:
        """The stream at the voice's own rate, or at the card's where it takes no other."""
        last: Exception | None = None
        default_hz = int(sounddevice.query_devices(self._device, "output")["default_samplerate"])
        for rate_hz in (SPEECH_RATE_HZ, default_hz):
            try:
                stream = sounddevice.OutputStream(
                    samplerate=rate_hz,
                    channels=1,
                    dtype="int16",
                    device=self._device,
                    latency=self._buffer_s,
                    blocksize=rate_hz * BLOCK_MS // 1000,
                    callback=self.fill,
                )
            except sounddevice.PortAudioError as error:
                last = error
            else:
                self._rate_hz = rate_hz
                return stream
        assert last is not None
        raise last

    def fill(self, out: Any, frames: int, time: Any, status: Any) -> None:
        """PortAudio's callback: `frames` samples into `out` int16 [frames, 1]."""
        now_s = self._clock.monotonic_s()
        delay_s = min(max(0.0, time.outputBufferDacTime - time.currentTime), MOST_DELAY_S)
        with self._lock:
            self._stutters += bool(status.output_underflow) and self._utterance is not None
            self._called_s = now_s
            block = np.zeros(frames, np.int32)
            ramp = np.linspace(self._gain, self._wanted_gain, frames)  # a step in the middle of a vowel clicks
            self._gain = self._wanted_gain
            speech, over = self._left[:frames], self._over[:frames]
            block[: speech.size] += (speech * ramp[: speech.size]).astype(np.int32)
            block[: over.size] += over
            if self._left.size and not self._begun and self._utterance is not None:
                self._begun = True
                self._heard.append(UtteranceStarted(self._utterance, now_s + delay_s))
                self._ends_at_s = now_s + delay_s + self._left.size / self._rate_hz
            self._left, self._over = self._left[frames:], self._over[frames:]
        out[:, 0] = np.clip(block, -32768, 32767)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and not within(
            CLOSE_TIMEOUT_S, lambda: stream.close(ignore_errors=True), name="sound output"
        ):
            logger.warning("The sound output did not close; it is left behind.")


def _rescan(sounddevice: Any) -> None:
    """PortAudio lists the sound cards when it starts: headphones plugged in later are found only by a new start."""
    sounddevice._terminate()
    sounddevice._initialize()
