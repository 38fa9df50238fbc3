"""What a check found, and where a repair puts what it takes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared import atomic

FOLDER = "quarantine"


@dataclass(frozen=True, slots=True)
class HomeFinding:
    """One thing that is not as it should be."""

    what: str
    name: str
    """Which one: a row's, record's or file's name."""
    why: str = ""
    done: str = ""
    """What a repair did about it; "" = nothing."""
    lost: bool = False
    """Nobody has it any more."""
    remedy: str = ""
    """What a repair does about it."""

    @property
    def mended(self) -> bool:
        """It is as it should be again, and nothing was lost with it."""
        return bool(self.done) and not self.lost


def set_aside(home: Path, path: Path) -> str:
    """Move a file into quarantine, beside what lies there; its path inside the home."""
    number, name = 0, path.name
    while (home / FOLDER / name).exists():
        number += 1
        name = f"{path.name}.{number}"
    atomic.move(path, home / FOLDER / name)
    return f"{FOLDER}/{name}"
