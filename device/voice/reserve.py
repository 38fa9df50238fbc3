"""Speech in reserve: silent while guidance is felt, heard while it is not.

A wearer who switched speech off and whose motors fail would have neither. From then on the voice speaks, until the
motors can be used again.
"""

from __future__ import annotations

from collections.abc import Callable

from device.voice.espeak import Samples
from device.voice.sinks import Sink, VoiceEvent


class SpeechInReserve:
    """As Sink: one that is silent, or, while `needed`, one that is heard. news: said when it is heard from now on."""

    def __init__(self, quiet: Sink, heard: Sink, *, needed: Callable[[], bool], news: str) -> None:
        self._quiet, self._heard = quiet, heard
        self._needed = needed
        self._text = news
        self._now = quiet
        self._news = ""

    @property
    def silent(self) -> bool:
        return self._now.silent

    @property
    def channels(self) -> int:
        return self._now.channels

    @property
    def was_lost(self) -> bool:
        return self._now.was_lost

    @property
    def wants_reopen(self) -> bool:
        return self._wanted is not self._now or self._now.wants_reopen

    @property
    def is_alive(self) -> bool:
        return self._now.is_alive

    @property
    def _wanted(self) -> Sink:
        return self._heard if self._needed() else self._quiet

    def watch(self) -> None:
        self._now.watch()

    def news(self) -> str:
        news, self._news = self._news, ""
        return news or self._now.news()

    def open(self) -> None:
        """Raises: MediaError where what is to be heard cannot be played."""
        before, self._now = self._now, self._wanted
        if before is not self._now:
            before.close()
            self._news = self._text if self._now is self._heard else ""
        self._now.open()

    def play(self, utterance: int, samples: Samples) -> None:
        self._now.play(utterance, samples)

    def loudness(self, gain: float) -> None:
        self._quiet.loudness(gain)
        self._heard.loudness(gain)

    def mix(self, samples: Samples) -> None:
        self._now.mix(samples)

    def cut(self) -> None:
        self._now.cut()

    def poll(self) -> list[VoiceEvent]:
        return self._quiet.poll() + self._heard.poll()

    def close(self) -> None:
        self._quiet.close()
        self._heard.close()
