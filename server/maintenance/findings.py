"""What a check found, and where a repair puts what it takes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.dataset.blobs import Blobs
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
    name = _free(home, path.name)
    atomic.move(path, home / FOLDER / name)
    return f"{FOLDER}/{name}"


def set_blob_aside(home: Path, blobs: Blobs, name: str) -> str:
    """The same with a payload file of the dataset."""
    free = _free(home, Path(name).name)
    blobs.withdraw(name, home / FOLDER / free)
    return f"{FOLDER}/{free}"


def _free(home: Path, wanted: str) -> str:
    number, name = 0, wanted
    while (home / FOLDER / name).exists():
        number += 1
        name = f"{wanted}.{number}"
    return name
