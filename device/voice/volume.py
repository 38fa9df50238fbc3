"""<state>/volume.json: how loud the wearer last set the voice by button, so that it is as loud after a restart.

It holds as long as voice.volume is what it was then: a setting that was changed since wins. `keep` writes; a button's
thread never does.
"""

from __future__ import annotations

import json
from pathlib import Path

from shared import atomic

FILE = "volume.json"


class KeptVolume:
    """Any thread."""

    def __init__(self, state_dir: Path, *, setting: float, least: float) -> None:
        self._file = state_dir / FILE
        self._setting = setting
        self._kept = self._now = _read(self._file, setting, least)

    @property
    def now(self) -> float:
        """0.1 to 1"""
        return self._now

    def changed(self, volume: float) -> None:
        """The wearer pressed a button."""
        self._now = volume

    def keep(self) -> None:
        """Write it, where it is new. Raises: OSError."""
        now = self._now
        if now != self._kept:
            atomic.write_json(self._file, {"volume": now, "setting": self._setting})
            self._kept = now


def _read(file: Path, setting: float, least: float) -> float:
    try:
        value = json.loads(file.read_bytes())
        volume, made_with = float(value["volume"]), float(value["setting"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return setting
    return volume if made_with == setting and least <= volume <= 1 else setting
