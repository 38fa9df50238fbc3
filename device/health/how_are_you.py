"""The answer to "how are you?": battery, network, what waits, in one short line of sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BATTERY = "Battery 50 percent."
CONNECTED = "Connected."
NOT_CONNECTED = "Not connected."
NO_SERVER = "No server."
NOTHING_WAITS = "Nothing waits."
ONE_WAITS = "1 moment waits."
SOME_WAIT = "50 moments wait."
NOT_RECORDING = "Recording is paused."
HOW_TEXTS = (BATTERY, CONNECTED, NOT_CONNECTED, NO_SERVER, NOTHING_WAITS, ONE_WAITS, SOME_WAIT, NOT_RECORDING)
"""Sentences of the line; 50 stands for a number."""
_NUMBER = "50"


@dataclass(frozen=True, slots=True)
class Wellbeing:
    """How the device is."""

    battery_percent: int | None
    """None = not known: nothing is said of it."""
    online: bool | None
    """None = there is no server to be online with."""
    waiting: int
    """Records that wait for the server."""
    recording: bool = True
    trouble: str = ""
    """An announcement about what is wrong now, "" = nothing."""


def line(found: Wellbeing) -> str:
    """What to say."""
    sentences = [] if found.battery_percent is None else [BATTERY.replace(_NUMBER, str(found.battery_percent))]
    sentences.append({None: NO_SERVER, True: CONNECTED, False: NOT_CONNECTED}[found.online])
    counted = SOME_WAIT.replace(_NUMBER, str(found.waiting))
    sentences.append({0: NOTHING_WAITS, 1: ONE_WAITS}.get(found.waiting, counted))
    sentences += [] if found.recording else [NOT_RECORDING]
    sentences += [found.trouble] if found.trouble else []
    return " ".join(sentences)
