"""The pictures of clips that a model is shown: chosen, brought to the tile, and kept in one file while it trains.

clip → candidates in time → topk → [k, s, s, 3] → bytes of the file; a picture is shown as it is
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from server.dataset import pictures
from server.labelling import footage
from server.model import topk
from server.model.checkpoint import Checkpoint
from server.model.topk import Selection
from shared import atomic
from shared.errors import DatasetError, MediaError
from shared.preprocess import fit_tile, normalise

Progress = Callable[[str], None]
_EVERY = 50


@dataclass(frozen=True, slots=True)
class ClipTiles:
    """Tiles of several rows, in memory-mapped order."""

    tiles: NDArray[np.uint8]
    """[all, s, s, 3]"""
    spans: Sequence[tuple[int, int]]
    """Of each row its first tile and how many."""

    def of(self, row: int) -> NDArray[np.uint8]:
        """[k, s, s, 3] of a row, in time."""
        first, count = self.spans[row]
        return self.tiles[first : first + count]


def prepare(
    media: Sequence[Path], base: Checkpoint, file: Path, *, k: int, select: Selection, progress: Progress
) -> tuple[ClipTiles, list[tuple[int, str]]]:
    """What of each video or picture is shown, and the places of those that cannot be read, with why.

    file: becomes the tiles. raises: OSError
    """
    spans, unread, total = list[tuple[int, int]](), list[tuple[int, str]](), 0
    with atomic.writing(file) as out:
        for place, path in enumerate(media):
            try:
                tiles = chosen(path, base, k=k, select=select)
            except (MediaError, DatasetError) as error:
                unread.append((place, str(error)))
                continue
            out.write(tiles.tobytes())
            spans.append((total, len(tiles)))
            total += len(tiles)
            if (place + 1) % _EVERY == 0:
                progress(f"pictures of {place + 1}/{len(media)} clips chosen")
    side = base.preprocessing.size_px
    shape = (total, side, side, 3)
    tiles = np.memmap(file, np.uint8, "r", shape=shape) if total else np.zeros(shape, np.uint8)
    return ClipTiles(tiles, spans), unread


def chosen(path: Path, base: Checkpoint, *, k: int, select: Selection) -> NDArray[np.uint8]:
    """What of a video or picture is shown: uint8 [at most k, s, s, 3], in time. Raises: MediaError, DatasetError."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return fit_tile(pictures.read(path), base.preprocessing)[None]
    seen = candidates(path)
    tiles = np.stack([fit_tile(picture, base.preprocessing) for picture in seen])
    if select == "uniform":
        places = topk.uniform(len(seen), k)
    else:
        described = topk.pixels(seen) if select == "pixels" else features(tiles, base)
        places = topk.newest(described, topk.sharpness(seen), k)
    return tiles[places]


def candidates(path: Path, *, most: int = topk.CANDIDATES) -> list[NDArray[np.uint8]]:
    """Pictures of a film evenly in time, [h, w, 3] each, at least one. Raises: MediaError."""
    film = footage.find(path)
    played = list(footage.play(film, every_s=film.duration_s / most))
    if not played:
        raise MediaError(f"No picture of {path} can be decoded.")
    return [played[place][1] for place in topk.uniform(len(played), most)]


@torch.no_grad()
def features(tiles: NDArray[np.uint8], base: Checkpoint) -> NDArray[np.float32]:
    """What a base's tower makes of tiles [n, s, s, 3]: float32 [n, patches, dim]."""
    pixels = torch.from_numpy(normalise(tiles, base.preprocessing))
    tower = base.model.model.vision_model
    made: NDArray[np.float32] = tower(pixel_values=pixels).last_hidden_state.float().numpy()
    return made
