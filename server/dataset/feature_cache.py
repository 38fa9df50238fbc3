"""What frozen networks made of pictures, kept across nights: computed once, read through a memory map.

    <folder>/<space>-<name>.safetensors    `values` [n, *shape]; in the header of each value its key, its picture, a CRC

A key is the SHA-256 of all that a value was made from: content, view, preprocessing, weights. A shard is written once
and never changed (shared.atomic), so a power cut leaves it whole or not there. It is deleted as a whole: when it is
damaged, when a picture in it was erased, or when the cache is full and nobody has used it for the longest time. All of
it can be computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from shared import atomic

FOLDER = "features"
"""In the server's home."""
SUFFIX = ".safetensors"
SHARD_BYTES = 64 * 1024 * 1024
"""Of values in one shard, at most: what is computed again after a power cut, and what is written at a time."""
SHARDS_MOST = 512
"""Each holds a file descriptor while a night reads it; processes have 1024."""
_VALUES = "values"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """One value's name."""

    key: str
    """Hex SHA-256 of all that it is made from."""
    picture: str = ""
    """Name of the dataset's file that it is made from, without its folder and ending; "" = of none."""


@dataclass(frozen=True, slots=True)
class _Shard:
    file: Path
    pieces: tuple[Piece, ...]
    checks: tuple[int, ...]
    """CRC-32 of each value."""
    offset: int
    """Of the first value in the file."""
    shape: tuple[int, ...]
    dtype: str


class FeatureCache:
    """Values of one shape. Not for several processes at once: a night's lock keeps others away."""

    def __init__(
        self,
        folder: Path,
        space: str,
        *,
        shape: tuple[int, ...],
        dtype: str = "<f2",
        most_bytes: int | None = None,
        progress: Progress = lambda text: None,
    ) -> None:
        """space: names what computes the values, in lower-case letters and digits; most_bytes: of the whole folder

        raises: OSError
        """
        self._folder, self._space, self._shape, self._dtype = folder, space, shape, np.dtype(dtype)
        self._most_bytes, self._progress = most_bytes, progress
        self._maps: dict[Path, NDArray[np.generic]] = {}
        self._at: dict[str, tuple[_Shard, int]] = {}
        self._whole: set[str] = set()
        self._used: set[Path] = set()
        atomic.make_dirs(folder)
        atomic.remove_leftovers(folder)
        for file in sorted(folder.glob(f"{space}-*{SUFFIX}")):
            self._open(file)

    @property
    def value_bytes(self) -> int:
        return int(np.prod(self._shape)) * self._dtype.itemsize

    @property
    def capacity(self) -> int | None:
        """How many values there is room for in all; None = there is no bound."""
        return None if self._most_bytes is None else self._most_bytes // self.value_bytes

    @property
    def shard_count(self) -> int:
        """Values in a full shard."""
        return max(1, SHARD_BYTES // self.value_bytes)

    def has(self, key: str) -> bool:
        """Whether the value is there and whole. The first look reads it, and counts as use of its shard.

        A damaged shard is dropped, and told.
        """
        if key in self._whole:
            return True
        if key not in self._at:
            return False
        shard, place = self._at[key]
        try:
            whole = zlib.crc32(self._values(shard)[place].tobytes()) == shard.checks[place]
        except (OSError, ValueError):  # erased since, or cut
            whole = False
        if whole:
            self._whole.add(key)
            self._touch(shard.file)
            return True
        self._drop(shard, f"{shard.file.name} in the feature cache is damaged: it is computed again")
        return False

    def __getitem__(self, key: str) -> NDArray[np.generic]:
        """[*shape], a view into the file. Raises: KeyError."""
        shard, place = self._at[key]
        value: NDArray[np.generic] = self._values(shard)[place]
        return value

    def add(self, pieces: Sequence[Piece], values: NDArray[np.generic]) -> None:
        """Write a shard. values: [n, *shape]. Raises: OSError (nothing is left behind)."""
        name = hashlib.sha256("".join(piece.key for piece in pieces).encode()).hexdigest()[:32]
        file = self._folder / f"{self._space}-{name}{SUFFIX}"
        kept = np.ascontiguousarray(values, self._dtype)
        about = [[piece.key, piece.picture, zlib.crc32(row.tobytes())] for piece, row in zip(pieces, kept, strict=True)]
        self._make_room(kept.nbytes)
        # Written, not mapped: on a full disk a mapped write ends the process (SIGBUS), this one says so (ENOSPC).
        atomic.write_bytes(file, save({_VALUES: kept}, {"pieces": json.dumps(about)}))
        self._open(file)
        self._used.add(file)

    def _touch(self, file: Path) -> None:
        """Now is its newest use: the shard that was not used for the longest time is evicted first."""
        if file not in self._used:
            self._used.add(file)
            os.utime(file)

    def _make_room(self, coming_bytes: int) -> None:
        if self._most_bytes is None:
            return
        sizes = sorted((file.stat().st_mtime_ns, file.stat().st_size, file) for file in _shards(self._folder))
        over, many = sum(size for _, size, _ in sizes) + coming_bytes - self._most_bytes, len(sizes) + 1 - SHARDS_MOST
        for _, size, file in sizes:
            if over <= 0 and many <= 0:
                return
            if file not in self._used:
                self._evict(file)
                over, many = over - size, many - 1

    def _evict(self, file: Path) -> None:
        for shard in {shard.file: shard for shard, _ in self._at.values()}.values():
            if shard.file == file:
                return self._drop(shard, None)
        file.unlink(missing_ok=True)  # of another base

    def _open(self, file: Path) -> None:
        try:
            shard = _header(file)
            if shard.shape != (len(shard.pieces), *self._shape) or shard.dtype != self._dtype.str:
                raise ValueError(f"values of {shard.shape}, {shard.dtype}")
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            self._progress(f"{file.name} in the feature cache is damaged: it is computed again")
            file.unlink(missing_ok=True)
            return
        self._at.update({piece.key: (shard, place) for place, piece in enumerate(shard.pieces)})

    def _drop(self, shard: _Shard, why: str | None) -> None:
        if why:
            self._progress(why)
        for piece in shard.pieces:
            self._at.pop(piece.key, None)
            self._whole.discard(piece.key)
        self._maps.pop(shard.file, None)
        shard.file.unlink(missing_ok=True)

    def _values(self, shard: _Shard) -> NDArray[np.generic]:
        if shard.file not in self._maps:
            self._maps[shard.file] = np.memmap(shard.file, shard.dtype, "r", shard.offset, shard.shape)
        return self._maps[shard.file]


def forget(folder: Path, pictures: Collection[str]) -> list[Path]:
    """Delete every shard that holds something of these pictures, e.g. because they were erased.

    pictures: names without folder and ending; returns the deleted files. raises: OSError
    """
    return _delete(folder, lambda named: not named.isdisjoint(pictures)) if pictures else []


def keep_only(folder: Path, pictures: Collection[str]) -> list[Path]:
    """Delete every shard that holds something of a picture that is not one of these. Raises: OSError."""
    return _delete(folder, lambda named: not named <= set(pictures))


def size_bytes(folder: Path) -> int:
    """Of all shards. Raises: OSError."""
    return sum(file.stat().st_size for file in _shards(folder))


def _delete(folder: Path, doomed: Callable[[set[str]], bool]) -> list[Path]:
    gone = []
    for file in _shards(folder):
        try:
            named = {piece.picture for piece in _header(file).pieces} - {""}
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            named = None  # of damaged ones nobody knows what is in them
        if named is None or doomed(named):
            file.unlink(missing_ok=True)
            gone.append(file)
    if gone:
        atomic.fsync_dir(folder)
    return gone


def _shards(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ()


def _header(file: Path) -> _Shard:
    """Raises: OSError; ValueError, KeyError, TypeError, struct.error where it is none of ours or cut."""
    with open(file, "rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > file.stat().st_size:
            raise ValueError("cut")
        header = json.loads(opened.read(length))
    about, of = json.loads(header["__metadata__"]["pieces"]), header[_VALUES]
    begin, end = of["data_offsets"]
    if 8 + length + end != file.stat().st_size:
        raise ValueError("cut")
    dtype = {"F16": "<f2", "I16": "<i2"}[of["dtype"]]
    pieces = tuple(Piece(str(key), str(picture)) for key, picture, _ in about)
    return _Shard(file, pieces, tuple(int(check) for *_, check in about), 8 + length + begin, tuple(of["shape"]), dtype)
