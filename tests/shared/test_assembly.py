"""The same bytes on every machine, whatever order it adds in; and nothing of a file is believed."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import assembly
from shared.assembly import Patch, PatchedFile
from shared.errors import BundleError

ROWS, COLUMNS, BLOCK, RANK = 6, 128, 64, 5
SCALES = ROWS * COLUMNS // BLOCK
RANDOM = np.random.default_rng(3)


def factors(rank: int = RANK) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    left, right = (
        RANDOM.integers(-32_767, 32_767, shape, endpoint=True).astype("<i2")
        for shape in ((ROWS, rank), (rank, COLUMNS))
    )
    return left, right


def assembled(folder: Path, base: bytes, patches: list[Patch], data: list[bytes]) -> bytes:
    (folder / "base").write_bytes(base)
    file = PatchedFile("a.onnx", "0" * 64, len(base), tuple(patches))
    assembly.write(folder / "night.delta", [(file, data)])
    delta = assembly.read(folder / "night.delta")
    assert delta.files == (file,)
    with open(folder / "made", "wb", buffering=0) as out:
        assembly.assemble(delta, "a.onnx", folder / "base", out)
    return (folder / "made").read_bytes()


def exactly(left: NDArray[np.int16], right: NDArray[np.int16], row: int, column: int, factor: float) -> float:
    """What is added to one weight, by whole numbers of any length, rounded once by Python."""
    return float(sum(int(a) * int(b) for a, b in zip(left[row], right[:, column], strict=True))) * factor


def test_float_weights_are_those_of_arithmetic_without_any_machines_order(tmp_path: Path) -> None:
    left, right = factors()
    weights = RANDOM.standard_normal((ROWS, COLUMNS)).astype("<f4")
    base = b"head" + weights.tobytes() + b"tail"
    patch = Patch("float", 4, left.nbytes + right.nbytes, ROWS, COLUMNS, RANK, 1e-11)
    made = assembled(tmp_path, base, [patch], [left.tobytes() + right.tobytes()])
    wanted = [
        struct.pack("<f", float(weights[row, column]) + exactly(left, right, row, column, 1e-11))
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    assert made == b"head" + b"".join(wanted) + b"tail"


@pytest.mark.parametrize("factor", [2e-11, 2e-9], ids=["within the scale", "beyond it"])
def test_block_weights_are_those_of_arithmetic_without_any_machines_order(tmp_path: Path, factor: float) -> None:
    left, right = factors()
    steps = RANDOM.integers(0, 255, (ROWS, COLUMNS), endpoint=True).astype(np.uint8)
    scales = (RANDOM.standard_normal(SCALES) / 50).astype("<f4")
    scales[3] = 0.0  # a block of nothing but zeros
    steps.reshape(-1, BLOCK)[3] = 128
    base = scales.tobytes() + steps.tobytes()
    size = left.nbytes + right.nbytes
    patch = Patch("blocks", scales.nbytes, size, ROWS, COLUMNS, RANK, factor, scales_at=0, block=BLOCK)
    made = assembled(tmp_path, base, [patch], [left.tobytes() + right.tobytes()])
    noise = assembly.dither(0, ROWS * COLUMNS).tolist()
    new_scales, new_steps = list[float](), list[int]()
    for number in range(SCALES):
        places = [divmod(number * BLOCK + at, COLUMNS) for at in range(BLOCK)]
        scale = float(scales[number])
        weights = [(int(steps[at]) - 128) * scale + exactly(left, right, *at, factor) for at in places]
        ends = sorted((-128 * scale, 127 * scale))
        if not all(ends[0] <= weight <= ends[1] for weight in weights):
            scale = float(np.float32(max(weights, key=abs) / -128))
        new_scales.append(scale)
        for at, weight in enumerate(weights):
            step = round(weight / scale + noise[number * BLOCK + at]) if scale else 0
            new_steps.append(min(127, max(-128, step)) + 128)
    assert made == struct.pack(f"<{SCALES}f", *new_scales) + bytes(new_steps)


def test_the_product_is_a_whole_number_that_float64_holds_for_any_factors_that_are_read() -> None:
    assert assembly.MAX_RANK * 32_768**2 < 2**53


def test_without_a_change_no_weight_moves(tmp_path: Path) -> None:
    """On the grid already, so the dither must not lift any off its place."""
    steps = RANDOM.integers(0, 255, (ROWS, COLUMNS), endpoint=True).astype(np.uint8)
    base = RANDOM.standard_normal(SCALES).astype("<f4").tobytes() + steps.tobytes()
    patch = Patch("blocks", 4 * SCALES, 0, ROWS, COLUMNS, 0, 0.0, scales_at=0, block=BLOCK)
    with pytest.raises(BundleError, match="does not fit"):
        assembled(tmp_path, base, [Patch("blocks", 5 * SCALES, 0, ROWS, COLUMNS, 0, 0.0, 0, BLOCK)], [])
    assert assembled(tmp_path, base, [patch], []) == base


def test_a_change_of_a_tenth_of_a_step_is_not_lost(tmp_path: Path) -> None:
    """Rounded to the nearest it would be, everywhere: base weights lie on the grid."""
    rows, columns = 64, 1024
    steps = np.full((rows, columns), 128, np.uint8)
    steps[:, ::64] = 0  # one far weight in each block keeps the scale
    scales = np.ones(rows * columns // 64, "<f4")
    left, right = np.full((rows, 1), 1, "<i2"), np.full((1, columns), 1, "<i2")
    right[:, ::64] = 0
    size = left.nbytes + right.nbytes
    patch = Patch("blocks", scales.nbytes, size, rows, columns, 1, 0.1, scales_at=0, block=64)
    made = assembled(tmp_path, scales.tobytes() + steps.tobytes(), [patch], [left.tobytes() + right.tobytes()])
    moved = np.frombuffer(made[scales.nbytes :], np.uint8).reshape(rows, columns).astype(int) - steps
    assert math.isclose(moved[:, 1:64].mean(), 0.1, abs_tol=0.02)


def test_the_dither_is_splitmix64() -> None:
    def reference(number: int) -> Fraction:
        mask, state = 2**64 - 1, number * 0x9E3779B97F4A7C15 % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ state >> 27) * 0x94D049BB133111EB & mask
        return Fraction(2 * ((state ^ state >> 31) >> 40) + 1, 2**25) - Fraction(1, 2)

    assert [Fraction(value) for value in assembly.dither(7, 100).tolist()] == [reference(8 + at) for at in range(100)]


def test_a_base_of_another_length_is_refused(tmp_path: Path) -> None:
    assembled(tmp_path, bytes(100), [], [])
    (tmp_path / "base").write_bytes(bytes(99))
    with pytest.raises(BundleError, match="99 bytes"), open(tmp_path / "made", "wb") as out:
        assembly.assemble(assembly.read(tmp_path / "night.delta"), "a.onnx", tmp_path / "base", out)
