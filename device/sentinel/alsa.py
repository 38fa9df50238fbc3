"""A sound out of an ALSA output, through libasound alone: not the agent's PortAudio, which may be what hangs.

"default" is what the system makes of it: a sound server where one runs, else the first card, shared between programs.
"""

from __future__ import annotations

import ctypes
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

from device.sentinel.sounds import RATE_HZ
from shared.errors import MediaError, Transient

CARDS = Path("/proc/asound/cards")
LATENCY_US = 100_000
_CARD = re.compile(r"^ *(\d+) \[(\S+) *\]: (.*(?:\n {6,}.*)?)", re.MULTILINE)
_EBUSY = 16
_PLAYBACK, _NONBLOCK, _S16_LE, _INTERLEAVED = 0, 1, 2, 3


class OutputBusy(Transient):
    """Another program has the sound output for itself."""


def library() -> ctypes.CDLL:
    """Raises: MediaError where it is not installed."""
    try:
        return ctypes.CDLL("libasound.so.2")
    except OSError:
        raise MediaError("There is no ALSA.", hint="Install it: sudo apt install libasound2.") from None


def outputs(wanted: str, cards: str, *, server: bool = False) -> Iterator[str]:
    """Names of ALSA outputs to try, in order. HDMI comes last: nobody wears a monitor.

    wanted: as in the settings: an ALSA name, or part of a card's name as PortAudio has it; "" = the default
    cards: /proc/asound/cards
    server: the default leads to a sound server, or somebody wrote where it leads; else it is the first card
    """
    found = [(number, f"{name} {text}".lower()) for number, name, text in _CARD.findall(cards)]
    named = re.search(r"hw:([\w=,]+)", wanted)
    if named:
        yield f"plughw:{named[1]}"
    elif wanted and not wanted.isdigit():
        yield from (f"plughw:{number}" for number, text in found if wanted.lower() in text)
        yield wanted
    yield from _unnamed(found, server=server)


def _unnamed(found: list[tuple[str, str]], *, server: bool) -> list[str]:
    """found: number and lower-case text of each card"""
    worn = [number for number, text in found if "hdmi" not in text]
    alone = [f"plughw:{number}" for number in worn]
    monitors = [f"plughw:{number}" for number, _ in found if number not in worn]
    if server or not found or found[0][0] in worn:
        return ["default", *alone, *monitors]
    return [*(f"sysdefault:{number}" for number in worn), *alone, "default", *monitors]  # the first are shared


def default_is_chosen(environ: Mapping[str, str]) -> bool:
    """Whether ALSA's default is more than the first card."""
    session = environ.get("XDG_RUNTIME_DIR", "/nonexistent")
    files = (f"{session}/pulse/native", f"{session}/pipewire-0", "/run/pulse/native", "/etc/asound.conf")
    return any(name in environ for name in ("PULSE_SERVER", "ALSA_CONFIG_PATH")) or any(map(os.path.exists, files))


def told_output(text: str) -> tuple[str, dict[str, str]] | None:
    """What the agent wrote of its own output (device.sentinel.board.OUTPUT), as a name and what leads there; None =
    nothing of use."""
    lines = (line.partition("=") for line in text.splitlines())
    told = {name: value for name, _, value in lines if name in ("ALSA_CARD", "PULSE_SINK", "PIPEWIRE_NODE")}
    if "ALSA_CARD" in told:
        return f"sysdefault:CARD={told['ALSA_CARD']}", {}
    return ("default", told) if "PULSE_SINK" in told else None


def play(lib: ctypes.CDLL, samples: array[int], wanted: str, told: str = "", *, skip: int = 0) -> None:
    """Play 16 bit samples at RATE_HZ to their end, on the first output that takes them. The process ends after it: its
    environment is changed. told: what the agent wrote of its own output, which comes first; skip: how many hung and
    come last

    raises: OutputBusy where one is held by another program and no other takes sound, MediaError where there is none
    """
    busy, why = False, "there is no sound output"
    ways = _ways(wanted, told)
    at = skip % len(ways)
    for name, environ in ways[at:] + ways[:at]:
        os.environ.update(environ)
        try:
            return _play_on(lib, name, samples)
        except OutputBusy as error:
            busy, why = True, str(error)
        except MediaError as error:
            why = why if busy else str(error)
        for gone in environ:
            os.environ.pop(gone, None)
    raise OutputBusy(why) if busy else MediaError(f"Nothing can be played: {why}.")


def _ways(wanted: str, told: str) -> list[tuple[str, dict[str, str]]]:
    """Outputs with what leads there, in the order in which they are tried. As play()."""
    cards = CARDS.read_text(errors="replace") if CARDS.exists() else ""
    listed = dict.fromkeys(outputs(wanted, cards, server=default_is_chosen(os.environ)))
    first = told_output(told)
    return ([] if first is None else [first]) + [(name, {}) for name in listed]


def _play_on(lib: ctypes.CDLL, name: str, samples: array[int]) -> None:
    pcm = ctypes.c_void_p()
    # A blocking open would wait for the program that has the output for itself.
    _check(lib, lib.snd_pcm_open(ctypes.byref(pcm), name.encode(), _PLAYBACK, _NONBLOCK), name)
    try:
        _check(lib, lib.snd_pcm_nonblock(pcm, 0), name)
        _check(lib, lib.snd_pcm_set_params(pcm, _S16_LE, _INTERLEAVED, 1, RATE_HZ, 1, LATENCY_US), name)
        data, at = samples.tobytes(), 0
        while at < len(data):
            written = lib.snd_pcm_writei(pcm, data[at:], ctypes.c_ulong((len(data) - at) // 2))
            if written < 0:
                _check(lib, lib.snd_pcm_recover(pcm, written, 1), name)
            else:
                at += 2 * written
        _check(lib, lib.snd_pcm_drain(pcm), name)
    finally:
        lib.snd_pcm_close(pcm)


def _check(lib: ctypes.CDLL, status: int, name: str) -> None:
    if status >= 0:
        return
    if -status == _EBUSY:
        raise OutputBusy(f"{name} is held by another program")
    lib.snd_strerror.restype = ctypes.c_char_p
    raise MediaError(f"{name}: {lib.snd_strerror(status).decode(errors='replace')}")
