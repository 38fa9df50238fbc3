"""Where the payload files of a dataset lie (pictures, sounds, clips): one small interface, and the folder of today.

A blob is named as rows and records name it, `frames/<sha256>.jpg`: a place, and the hash of its bytes. So what has a
name never changes, and the same name twice is the same bytes. Logs and the database are not behind this.

What every store promises, whatever it is made of (tests/server/dataset/test_blobs.py):

1. A blob is there whole or not at all. It is read by any thread and process.
2. What was adopted is there at once for this process, for all and durably once its place was settled. Until then the
   source or the blob survives a crash, and adopting it again does no harm. One settling is for all that came or went
   before it, so that a batch of the merge costs one for each place, and none for each file. What was adopted may be
   given back: it is a file again, and no blob.
3. What was removed is there for nobody, in no copy that `local` or `gathered` made, and for good once its place was
   settled.
4. What `local` and `gathered` give is only to be read. Where there is no blob, there is no file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared import atomic

PLACES = ("audio", "clips", "frames")


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """A blob, as a look at its place finds it."""

    name: str
    size: int
    changed_at_s: float
    """When it came, in seconds since 1970."""


class Blobs(Protocol):
    """A store of blobs. All raise OSError where it cannot be reached or written."""

    def adopt(self, name: str, source: Path) -> bool:
        """Take over a synced file of this machine; it is gone from where it was. Returns whether it is known to be new.
        Raises: FileNotFoundError where it is in neither place."""
        ...

    def give_back(self, name: str, source: Path) -> None:
        """Undo an adoption of what was new."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a blob, durable when this returns."""
        ...

    def settle(self, place: str) -> None:
        """Make durable what was adopted into a place, or removed from it."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a blob; None where there is none."""
        ...

    def read(self, name: str, *, first: int = 0, most: int | None = None) -> bytes:
        """At most so many of its bytes, from byte `first` on. Raises: FileNotFoundError."""
        ...

    def local(self, name: str) -> Path:
        """A file of this machine with its bytes, for those who need one: decoders, ranges for a browser."""
        ...

    def gathered(self, names: Iterable[str]) -> Path:
        """A folder of this machine in which these lie under their names, for those who read many, again and again. None
        named = where those of earlier calls lie."""
        ...

    def listed(self, place: str) -> Iterator[BlobEntry]:
        """All of a place, in no order."""
        ...

    def remove(self, names: Iterable[str]) -> frozenset[str]:
        """Delete them; those that are not there do no harm. Returns the places that are to be settled."""
        ...

    def withdraw(self, name: str, target: Path) -> None:
        """Take a blob out of the store into a file, durably, also one that cannot be read any more."""
        ...


def place_of(name: str) -> str:
    """What is settled after a blob of that name came or went."""
    return name.partition("/")[0]


def used(blobs: Blobs, place: str) -> int:
    """Bytes of a place."""
    return sum(entry.size for entry in blobs.listed(place))


def drop(blobs: Blobs, names: Iterable[str]) -> None:
    """Delete them for good."""
    for place in blobs.remove(names):
        blobs.settle(place)


@dataclass(frozen=True, slots=True)
class FolderBlobs:
    """Files below a folder, under their names. Adopting is a rename, settling the sync of one folder."""

    root: Path

    def adopt(self, name: str, source: Path) -> bool:
        """As Blobs has it; on the same file system."""
        target = self.root / name
        was_there = target.exists()
        try:
            os.replace(source, target)
        except FileNotFoundError:
            if not was_there:  # else a crash may have moved it before the database heard of it
                raise
        return not was_there

    def give_back(self, name: str, source: Path) -> None:
        """As Blobs has it: the rename back."""
        os.replace(self.root / name, source)

    def put(self, name: str, data: bytes) -> None:
        """As Blobs has it."""
        atomic.write_bytes(self.root / name, data)

    def settle(self, place: str) -> None:
        """As Blobs has it."""
        atomic.fsync_dir(self.root / place)

    def size(self, name: str) -> int | None:
        """As Blobs has it."""
        with suppress(FileNotFoundError, NotADirectoryError):
            found = (self.root / name).stat()
            if stat.S_ISREG(found.st_mode):
                return found.st_size
        return None

    def read(self, name: str, *, first: int = 0, most: int | None = None) -> bytes:
        """As Blobs has it."""
        with open(self.root / name, "rb") as file:
            file.seek(first)
            return file.read(-1 if most is None else most)

    def local(self, name: str) -> Path:
        """The file itself."""
        return self.root / name

    def gathered(self, names: Iterable[str]) -> Path:
        """The folder itself."""
        return self.root

    def listed(self, place: str) -> Iterator[BlobEntry]:
        """As Blobs has it; a running server removes files at any time."""
        with suppress(FileNotFoundError), os.scandir(self.root / place) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield BlobEntry(f"{place}/{entry.name}", found.st_size, found.st_mtime)

    def remove(self, names: Iterable[str]) -> frozenset[str]:
        """As Blobs has it."""
        names = tuple(names)
        for name in names:
            (self.root / name).unlink(missing_ok=True)
        return frozenset(place for place in map(place_of, names) if (self.root / place).is_dir())

    def withdraw(self, name: str, target: Path) -> None:
        """As Blobs has it: a rename."""
        atomic.move(self.root / name, target)
