"""A night's graphs as a difference to the base's: `night.delta`, with which a device makes files instead of fetching.

    <bundle>/night.delta     b"WCDELTA1", length of the header (4 bytes, big endian), header (JSON), data of the patches

A file that the bundle lists is the base's file of the same length with patches: bytes that are exchanged (`raw`), or a
product of two int16 matrices that is added to weights (`float` for float32, `blocks` for those of an 8-bit MatMulNBits,
whose blocks get another scale where the old one does not reach). What comes out is proven by the hash of the file in
the manifest, as if it had been fetched: a delta can save bytes and nothing else.

Every machine makes the same bytes, because nothing is left to it: the product is one of integers, exact in float64 in
whatever order it is summed up; all else is single operations of IEEE 754 and the rounding is dithered by a counter.
Dithered: base weights lie on the grid already, so that a change of less than half a step would be lost everywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared import atomic, strict
from shared.bundle import MAX_BUNDLE_BYTES
from shared.errors import BundleError, MessageError
from shared.strict import Items, Sha256, Text

MAGIC = b"WCDELTA1"
MAX_HEADER_BYTES = 1024 * 1024
MAX_RANK = 256
COPY_BYTES = 1024 * 1024
ROWS_WEIGHTS = 256 * 1024
"""Weights that are worked on at one time: about 10 MB of float64."""
ZERO, LEAST, MOST = 128, -128, 127
"""What stands for 0 in MatMulNBits with 8 bits, and how far its steps reach."""
FACTOR_MOST = 32_767
Offset = Annotated[int, Meta(ge=0, le=MAX_BUNDLE_BYTES)]
Side = Annotated[int, Meta(ge=0, le=2**31)]


@dataclass(frozen=True, slots=True)
class Patch:
    """One change of a file. Of `raw` only `at` and `size_bytes` count."""

    kind: Literal["raw", "float", "blocks"]
    at: Offset
    """Where the bytes, or the weights [rows, columns], begin."""
    size_bytes: Offset
    """Of its data in night.delta: the bytes, or left [rows, rank] and right [rank, columns], int16, little endian."""
    rows: Side = 0
    columns: Side = 0
    rank: Annotated[int, Meta(ge=0, le=MAX_RANK)] = 0
    factor: float = 0.0
    """What a 1 in the product stands for."""
    scales_at: Offset = 0
    """Of `blocks`: where the scales, float32 [rows, columns / block], begin."""
    block: Side = 0


@dataclass(frozen=True, slots=True)
class PatchedFile:
    """A file of the bundle, made from one of the base."""

    path: Text
    base_sha256: Sha256
    size_bytes: Offset
    """Of both."""
    patches: Annotated[tuple[Patch, ...], Items]


@dataclass(frozen=True, slots=True)
class Header:
    files: Annotated[tuple[PatchedFile, ...], Items]


@dataclass(frozen=True, slots=True)
class Delta:
    """A night.delta that was read."""

    path: Path
    files: tuple[PatchedFile, ...]
    data_at: tuple[int, ...]
    """Where the data of each file's patches begin."""


def write(path: Path, files: Sequence[tuple[PatchedFile, Iterable[bytes]]]) -> None:
    """Write a night.delta, durably. files: each with the data of its patches, in their order. Raises: OSError."""
    header = msgspec.json.encode(strict.plain(Header(tuple(file for file, _ in files))))
    with atomic.writing(path) as out:
        out.write(MAGIC + struct.pack(">I", len(header)) + header)
        for _, data in files:
            out.writelines(data)


def read(path: Path) -> Delta:
    """Read a night.delta strictly, without its data. Raises: BundleError, OSError."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(len(MAGIC) + 4)
        length = struct.unpack(">I", start[-4:])[0] if start[:-4] == MAGIC else MAX_HEADER_BYTES + 1
        data = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        files = strict.decode(Header, data, limit=MAX_HEADER_BYTES).files
    except MessageError as error:
        raise BundleError(f"{path.name} cannot be read: {error}", hint="The files are fetched instead.") from None
    at, places = len(start) + length, []
    for patched in files:
        places.append(at)
        for patch in patched.patches:
            _check(patch, patched, path)
            at += patch.size_bytes
    if at != size:
        raise BundleError(f"{path.name} has {size} bytes; its patches have {at}.", hint="The files are fetched.")
    return Delta(path, files, tuple(places))


def _check(patch: Patch, of: PatchedFile, path: Path) -> None:
    if patch.kind == "raw":
        fits = patch.at + patch.size_bytes <= of.size_bytes
    else:
        weights = patch.rows * patch.columns * (4 if patch.kind == "float" else 1)
        fits = patch.at + weights <= of.size_bytes and patch.size_bytes == 2 * patch.rank * (patch.rows + patch.columns)
        fits = fits and 0 < patch.columns <= ROWS_WEIGHTS
    if patch.kind == "blocks":
        whole = patch.block > 0 and patch.columns % patch.block == 0
        fits = fits and whole and patch.scales_at + 4 * patch.rows * (patch.columns // patch.block) <= of.size_bytes
    if not fits:
        raise BundleError(f"{path.name}: a patch of {of.path} does not fit its file.", hint="The files are fetched.")


def assemble(delta: Delta, path: str, base: Path, out: BinaryIO) -> None:
    """Write the bundle's file `path` to `out`, made from the base's file: a few MB of memory, whatever its size.

    out: empty, at its start
    raises: BundleError, OSError
    """
    index = next(at for at, file in enumerate(delta.files) if file.path == path)
    patched = delta.files[index]
    with open(delta.path, "rb") as data, open(base, "rb") as source:
        while piece := source.read(COPY_BYTES):
            _write(out, out.tell(), piece)
        if out.tell() != patched.size_bytes:
            raise BundleError(f"{base.name} has {out.tell()} bytes, {delta.path.name} is for {patched.size_bytes}.")
        data.seek(delta.data_at[index])
        for patch in patched.patches:
            for at, piece in _pieces(patch, data, source):
                _write(out, at, piece)


def _write(out: BinaryIO, at: int, data: bytes) -> None:
    """All of it, also where `out` has no buffer and takes a part at a time."""
    out.seek(at)
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]


def _pieces(patch: Patch, data: BinaryIO, base: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(where, bytes) that take the place of the base's."""
    if patch.kind == "raw":
        for start in range(0, patch.size_bytes, COPY_BYTES):
            yield patch.at + start, data.read(min(COPY_BYTES, patch.size_bytes - start))
        return
    left = _array(data, "<i2", patch.rows, patch.rank)
    right = _array(data, "<i2", patch.rank, patch.columns).astype(np.float64)
    step = max(1, ROWS_WEIGHTS // patch.columns)
    for row in range(0, patch.rows, step):
        some = left[row : row + step].astype(np.float64)
        # Integers below 2^53: the sum is exact in any order, with or without fused multiplication.
        change = (some @ right) * patch.factor
        yield from (_floats if patch.kind == "float" else _blocks)(patch, row, change, base)


Change = NDArray[np.float64]
"""[rows of one piece, columns]: what is added to the weights."""


def _floats(patch: Patch, row: int, change: Change, base: BinaryIO) -> Iterator[tuple[int, bytes]]:
    at = patch.at + 4 * row * patch.columns
    base.seek(at)
    yield at, (_array(base, "<f4", *change.shape) + change).astype("<f4").tobytes()


def _blocks(patch: Patch, row: int, change: Change, base: BinaryIO) -> Iterator[tuple[int, bytes]]:
    at, blocks = patch.at + row * patch.columns, patch.columns // patch.block
    scales_at = patch.scales_at + 4 * row * blocks
    base.seek(at)
    steps = _array(base, "u1", *change.shape).astype(np.float64) - ZERO
    base.seek(scales_at)
    scales = _array(base, "<f4", len(change), blocks).astype(np.float64)[:, :, None]
    weights = steps.reshape(-1, blocks, patch.block) * scales + change.reshape(-1, blocks, patch.block)
    scales = _reaching(weights, scales)
    noise = dither(row * patch.columns, change.size).reshape(weights.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(scales == 0, 0, np.rint(weights / scales + noise))
    yield at, (np.clip(steps, LEAST, MOST) + ZERO).astype("u1").tobytes()
    yield scales_at, scales.astype("<f4").tobytes()


def _reaching(weights: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows, blocks, 1]: the old scale where all weights of a block lie within its steps, else the one that puts the
    farthest weight on the last step. As float32 holds it."""
    farthest = np.take_along_axis(weights, np.abs(weights).argmax(-1)[..., None], -1)
    ends = np.sort(np.stack([scales * LEAST, scales * MOST]), axis=0)
    inside = (weights >= ends[0]).all(-1, keepdims=True) & (weights <= ends[1]).all(-1, keepdims=True)
    kept: NDArray[np.float64] = np.where(inside, scales, farthest / LEAST).astype(np.float32).astype(np.float64)
    return kept


def dither(start: int, count: int) -> NDArray[np.float64]:
    """[count]: numbers in -0.5 … 0.5 that look drawn by lot, the same on every machine.

    source: splitmix64, Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014
    """
    state = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = (state ^ (state >> np.uint64(31))) >> np.uint64(40)
    drawn: NDArray[np.float64] = (bits.astype(np.float64) + 0.5) / 2.0**24 - 0.5
    return drawn


def _array(file: BinaryIO, kind: str, rows: int, columns: int) -> NDArray[Any]:
    """Raises: BundleError where the file ends before it."""
    size = np.dtype(kind).itemsize * rows * columns
    data = file.read(size)
    if len(data) != size:
        raise BundleError("A file ends within its weights.", hint="The files are fetched instead.")
    return np.frombuffer(data, kind).reshape(rows, columns)
