"""The device's voice: espeak-ng → phrases → a sink (sound card, WAV file, or nothing)."""

from device.voice.espeak import Espeak, Synthesizer
from device.voice.phrases import Phrases
from device.voice.sinks import Sink, Timeline, UtteranceEnded, UtteranceStarted, VoiceEvent, WavFile
from device.voice.speakers import Speakers
from device.voice.voice import SpeechRate, Voice, VoiceUtterance

__all__ = [
    "Espeak",
    "Phrases",
    "Sink",
    "Speakers",
    "SpeechRate",
    "Synthesizer",
    "Timeline",
    "UtteranceEnded",
    "UtteranceStarted",
    "Voice",
    "VoiceEvent",
    "VoiceUtterance",
    "WavFile",
]
