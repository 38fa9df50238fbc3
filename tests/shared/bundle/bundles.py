"""Bundles of random bytes: whole and well-formed, but no model can be loaded from them."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared import assembly
from shared.assembly import Patch, PatchedFile
from shared.bundle import BLOCK_BYTES, DELTA_NAME, Manifest, write_bundle

SMALL = {
    "vision_encoder.onnx": 300_000,
    "decoder_model_merged.onnx": 200_000,
    "tokenizer.json": 4_000,
    "golden/golden.json": 200,
    "golden/000.jpg": 7_000,
    "golden/001.jpg": 0,
}


def contents(sizes: Mapping[str, int] = SMALL, *, seed: int = 1) -> dict[str, bytes]:
    """Random bytes for each path."""
    return {path: random.Random(f"{seed} {path}").randbytes(size) for path, size in sizes.items()}


def make_bundle(
    folder: Path,
    version: str,
    files: Mapping[str, bytes] | None = None,
    *,
    block_bytes: int = BLOCK_BYTES,
    **changes: Any,
) -> Manifest:
    """Write the files and make the folder a bundle. changes: of the manifest."""
    for path, data in (contents() if files is None else files).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    manifest = Manifest(
        format=1,
        version=version,
        created_at_utc=1_700_000_000.0,
        base="starter",
        parent="",
        intended_use="demo",
        files=(),
        thresholds={"speak_above": 0.5},
        model={"objects": ["curb"], "sides": ["ahead"]},
    )
    return write_bundle(folder, replace(manifest, **changes), block_bytes=block_bytes)


PASSED: dict[str, Any] = {"gate": {"format": 1, "verdict": "promoted", "rules": []}}
"""What a night registers with a model that the gate promoted."""


def delta_of(path: str, base: bytes, changes: Mapping[int, bytes]) -> tuple[bytes, bytes]:
    """A file that is its base's but for some bytes, and the night.delta that makes it."""
    made = bytearray(base)
    for at, data in changes.items():
        made[at : at + len(data)] = data
    patches = tuple(Patch("raw", at, len(data)) for at, data in changes.items())
    patched = PatchedFile(path, hashlib.sha256(base).hexdigest(), len(base), patches)
    with tempfile.TemporaryDirectory(prefix="waycue-delta-") as folder:
        file = Path(folder) / DELTA_NAME
        assembly.write(file, [(patched, list(changes.values()))])
        return bytes(made), file.read_bytes()


def flip_byte(path: Path, at: int = 0) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(bytes(data))
