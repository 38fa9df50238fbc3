"""PortAudio, which takes one call at a time and may hang in it.

A call that hangs is left behind on a thread of its own, and until it has come back no other is made: PortAudio has no
locks, and a second thread in it frees what the first one uses. An abort inside alsa-lib is how that ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from device.voice.alsa_lines import each_kind_once
from shared.background import Background
from shared.errors import MediaError

RESCAN_S = 5.0  # takes 0.1 s on an idle machine
_left_behind: list[Background] = []
"""The call that hangs, if one does."""


class SoundSystemHangs(MediaError):
    """No output can be tried before the call that hangs has come back."""


def hangs() -> bool:
    """A call has not come back in its time, and still does not."""
    return any(call.is_alive for call in _left_behind)


def called(timeout_s: float, call: Callable[[], object]) -> bool:
    """Call PortAudio. Whether it came back in time; at once False, without a call, while an earlier one hangs."""
    if hangs():
        return False
    work = Background(call, name="sound output")
    work.start()
    if work.close(timeout_s):
        return True
    _left_behind[:] = [work]
    return False


def listed_anew() -> Any:
    """The module sounddevice, with what can be played on now.

    PortAudio lists the sound cards when it starts: headphones plugged in later are found only by a new start.
    raises: MediaError where there is none, SoundSystemHangs
    """
    fresh = "sounddevice" not in sys.modules
    try:
        import sounddevice
    except OSError as error:
        raise MediaError(
            f"There is no sound output: {error}.", hint="Install PortAudio: sudo apt install libportaudio2."
        ) from None
    if not fresh and not called(RESCAN_S, lambda: _rescan(sounddevice)):
        raise SoundSystemHangs("The sound system hangs.", hint="Is the sound server stopped? It is tried again.")
    each_kind_once()
    return sounddevice


def _rescan(sounddevice: Any) -> None:
    sounddevice._terminate()
    sounddevice._initialize()
