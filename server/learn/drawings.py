"""Drawn frames as the frozen eyes see them, kept on disk: a training over a frozen backbone reads each many times.

    render → change the style of some → backbone → tokens int8 [n, p, dim]  ┐ one folder of shards,
    masks, hazards, sentence, ground                                        ┘ each whole or not there

A backbone takes longer than the drawing, and the training of what stands on it less than either. Int8 tokens, scaled by
channel, halve the disk: they are as exact as what the exported graph computes with.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.onnx.frozen import BATCH, See
from server import walks
from server.learn.batches import Layout, damage, ground_labels, hazard_labels, patch_labels, walk_frames
from shared import atomic, vocabulary
from shared.preprocess import fit_tile, normalise

SHARD = 125 * BATCH
"""Frames in a file."""
CLIP = 5.0
"""Tokens are clipped to so many standard deviations of their channel."""
SIZES = ((320, 240), (320, 240), (240, 180), (160, 120))
SCALE_FILE = "scale.npz"


@dataclass(frozen=True, slots=True)
class Shard:
    """Frames of one file."""

    tokens: NDArray[np.int8]
    """[n, p, dim], in memory only where it is read"""
    patches: NDArray[np.uint8]
    """[n, p] object per patch, 0 = nothing"""
    ground: NDArray[np.uint8]
    """[n, p], places in shared.sight.ground.GROUND"""
    hazards: NDArray[np.uint8]
    """[n, objects, sides], 1 = there"""
    texts: tuple[str, ...]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        return self.tokens, self.patches, self.ground, self.hazards


def restyled(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Half of the pictures with another hue, gamma, contrast, softness and grain; places stay. uint8 [h, w, 3]"""
    if rng.random() < 0.5:
        return image
    hues = (np.eye(3) + rng.normal(0, 0.08, (3, 3))).T
    mixed = (image / 255) ** rng.uniform(0.6, 1.6) @ hues
    mixed = (mixed - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.uniform(-0.12, 0.12)
    if rng.random() < 0.3:
        mixed = np.asarray(cv2.GaussianBlur(mixed, (0, 0), float(rng.uniform(0.4, 1.6))), np.float64)
    mixed += rng.normal(0, rng.uniform(0, 0.03), mixed.shape)
    return np.asarray((mixed * 255).clip(0, 255), np.uint8)


def draw(
    folder: Path, number: int, see: See, layout: Layout, *, seed: int, of_walks: bool, frames: int = SHARD
) -> Path:
    """Draw one shard and see it, unless it is there. frames: a multiple of BATCH. Raises: OSError."""
    file = folder / f"{number:04d}.npz"
    if file.exists():
        return file
    rng = np.random.default_rng([seed, number])
    shots = _shots(rng, walks.KNOWN, of_walks=of_walks)
    found: list[NDArray[np.float32]] = []
    kept: dict[str, list[NDArray[np.uint8]]] = {"patches": [], "ground": [], "hazards": []}
    texts, tiles = list[str](), list[NDArray[np.uint8]]()
    for shot in (next(shots) for _ in range(frames)):
        tiles.append(fit_tile(damage(restyled(shot.image, rng), rng), layout.preprocessing))
        kept["patches"].append(patch_labels(shot.mask, layout).astype(np.uint8))
        kept["ground"].append(ground_labels(shot, layout).astype(np.uint8))
        kept["hazards"].append(hazard_labels(shot, layout).astype(np.uint8))
        texts.append(shot.instruction or vocabulary.CLEAR)
        if len(tiles) == BATCH:
            found.append(see(normalise(np.stack(tiles), layout.preprocessing)))
            tiles = []
    tokens = np.concatenate(found)
    mean, scale = _scale(folder, tokens)
    small = np.clip((tokens - mean) / scale * (127 / CLIP), -127, 127).round().astype(np.int8)
    arrays = {name: np.stack(rows) for name, rows in kept.items()}
    atomic.make_dirs(folder)
    with atomic.writing(folder / f"{number:04d}.npy") as out:
        np.save(out, small)
    with atomic.writing(file) as out:
        np.savez(out, allow_pickle=False, texts=np.array(json.dumps(texts)), **arrays)
    return file


def read(folder: Path, *, but: Collection[int] = ()) -> dict[int, Shard]:
    """The shards that are whole, by number.

    but: the numbers of those that are not read
    raises: OSError; ValueError for foreign files
    """
    found = {}
    for file in folder.glob("[0-9]*.npz"):
        if (number := int(file.stem)) not in but:
            with np.load(file) as held:
                tokens = np.load(file.with_suffix(".npy"), mmap_mode="r")
                texts = tuple(json.loads(str(held["texts"])))
                found[number] = Shard(tokens, held["patches"], held["ground"], held["hazards"], texts)
    return found


def as_seen(tokens: NDArray[np.int8], mean: Tensor, scale: Tensor) -> Tensor:
    """int8 [n, p, dim] of a shard → float32, as the backbone gave them; mean, scale: [dim], what `scale` reads"""
    return torch.from_numpy(tokens.astype(np.float32)) * (CLIP / 127) * scale + mean


def summaries(shard: Shard) -> NDArray[np.float32]:
    """The mean of the standardised tokens of each frame, float32 [n, dim]."""
    parts = np.array_split(shard.tokens, -(-len(shard.tokens) // 100))
    return np.concatenate([part.astype(np.float32).mean(1) for part in parts]) * np.float32(CLIP / 127)


def scale(folder: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, [dim] each, over the first shard. Raises: OSError."""
    with np.load(folder / SCALE_FILE) as held:
        return torch.from_numpy(held["mean"]), torch.from_numpy(held["scale"])


def _scale(folder: Path, tokens: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    file = folder / SCALE_FILE
    if not file.exists():
        atomic.make_dirs(folder)
        mean, deviation = tokens.mean((0, 1)), tokens.std((0, 1)) + 1e-3
        with atomic.writing(file) as out:
            np.savez(out, mean=mean.astype(np.float32), scale=deviation.astype(np.float32))
    with np.load(file) as held:
        return held["mean"], held["scale"]


def _shots(rng: np.random.Generator, objects: Sequence[str], *, of_walks: bool) -> Iterator[walks.Rendered]:
    if of_walks:
        yield from walk_frames(rng, objects, SIZES)
    while True:
        width, height = SIZES[int(rng.integers(len(SIZES)))]
        yield walks.random_frame(rng, objects=objects, width_px=width, height_px=height)
