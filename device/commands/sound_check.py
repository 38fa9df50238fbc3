"""Is anything heard or felt? Plays, and where the sound server lets it, records what came out and measures that.

Each check returns (ok, what was found, what to do about it); raises: MediaError where nothing can be played at all
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from device import build
from device.config import Config, is_replay
from device.tactile.patterns import WARNING, Buzz, pulses_of
from device.voice import earcons, output_list
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.output_list import asked, foreign_servers, server_info, server_of
from device.voice.outputs import CARD, SERVER, OutputKind, SoundOutput, is_named
from device.voice.sinks import UtteranceEnded
from device.voice.speakers import SOUND_WAS_OFF, Speakers
from shared.clock import Clock
from shared.errors import MediaError
from shared.sides import Side

Finding = tuple[bool, str, str]
NOTES_HZ = (660, 990)
"""Of the earcon "listening", which is played."""
PLAY_S = 5.0
LATE_S = 2.0
RECORD_S = 2.0
HEARD_DB = -50.0  # of full scale: the notes are at -13 dB, and at -33 at the least volume
BAND_HZ = 40.0
REACH = "See docs/sound.md, As a service: run the units as that user, or use ALSA without a sound server."


@dataclass(frozen=True, slots=True)
class Level:
    """How loud both notes came out of one side, in dB of full scale."""

    left_db: float
    right_db: float

    @property
    def is_heard(self) -> bool:
        return max(self.left_db, self.right_db) > HEARD_DB


def speaker(config: Config, clock: Clock) -> Finding:
    """The sound output takes two notes, which the wearer should hear."""
    if config.voice.speech != "speakers":
        return _without_speech(config)
    if config.capture.pace == "fast":
        return False, "nothing is heard of a replay as fast as possible", "Leave --pace fast out."
    speakers = build.speakers(config, clock)
    try:
        speakers.open()
    except MediaError as error:
        raise _with_servers(error) from None
    try:
        output = speakers.output
        with _monitor(output) as recorded:
            if not _played(speakers):
                return False, "the sound output takes nothing", "Plug the headphones in again."
            return _judged(config, speakers, _settled(recorded))
    finally:
        speakers.close()


def tactile(config: Config, clock: Clock) -> Finding:
    """The motors take a warning, on each side that has one."""
    motors = build.motors(config)
    if motors is None:
        return True, "not used", ""
    wanted, pause = config.tactile, threading.Event()
    sides = [side for side, place in ((Side.LEFT, wanted.left), (Side.RIGHT, wanted.right)) if place]
    try:
        motors.open()
        for side in sides:
            motors.buzz(Buzz(side, WARNING))
            pause.wait(pulses_of(WARNING).lasts_s + 0.3)
    finally:
        motors.close()
    return True, f"three pulses {' and then '.join(sides)}; did you feel them?", ""


def level(samples: NDArray[np.int16]) -> Level:
    """samples: [n, 2] at SPEECH_RATE_HZ. Of the quieter of the two notes on each side: both must have come out."""
    if len(samples) < SPEECH_RATE_HZ // 10:
        return Level(-120.0, -120.0)
    return Level(*(min(_note_db(samples[:, side], hertz) for hertz in NOTES_HZ) for side in (0, 1)))


def _note_db(samples: NDArray[np.int16], hertz: int) -> float:
    """RMS of one note over its own 60 ms, by the energy around it in the spectrum."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64) / 32768)) ** 2
    bins = np.abs(np.fft.rfftfreq(samples.size, 1 / SPEECH_RATE_HZ) - hertz) < BAND_HZ
    energy = 2 * float(spectrum[bins].sum()) / samples.size
    return 10 * float(np.log10(max(energy / (0.06 * SPEECH_RATE_HZ), 1e-12)))


def _without_speech(config: Config) -> Finding:
    found = f"nothing is heard: voice.speech is {config.voice.speech}"
    if is_replay(config):
        return True, found, ""
    if config.voice.speech == "none" and config.tactile.motors != "none":
        return True, f"{found}; guidance is felt", ""
    return False, found, 'Set it to "speakers".'


def _played(speakers: Speakers) -> bool:
    speakers.play(1, earcons.earcon("listening"))
    pause = threading.Event()
    for _ in range(round(PLAY_S / 0.05)):
        if UtteranceEnded(1) in speakers.poll():
            pause.wait(2 * speakers.latency_s + 0.3)  # until it has come out, and was recorded
            return True
        pause.wait(0.05)
    return False


def _settled(recorded: Callable[[], NDArray[np.int16] | None]) -> NDArray[np.int16] | None:
    """What was recorded, once the notes are in it; on a busy machine they come late, by LATE_S at most."""
    pause, samples = threading.Event(), recorded()
    for _ in range(round(LATE_S / 0.05)):
        if samples is None or level(samples).is_heard:
            break
        pause.wait(0.05)
        samples = recorded()
    return samples


def _judged(config: Config, speakers: Speakers, samples: NDArray[np.int16] | None) -> Finding:
    output, wanted = speakers.output, config.voice.output
    buffer = f"a buffer of {speakers.latency_s * 1000:.0f} ms, {'stereo' if speakers.channels == 2 else 'mono'}"
    found = f"played two notes on {_where(output)}, with {buffer}"
    if speakers.news() == SOUND_WAS_OFF:
        found += "; it was muted, and is switched on"
    if output is not None and wanted and not is_named(output, wanted):
        return False, f"{found}: {wanted!r} is not there", "Connect it, or change voice.output."
    if output is not None and output.kind is OutputKind.HDMI and not wanted:
        return (
            False,
            f"{found}: only a monitor plays that",
            "Connect a USB, analog or Bluetooth output (docs/sound.md).",
        )
    if samples is None:
        return True, f"{found}; did you hear them?{_unreachable()}", ""
    heard = level(samples)
    if not heard.is_heard:
        return (
            False,
            f"{found}, and nothing came out of it{_volume(output)}",
            "Turn it up: pactl set-sink-volume NAME 60%.",
        )
    return True, f"{found}; what came out of it: left {heard.left_db:.0f} dB, right {heard.right_db:.0f} dB", ""


def _where(output: SoundOutput | None) -> str:
    if output is None:
        return "the output with that number"
    if output.through == SERVER:
        return f"the {output} of {server_info().get('Server Name', 'the sound server')}"
    return f"the {output} of ALSA" if output.through == CARD else str(output)


def _volume(output: SoundOutput | None) -> str:
    """What the server says of the sink's volume, for a sink that was silent."""
    if output is None:
        return ""
    muted = (asked("get-sink-mute", output.name) or "").strip()
    volume = (asked("get-sink-volume", output.name) or "").split("/")
    said = [muted] if "yes" in muted else []
    said += [f"volume {volume[1].strip()}"] if len(volume) > 1 else []
    return f" ({', '.join(said)})" if said else ""


def _unreachable() -> str:
    """Of servers of other users, where this process has none."""
    if server_of(os.environ) is not None or output_list.pipewire_runs(os.environ):
        return ""
    others = sorted(f"{name} of user {owner}" for name, owner in foreign_servers().items())
    return f" Not reached from here: {', '.join(others)}." if others else ""


def _with_servers(error: MediaError) -> MediaError:
    """Where the servers are of other users, that is why."""
    text = _unreachable()
    return MediaError(f"{Exception.__str__(error)}{text}", hint=REACH if text else error.hint)


@contextmanager
def _monitor(output: SoundOutput | None) -> Iterator[Callable[[], NDArray[np.int16] | None]]:
    """Record what comes out of a server's sink: call the answer for the samples so far, int16 [n, 2]; None = there is
    no such record."""
    if output is None or output.through != SERVER:
        yield lambda: None
        return
    command = ["parec", f"--device={output.name}.monitor", "--format=s16le", "--channels=2", "--latency-msec=20"]
    with tempfile.TemporaryFile() as raw:
        try:
            child = subprocess.Popen(
                [*command, f"--rate={SPEECH_RATE_HZ}"], stdin=subprocess.DEVNULL, stdout=raw, stderr=subprocess.DEVNULL
            )
        except OSError:
            yield lambda: None
            return
        try:
            _begun(raw.fileno())
            yield lambda: _samples(raw)
        finally:
            child.kill()
            child.wait()


def _begun(file: int) -> None:
    """Wait until the record begins. A server that gives none is found silent by what is recorded."""
    pause = threading.Event()
    for _ in range(round(RECORD_S / 0.05)):
        if os.fstat(file).st_size:
            return
        pause.wait(0.05)


def _samples(raw: IO[bytes]) -> NDArray[np.int16]:
    raw.seek(0)
    whole = raw.read()
    return np.frombuffer(whole[: len(whole) // 4 * 4], np.int16).reshape(-1, 2)
