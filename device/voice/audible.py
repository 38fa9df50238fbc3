"""Whether a sound server lets be heard what this process plays, asked of `pactl`; what is off is switched on.

A sink that somebody muted, or a stream whose mute the server remembers from last week, takes every sample and plays
none: the walker hears what a free way sounds like. How loud waycue is, and that it is mute, is set by its own buttons.
Only silence is touched: a sink that is soft stays as soft as the wearer has set it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from device.voice.output_list import asked
from device.voice.outputs import SERVER, SoundOutput
from shared.errors import MediaError

SILENT_PERCENT = 15  # a server's percents are cubic: -49 dB, lost in any street
SINK_PERCENT, STREAM_PERCENT = 40, 100  # -24 dB: clearly heard, and no shock in a loud headset
_BLOCK = re.compile(r"^(Sink|Sink Input) #(\d+)\n", re.MULTILINE)
_FIELD = re.compile(r"^\t(Name|Sink|Mute|Volume): (.*)$", re.MULTILINE)
_PERCENT = re.compile(r"(\d+)%")
_PROCESS = re.compile(r'^\t\tapplication\.process\.id = "(\d+)"$', re.MULTILINE)
Ask = Callable[..., str | None]


@dataclass(frozen=True, slots=True)
class ServerVolume:
    """How a server plays one sink, or one stream into a sink."""

    kind: str
    """sink or sink-input, as in pactl's commands."""
    number: str
    name: str
    """Of the sink; "" for a stream."""
    sink: str
    """Number of the sink that a stream goes into."""
    process: int
    """That owns the stream; 0 = none."""
    muted: bool
    percent: int | None
    """Of the loudest channel; None = not told."""

    @property
    def is_silent(self) -> bool:
        return self.muted or (self.percent is not None and self.percent <= SILENT_PERCENT)


def volumes(listed: str) -> Iterator[ServerVolume]:
    """Of `pactl list sinks` or `pactl list sink-inputs`."""
    pieces = _BLOCK.split(listed)[1:]
    for kind, number, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        fields = dict(_FIELD.findall(text))
        process = _PROCESS.search(text)
        percents = [int(percent) for percent in _PERCENT.findall(fields.get("Volume", ""))]
        yield ServerVolume(
            "sink" if kind == "Sink" else "sink-input",
            number,
            fields.get("Name", ""),
            fields.get("Sink", ""),
            int(process[1]) if process else 0,
            fields.get("Mute") == "yes",
            max(percents, default=None),
        )


class Audible:
    """Of one output after the other. ask: as device.voice.output_list.asked."""

    def __init__(self, *, process: int | None = None, ask: Ask = asked) -> None:
        self._process = os.getpid() if process is None else process
        self._ask = ask
        self._streams: dict[str, str] = {}
        """Own streams by number, and the sink that each went into when it was first seen."""
        self.moved = False
        """At the last `is_off`: a server moves streams by itself, such as when its default changes."""

    def switch_on(self, output: SoundOutput) -> bool:
        """Have heard what is played on an output that was just opened. Whether something was off.

        raises: MediaError where it stays off
        """
        silent = [one for one in self._of(output) if one.is_silent]
        for one in silent:
            self._ask(f"set-{one.kind}-mute", one.number, "0")
            if one.percent is not None and one.percent <= SILENT_PERCENT:
                percent = SINK_PERCENT if one.kind == "sink" else STREAM_PERCENT
                self._ask(f"set-{one.kind}-volume", one.number, f"{percent}%")
        found = list(self._of(output))
        self._streams = {}
        self._follow(found)
        if silent and any(one.is_silent for one in found):
            raise MediaError(f"{output} is muted, and cannot be switched on.", hint="Choose another (voice.output).")
        return bool(silent)

    def is_off(self, output: SoundOutput) -> bool:
        """Somebody muted it since it was opened."""
        found = list(self._of(output))
        self._follow(found)
        return any(one.is_silent for one in found)

    def _follow(self, found: Iterable[ServerVolume]) -> None:
        now = {one.number: one.sink for one in found if one.kind == "sink-input"}
        self._streams = now | self._streams
        self.moved = any(self._streams[number] != sink for number, sink in now.items())

    def _of(self, output: SoundOutput) -> Iterable[ServerVolume]:
        if output.through != SERVER:
            return
        listed = (volumes(self._ask("list", what) or "") for what in ("sinks", "sink-inputs"))
        for one in (one for all_of in listed for one in all_of):
            if one.name == output.name or one.process == self._process:
                yield one
