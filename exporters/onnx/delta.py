"""What a night changed in a bundle's graphs, as a night.delta (shared.assembly) over the base's quantised graphs.

    change of a weight = night in float32 - base in float32, both exported alike
                       → few ranks, where a LoRA was merged       → int16 factors, added to the base's weights
                       → any other: connector, heads, biases      → the new bytes as they are

The bundle then gets the graphs that a device will assemble, by the same code: parity and gate judge these and no
others. A merged q, k and v lie in one packed matrix: each has ranks of its own, so its rows are told apart by where the
rank grows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from shared import assembly, atomic
from shared.assembly import FACTOR_MOST, Patch, PatchedFile
from shared.bundle import DELTA_NAME

FLOAT, QUANTISED = "float", "quantised"
"""Folders of the base's graphs, before and after quantisation."""
SUFFIX_8 = "_Q8"
SCALES = "_scales"
BITS = 8
"""Of a decoder's weights that can be changed so. With 4, a night's change is less than one step."""
RANKS = 96
"""More ranks than this are not looked for: the bytes themselves are smaller."""
NOISE = 1e-3
"""Of a change's size: what may be left out of it. Its float32 rounding is 1e-5, its int16 factors lose 1e-4."""
FLOOR = 1e-6
"""Of a weight's size: the same. Where a night changed less than this, all that is seen is rounding."""
PIECE_ROWS = 32
"""Rows that are looked at together for where the rank grows: heads are multiples of it."""
DATA = {"raw_data": 9, "float_data": 4, "int32_data": 5}
"""Where an initializer's values are, by the number of the field."""
_SEED = 5
Matrix = NDArray[np.float64]
"""[rows, columns]"""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Change:
    """What a night added to a weight."""

    added: Matrix
    floor: float
    """What is smaller is rounding."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An initializer as it lies in a graph's file."""

    at: int
    data: bytes
    shape: tuple[int, ...]
    kind: int


def write(base: Path, full: Path, folder: Path, progress: Progress = lambda text: None) -> bool:
    """Make the graphs in `folder` those that are assembled from the base's, with a night.delta beside them.

    base: the base's graphs, in FLOAT and QUANTISED
    full: the night's graphs in float32
    folder: the night's graphs, quantised; no bundle yet
    returns: False where nothing is to be saved: the graphs stay as they are, and there is no delta
    raises: OSError
    """
    files = []
    for graph in sorted(folder.glob("*.onnx")):
        old, new = base / QUANTISED / graph.name, graph
        if not old.is_file() or old.read_bytes() == new.read_bytes():
            continue
        made = _patched(old, new, _changes(base / FLOAT / graph.name, full / graph.name))
        if made is not None:
            files.append(made)
    saved = sum(file.size_bytes for file, _ in files) - sum(len(data) for _, parts in files for data in parts)
    if saved <= 0:
        return False
    assembly.write(folder / DELTA_NAME, files)
    delta = assembly.read(folder / DELTA_NAME)
    for file, _ in files:
        with atomic.writing(folder / file.path) as out:
            assembly.assemble(delta, file.path, base / QUANTISED / file.path, out)
    progress(f"a device that has the base fetches {(folder / DELTA_NAME).stat().st_size / 1e6:.1f} MB of the graphs")
    return True


def _patched(old: Path, new: Path, changes: Mapping[str, _Change]) -> tuple[PatchedFile, list[bytes]] | None:
    """None where more than initializers changed."""
    before, after = _tensors(old), _tensors(new)
    if _bare(old) != _bare(new) or list(before) != list(after):
        return None
    patches, data, covered = list[Patch](), list[bytes](), set[str]()
    for name, was in before.items():
        if name in covered or was.data == after[name].data:
            continue
        if len(was.data) != len(after[name].data):
            return None
        found = _factored(name, before, changes)
        if found is None:
            patches.append(Patch("raw", was.at, len(was.data)))
            data.append(after[name].data)
            continue
        covered |= {name, _twin(name)}
        for patch, factors in found:
            patches.append(patch)
            data.append(factors)
    size = old.stat().st_size
    digest = hashlib.sha256(old.read_bytes()).hexdigest()
    return PatchedFile(new.name, digest, size, tuple(patches)), data


def _twin(name: str) -> str:
    """The scales of weights, the weights of scales."""
    return name.removesuffix(SCALES) + SUFFIX_8 if name.endswith(SCALES) else name.removesuffix(SUFFIX_8) + SCALES


def _factored(
    name: str, tensors: Mapping[str, _Tensor], changes: Mapping[str, _Change]
) -> list[tuple[Patch, bytes]] | None:
    """The patches of one weight by factors; None where it is none, or its bytes are smaller."""
    if name.endswith(SCALES) and _twin(name) in tensors:
        name = _twin(name)
    change = changes.get(name.removesuffix(SUFFIX_8))
    placed = None if change is None else _placed(tensors[name], tensors.get(_twin(name)), change.added)
    if change is None or placed is None:
        return None
    patches = _all_rows(*placed, change.floor)
    return patches if sum(len(data) for _, data in patches) < len(tensors[name].data) else None


def _all_rows(like: Patch, added: Matrix, floor: float) -> list[tuple[Patch, bytes]]:
    """Each part by its factors; where one has too many ranks, all of the bytes, which saves nothing."""
    parts = [_of_rows(like, start, part, floor) for start, part in _parts(added, floor)]
    patches = [one for one in parts if one is not None]
    return patches if len(patches) == len(parts) else [(like, bytes(4 * like.rows * like.columns))]


def _placed(tensor: _Tensor, scales: _Tensor | None, added: Matrix) -> tuple[Patch, Matrix] | None:
    """Where a weight lies in the file, and what is added to it as it lies there; None where it cannot be added to."""
    if scales is not None and tensor.kind == onnx.TensorProto.UINT8:
        rows, blocks, block = tensor.shape
        padded = np.pad(added.T, ((0, 0), (0, blocks * block - added.shape[0])))
        return Patch("blocks", tensor.at, 0, rows, blocks * block, scales_at=scales.at, block=block), padded
    if tensor.kind == onnx.TensorProto.FLOAT and tensor.shape == added.shape:
        return Patch("float", tensor.at, 0, *added.shape), added
    return None


def _of_rows(like: Patch, start: int, change: Matrix, floor: float) -> tuple[Patch, bytes] | None:
    factors = factor(change, floor)
    if factors is None:
        return None
    left, right, unit = factors
    data = left.astype("<i2").tobytes() + right.astype("<i2").tobytes()
    wide = 4 if like.kind == "float" else 1
    scales = 4 * start * (like.columns // like.block) if like.block else 0
    at = like.at + wide * start * like.columns
    rows, rank = left.shape
    moved = replace(like, at=at, size_bytes=len(data), rows=rows, rank=rank, factor=unit)
    return replace(moved, scales_at=like.scales_at + scales), data


def factor(change: Matrix, floor: float) -> tuple[NDArray[np.int16], NDArray[np.int16], float] | None:
    """left [rows, rank], right [rank, columns] and what a 1 in their product stands for; None where it has too many
    ranks. floor: the size of what is only rounding

    source: Halko, Martinsson, Tropp, "Finding structure with randomness", arXiv 0909.4061
    """
    size = float(np.linalg.norm(change))
    if size <= floor:
        return np.zeros((len(change), 0), np.int16), np.zeros((0, change.shape[1]), np.int16), 0.0
    drawn = np.random.default_rng(_SEED).standard_normal((change.shape[1], min(RANKS, *change.shape)))
    basis, _ = np.linalg.qr(change @ drawn)
    inner, strengths, right = np.linalg.svd(basis.T @ change, full_matrices=False)
    left = basis @ inner
    tail = np.sqrt(np.maximum(0.0, size**2 - np.cumsum(strengths**2)))
    enough = np.flatnonzero(tail <= max(NOISE * size, floor))
    if not len(enough):
        return None
    rank = int(enough[0]) + 1
    root = np.sqrt(strengths[:rank])
    left, right = left[:, :rank] * root, right[:rank] * root[:, None]
    units = [float(np.abs(side).max()) / FACTOR_MOST for side in (left, right)]
    sides = [np.rint(side / unit).astype(np.int16) for side, unit in zip((left, right), units, strict=True)]
    return sides[0], sides[1], math.prod(units)


def _parts(change: Matrix, floor: float) -> Iterator[tuple[int, Matrix]]:
    """(first row, rows) of parts whose rows lie in the space of their first: what was packed into one matrix."""
    drawn = change @ np.random.default_rng(_SEED).standard_normal((change.shape[1], min(RANKS, change.shape[1])))
    floor *= math.sqrt(drawn.shape[1])
    start = 0
    while start < len(change):
        first = min(start + 2 * PIECE_ROWS, len(change))
        _, strengths, space = np.linalg.svd(drawn[start:first], full_matrices=False)
        space = space[strengths > max(NOISE * strengths[0], floor)]
        rest = drawn[first:]
        outside = np.linalg.norm(rest - (rest @ space.T) @ space, axis=1) > np.maximum(
            10 * NOISE * np.linalg.norm(rest, axis=1), floor
        )
        stop = first + int(np.argmax(outside)) // PIECE_ROWS * PIECE_ROWS if outside.any() else len(change)
        yield start, change[start:stop]
        start = stop


def _changes(old: Path, new: Path) -> dict[str, _Change]:
    """Of each float32 weight with two sides that changed."""
    if not old.is_file() or not new.is_file():
        return {}
    before, after = (
        {item.name: item for item in onnx.load(file).graph.initializer if len(item.dims) == 2} for file in (old, new)
    )
    changed = {}
    for name, item in after.items():
        was = before.get(name)
        if was is not None and was.dims == item.dims and was.raw_data != item.raw_data:
            weight = numpy_helper.to_array(was).astype(np.float64)
            floor = FLOOR * float(np.linalg.norm(weight))
            changed[name] = _Change(numpy_helper.to_array(item) - weight, floor)
    return changed


# --- where initializers lie in a file ---


def _bare(file: Path) -> bytes:
    """The graph without the bytes of its weights."""
    model = onnx.load(file)
    for item in model.graph.initializer:
        for kept in DATA:
            item.ClearField(kept)
    return bytes(model.SerializeToString(deterministic=True))


def _tensors(file: Path) -> dict[str, _Tensor]:
    """By name, with where their values lie. source: onnx/onnx.proto (the model's graph is 7, the graph's tensors 5)"""
    data = file.read_bytes()
    graphs = [(start, stop) for number, start, stop in _fields(data, 0, len(data)) if number == 7]
    found = {}
    for start, stop in (item for graph in graphs for number, *item in _fields(data, *graph) if number == 5):
        values = [slice(*place) for number, *place in _fields(data, start, stop) if number in DATA.values()]
        if len(values) == 1:
            tensor = onnx.TensorProto.FromString(data[start:stop])
            found[tensor.name] = _Tensor(values[0].start, data[values[0]], tuple(tensor.dims), tensor.data_type)
    return found


def _fields(data: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, stop) of each field of a message that has a length. source: protobuf's encoding"""
    while at < stop:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 2:
            size, at = _varint(data, at)
            yield number, at, at + size
            at += size
        elif wire == 0:
            _, at = _varint(data, at)
        else:
            at += {1: 8, 5: 4}[wire]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
