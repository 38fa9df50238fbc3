"""The device's voice: espeak-ng → phrases → a sink (sound card, WAV file, or nothing)."""

from device.voice.espeak import Espeak, Synthesizer
from device.voice.phrases import Phrases
from device.voice.sinks import Ended, Heard, Sink, Started, Timeline, WavFile
from device.voice.speakers import Speakers
from device.voice.voice import Pace, Utterance, Voice

__all__ = [
    "Ended",
    "Espeak",
    "Heard",
    "Pace",
    "Phrases",
    "Sink",
    "Speakers",
    "Started",
    "Synthesizer",
    "Timeline",
    "Utterance",
    "Voice",
    "WavFile",
]
