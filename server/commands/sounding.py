"""A chunk's sound, played by the program that the machine has for that; the newest one stops the one before."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PLAYERS = (("pw-play",), ("paplay",), ("aplay", "-q"), ("afplay",), ("ffplay", "-nodisp", "-autoexit", "-v", "quiet"))


@dataclass(slots=True)
class SoundPlayer:
    """Plays one file at a time, and waits for none."""

    command: tuple[str, ...]
    _playing: subprocess.Popen[bytes] | None = None

    @classmethod
    def found(cls) -> SoundPlayer | None:
        """The first program of this machine that can, or None."""
        command = next((player for player in _PLAYERS if shutil.which(player[0])), None)
        return cls(command) if command else None

    def play(self, path: Path) -> None:
        """Begin; returns at once. Raises: OSError."""
        self.stop()
        null = subprocess.DEVNULL
        self._playing = subprocess.Popen([*self.command, str(path)], stdin=null, stdout=null, stderr=null)

    def stop(self) -> None:
        """Be silent."""
        if self._playing is not None:
            self._playing.kill()
            self._playing.wait()
            self._playing = None
