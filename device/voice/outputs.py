"""Which sound output to use: a pure choice from what the system lists.

Two kinds of places are listed: sinks of a sound server (PulseAudio, or PipeWire with pipewire-pulse), by
`pactl list short sinks`, and the cards of ALSA, by /proc/asound. In order: what voice.output names; sinks of a server
before cards, because a server that runs holds the cards; its default sink, which somebody chose, unless that is HDMI;
then Bluetooth, USB, analog, and HDMI last. Raspberry Pi OS Lite makes HDMI the default, and nobody wears a monitor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class OutputKind(StrEnum):
    """What sound comes out of, the best first."""

    BLUETOOTH = "Bluetooth"
    USB = "USB"
    ANALOG = "analog"
    HDMI = "HDMI"
    DUMMY = "nowhere"


_ORDER = tuple(OutputKind)
WORN = frozenset((OutputKind.BLUETOOTH, OutputKind.USB))
"""Kinds that come and go while a wearer walks."""
SERVER, CARD, NAMED, DEFAULT = "server", "card", "named", "default"
_CARD = re.compile(r"^ *(\d+) \[(\S+) *\]: (.*(?:\n {6,}.*)?)", re.MULTILINE)
_PLAYS = re.compile(r"^(\d+)-(\d+):.*\bplayback\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SoundOutput:
    """One place to play."""

    name: str
    """Of the sink, or the id of the card."""
    kind: OutputKind
    through: str
    """SERVER, CARD, NAMED (a device of ALSA that no list shows, such as bluealsa), or DEFAULT: whatever the system has
    for that."""
    text: str = ""
    """What the card calls itself."""
    number: int = 0
    """Of the card."""
    channels: int = 2
    is_default: bool = False
    """The server plays there what names no sink."""

    @property
    def devices(self) -> tuple[str | None, ...]:
        """Names of PortAudio's devices that lead there with `environ` set, in the order in which they are tried."""
        if self.through == SERVER:
            return ("pulse", "pipewire", "default")
        if self.through == CARD:
            return ("sysdefault", f"(hw:{self.number},")
        return (self.name,) if self.through == NAMED else (None,)

    @property
    def environ(self) -> Mapping[str, str]:
        """What libpulse, pipewire-alsa and ALSA read while the output is opened."""
        if self.through == SERVER:
            return {"PULSE_SINK": self.name, "PIPEWIRE_NODE": self.name}
        return {"ALSA_CARD": self.name} if self.through == CARD else {}

    def __str__(self) -> str:
        if self.through == DEFAULT:
            return "the system's default output"
        return f"{self.kind} output {self.name}" + (f" ({self.text})" if self.text else "")


ANY = SoundOutput("", OutputKind.ANALOG, DEFAULT)
"""Where nothing is listed, or somebody has written what ALSA's default is."""


def sinks(listed: str, default: str) -> tuple[SoundOutput, ...]:
    """Of `pactl list short sinks`: number, name, module, format and state, parted by tabs. default: its name."""
    rows = (line.split("\t") for line in listed.splitlines())
    return tuple(
        SoundOutput(row[1], _kind_of_sink(row[1]), SERVER, channels=_channels(row[3]), is_default=row[1] == default)
        for row in rows
        if len(row) >= 4
    )


def cards(listed: str, streams: str) -> tuple[SoundOutput, ...]:
    """Cards that can play. listed: /proc/asound/cards; streams: /proc/asound/pcm"""
    playing = {int(number) for number, _ in _PLAYS.findall(streams)}
    found = _CARD.findall(listed)
    return tuple(
        SoundOutput(name, _kind_of_card(f"{name} {text}"), CARD, text.split("\n")[0].strip(), number=int(number))
        for number, name, text in found
        if int(number) in playing
    )


def ranked(
    found: Iterable[SoundOutput], *, wanted: str = "", default_written: bool = False, server_expected: bool = False
) -> tuple[SoundOutput, ...]:
    """Outputs to try, the best first; the system's own default is always among them.

    wanted: voice.output, part of a name; default_written: somebody has written what ALSA's default is;
    server_expected: a sound server runs, to which ALSA's default leads, whether or not its sinks can be listed
    """
    order = sorted(found, key=_worth)
    named = _named(order, wanted)
    rest = [output for output in order if output not in named and output.kind is not OutputKind.DUMMY]
    of_server = [output for output in rest if output.through == SERVER]
    of_cards = [output for output in rest if output.through == CARD]
    if default_written or server_expected:
        return (*named, *of_server, ANY, *of_cards)
    return (*named, *of_server, *of_cards, ANY)


def _named(order: Iterable[SoundOutput], wanted: str) -> list[SoundOutput]:
    """The outputs that the settings name; one that no list shows may be known to PortAudio."""
    listed = [output for output in order if is_named(output, wanted)]
    return listed if listed or not wanted else [SoundOutput(wanted, _kind_of_card(wanted), NAMED)]


def is_named(output: SoundOutput, wanted: str) -> bool:
    """Whether voice.output names this one: by part of its name, or as ALSA writes a card (hw:2,0)."""
    if not wanted:
        return False
    by_number = re.search(r"hw:(\d+)", wanted)
    if by_number and output.through == CARD:
        return output.number == int(by_number[1])
    return wanted.lower() in f"{output.name} {output.text}".lower()


def _worth(output: SoundOutput) -> tuple[bool, bool, int]:
    chosen = output.is_default and output.kind is not OutputKind.HDMI
    return output.through != SERVER, not chosen, _ORDER.index(output.kind)


def _kind_of_sink(name: str) -> OutputKind:
    plain = name.lower()
    if plain in ("auto_null", "dummy-driver"):
        return OutputKind.DUMMY
    if plain.startswith("bluez"):
        return OutputKind.BLUETOOTH
    if "hdmi" in plain or "displayport" in plain:
        return OutputKind.HDMI
    return OutputKind.USB if ".usb-" in plain else OutputKind.ANALOG


def _kind_of_card(text: str) -> OutputKind:
    plain = text.lower()
    if "bluealsa" in plain or "bluetooth" in plain:
        return OutputKind.BLUETOOTH
    if re.search(r"hdmi|tegra-hda|hda nvidia", plain):
        return OutputKind.HDMI
    if re.search(r"loopback|snd-dummy|tegra-ape", plain):  # the last: a Jetson's inner bus, wired to nothing
        return OutputKind.DUMMY
    return OutputKind.USB if "usb" in plain else OutputKind.ANALOG


def _channels(form: str) -> int:
    """Of a sample specification such as "s16le 2ch 48000Hz"."""
    found = re.search(r"(\d+)ch", form)
    return int(found[1]) if found else 2
