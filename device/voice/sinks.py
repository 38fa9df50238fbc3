"""Where speech goes: one contract, three places (speakers are in device.voice.speakers).

A sink plays one utterance at a time, and says when its first sample sounded and when its last one did. Two clocks:
`monotonic_s` of the machine for how long things took, and the walk's own time line for where in the walk they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Samples
from shared.clock import Clock
from shared.wav import WAV_HEADER_BYTES, wav_header


@dataclass(frozen=True, slots=True)
class UtteranceStarted:
    """The first sample of an utterance sounded."""

    utterance: int
    at_s: float
    """On the machine's monotonic clock, the sound card's delay included."""
    lead_s: float = 0.0
    """How long the earcon lasts that comes before its words; the voice knows."""


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """An utterance is over, played or cut."""

    utterance: int


VoiceEvent = UtteranceStarted | UtteranceEnded


class Sink(Protocol):
    """Somewhere to play. `play` and `cut` return at once."""

    @property
    def silent(self) -> bool:
        """Nothing is ever heard here: speech need not be rendered."""
        ...

    @property
    def channels(self) -> int:
        """2: a sound may come from one side. Of the output that is open."""
        ...

    def watch(self) -> None:
        """Look after itself; called twice a second, by one thread."""
        ...

    def news(self) -> str:
        """What the wearer should hear of the last open(), once: an announcement, "" = nothing."""
        ...

    @property
    def was_lost(self) -> bool:
        """At the last open() its place was found gone: what was said just before was not heard."""
        ...

    @property
    def wants_reopen(self) -> bool:
        """It would do better if it were opened again; asked while nothing is said."""
        ...

    @property
    def is_alive(self) -> bool:
        """What is played now is heard; asked while it is open."""
        ...

    def open(self) -> None:
        """Raises: MediaError where there is no such place."""
        ...

    def play(self, utterance: int, samples: Samples) -> None:
        """Begin an utterance; the one before has ended or was cut.

        samples: int16 [n], or [n, 2] for the left and the right ear, at SPEECH_RATE_HZ
        raises: MediaError where the sound card is gone
        """
        ...

    def loudness(self, gain: float) -> None:
        """0..1, of speech: of what is being said, within 20 ms, and of what follows."""
        ...

    def mix(self, samples: Samples) -> None:
        """Play a short earcon, int16 [n] or [n, 2] at SPEECH_RATE_HZ, as loud as it is, over speech if need be."""
        ...

    def cut(self) -> None:
        """Silence within 50 ms."""
        ...

    def poll(self) -> list[VoiceEvent]:
        """What happened since the last poll, in order."""
        ...

    def close(self) -> None:
        """Let go. May be called again; never hangs."""
        ...


def softened(samples: Samples, gain: float) -> Samples:
    """int16 [n] times a gain."""
    if gain == 1.0:
        return samples
    scaled: Samples = np.clip(np.rint(samples * gain), -32768, 32767).astype(np.int16)
    return scaled


class Timeline:
    """Utterances laid on the walk's time line; nothing sounds. With `file`, they are written into a WAV there."""

    channels = 1
    was_lost = False

    def __init__(
        self,
        walk_now: Callable[[], float],
        clock: Clock,
        *,
        file: WavFile | None = None,
        walk_end: Callable[[], float] | None = None,
    ) -> None:
        """walk_end: how long the file is in the end, where that is less than `walk_now` when it is closed."""
        self._walk_now = walk_now
        self._walk_end = walk_end or walk_now
        self._clock = clock
        self._file = file
        self._playing: tuple[int, float] | None = None
        self._gain = 1.0
        self._heard: list[VoiceEvent] = []

    @property
    def silent(self) -> bool:
        return self._file is None

    def watch(self) -> None:
        """Nothing to do."""

    def news(self) -> str:
        return ""

    @property
    def wants_reopen(self) -> bool:
        return False

    @property
    def is_alive(self) -> bool:
        return True

    def open(self) -> None:
        """Raises: OSError where the file cannot be written."""
        if self._file is not None:
            self._file.open()

    def play(self, utterance: int, samples: Samples) -> None:
        now_s = self._walk_now()
        if self._file is not None:
            self._file.place(softened(samples, self._gain), now_s)
        self._playing = (utterance, now_s + samples.size / SPEECH_RATE_HZ)
        if not self.silent:
            self._heard.append(UtteranceStarted(utterance, self._clock.monotonic_s()))

    def loudness(self, gain: float) -> None:
        if self._file is not None and self._playing is not None and gain != self._gain:
            self._file.scale(gain / self._gain, self._walk_now())
        self._gain = gain

    def mix(self, samples: Samples) -> None:
        if self._file is not None:
            self._file.mix(samples, self._walk_now())

    def cut(self) -> None:
        if self._playing is None:
            return
        if self._file is not None:
            self._file.cut(self._walk_now())
        self._heard.append(UtteranceEnded(self._playing[0]))
        self._playing = None

    def poll(self) -> list[VoiceEvent]:
        if self._playing is not None and self._walk_now() >= self._playing[1]:
            self._heard.append(UtteranceEnded(self._playing[0]))
            self._playing = None
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        if self._file is not None:
            self._file.close(self._walk_end())


class WavFile:
    """A WAV as long as the walk with the speech where it was said; a valid WAV at any time.

    Samples are written first and the two lengths in the header after them, so a reader (or a power cut) finds whole
    speech or less of it, never noise. It grows in place: half a walk's speech is worth having, unlike half a record,
    so this file does not go through shared.atomic.
    """

    MOST_SAMPLES = (2**32 - 1 - 36) // 2  # a RIFF length has 32 bits: 27 hours

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._samples = 0

    def open(self) -> None:
        """Raises: OSError. Opened again, after a full disk, it goes on with what is there."""
        if self._file is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "w+b")  # noqa: SIM115 - kept open for the walk, closed by close()
        self._set_length(0)

    def place(self, samples: Samples, at_s: float) -> None:
        """Put speech, int16 [n] at SPEECH_RATE_HZ, at `at_s`, or after what is there already."""
        start = max(round(at_s * SPEECH_RATE_HZ), self._samples)
        self._write(samples, start)

    def mix(self, samples: Samples, at_s: float) -> None:
        """Add a sound, int16 [n] at SPEECH_RATE_HZ, to what is there at `at_s`."""
        if self._file is None:
            return
        start = round(at_s * SPEECH_RATE_HZ)
        there = np.zeros(samples.size, np.int32)
        overlap = min(samples.size, self._samples - start)
        if overlap > 0:
            self._file.seek(WAV_HEADER_BYTES + 2 * start)
            there[:overlap] = np.frombuffer(self._file.read(2 * overlap), "<i2")
        self._write(np.clip(there + samples, -32768, 32767).astype(np.int16), start)

    def scale(self, factor: float, at_s: float) -> None:
        """Make everything after `at_s` louder or quieter."""
        start = max(0, round(at_s * SPEECH_RATE_HZ))
        if self._file is None or start >= self._samples:
            return
        self._file.seek(WAV_HEADER_BYTES + 2 * start)
        there = np.frombuffer(self._file.read(2 * (self._samples - start)), "<i2")
        self._write(softened(there, factor), start)

    def cut(self, at_s: float) -> None:
        """Forget everything after `at_s`."""
        keep = min(self._samples, max(0, round(at_s * SPEECH_RATE_HZ)))
        if self._file is not None and keep < self._samples:
            self._set_length(keep)
            self._file.truncate(WAV_HEADER_BYTES + 2 * keep)

    def close(self, at_s: float) -> None:
        """Fill up with silence to `at_s`, the end of the walk."""
        if self._file is None:
            return
        missing = round(at_s * SPEECH_RATE_HZ) - self._samples
        if missing > 0:
            self._write(np.zeros(0, np.int16), self._samples + missing)
        self._file.close()
        self._file = None

    def _write(self, samples: Samples, start: int) -> None:
        end = start + samples.size
        if self._file is None or end > self.MOST_SAMPLES:
            return
        if end > self._samples:
            # Silence between utterances takes no blocks on most disks.
            self._file.truncate(WAV_HEADER_BYTES + 2 * end)
        self._file.seek(WAV_HEADER_BYTES + 2 * start)
        self._file.write(samples.astype("<i2").tobytes())
        self._set_length(max(end, self._samples))

    def _set_length(self, samples: int) -> None:
        assert self._file is not None
        self._file.flush()
        self._file.seek(0)
        self._file.write(wav_header(samples, SPEECH_RATE_HZ))
        self._file.flush()
        self._samples = samples
