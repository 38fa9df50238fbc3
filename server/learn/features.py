"""What the frozen towers, or the eyes they stand on, make of each picture and sound.

Computed once, read by every step of a night's training.

pictures of the examples           → float16 [pictures, patches, dim] in a memory-mapped file
distinct sounds of the examples    → [2d] each, in memory
TrainingSet                        → batches for `Guide.forward`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from exporters.onnx.frozen import See, frozen
from server.learn.batches import Example, pad_answers
from server.model.checkpoint import Checkpoint
from server.model.familiar import PROTOTYPES
from server.model.guide import IGNORE, Batch, Guide
from shared import atomic
from shared.preprocess import normalise

BATCH = 64
Progress = Callable[[str], None]
Tiles = Sequence[NDArray[np.uint8]]
PooledSounds = dict[int, Tensor]
"""id of a sound → [2d], what the frozen encoder makes of it. Views of one moment share the sound, and so its place."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the tower looks at, and which of it each example shows."""

    tiles: list[NDArray[np.uint8]]
    """[s, s, 3] each: the newest pictures in the order of the examples, then the ones before them."""
    previous: list[int]
    """Of each example the place of its previous picture; its own where there is none."""

    @classmethod
    def by(cls, examples: Sequence[Example], *, frames: int) -> Shown:
        tiles, previous = [example.tile for example in examples], list(range(len(examples)))
        for at, example in enumerate(examples):
            if frames == 2 and example.previous is not None:
                previous[at] = len(tiles)
                tiles.append(example.previous)
        return cls(tiles, previous)


class TrainingSet(Dataset[int]):
    """The examples in the order in which they teach; `collate` makes batches of them."""

    def __init__(
        self,
        base: Checkpoint,
        examples: Sequence[Example],
        shown: Shown,
        features: NDArray[np.float16],
        order: NDArray[np.int64],
    ) -> None:
        """features: [tiles, patches, dim], of the tiles of `shown`; order: [rows], places in `examples`"""
        self._base, self._examples, self._shown, self._features, self._order = base, examples, shown, features, order
        texts = {example.text for example in examples}
        self._answers = {text: [] if text is None else base.answer_ids(text) for text in texts}
        self._heard = hear(base, examples)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: int) -> int:
        """The place in `examples` of the row at a place in the order."""
        return int(self._order[at])

    def collate(self, places: Sequence[int]) -> dict[str, Batch]:
        """{"batch": the rows as `Guide.forward` takes them}"""
        examples = [self._examples[place] for place in places]
        unknown = np.full(self._base.patches, IGNORE, np.int64)
        batch: Batch = {
            "features": self._tensor(places),
            "answers": pad_answers([self._answers[example.text] for example in examples]),
            "patch_labels": torch.from_numpy(np.stack([unknown if e.patches is None else e.patches for e in examples])),
            "hazards": torch.from_numpy(np.stack([e.hazards for e in examples])),
            "hazard_weights": torch.from_numpy(np.stack([e.hazard_weights for e in examples])),
        }
        if self._base.eyes is not None:
            batch["ground"] = torch.from_numpy(np.stack([unknown if e.ground is None else e.ground for e in examples]))
        if self._base.frames == 2:
            batch["previous"] = self._tensor([self._shown.previous[place] for place in places])
        if self._heard:
            batch["heard"], batch["hears"] = self._sounds(examples)
        return {"batch": batch}

    def _sounds(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Pooled sounds [examples, 2d], zeros where there is none, and [examples] 1 or 0: whether there is one."""
        silent = torch.zeros_like(next(iter(self._heard.values())))
        heard = [silent if e.sound is None else self._heard[id(e.sound)] for e in examples]
        return torch.stack(heard), torch.tensor([float(e.sound is not None) for e in examples])

    def _tensor(self, tiles: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self._features[tile] for tile in tiles]).astype(np.float32))


def tower(guide: Guide, tiles: Tiles, base: Checkpoint, folder: Path, *, progress: Progress) -> NDArray[np.float16]:
    """Features [tiles, patches, dim]: computed, or opened where an earlier run of the same night left them.

    The file's name covers content, tower and preprocessing. raises: OSError
    """
    key = hashlib.sha256(json.dumps(base.preprocessing.to_dict()).encode())
    seer = base.model.model.vision_model if base.eyes is None else base.eyes.embeddings.backbone
    for weight in seer.state_dict().values():
        key.update(weight.numpy().tobytes())
    for tile in tiles:
        key.update(tile.tobytes())
    file = folder / f"{key.hexdigest()[:32]}.npy"
    if not file.exists():
        _compute(guide, tiles, base, file, progress)
    features: NDArray[np.float16] = np.load(file, mmap_mode="r")
    return features


@torch.no_grad()
def hear(base: Checkpoint, examples: Sequence[Example]) -> PooledSounds:
    """Every sound once, after which the ear knows what is usual; empty for a model that does not hear."""
    ear = base.ear
    if ear is None:
        return {}
    sounds = {id(e.sound): e.sound for e in examples if e.sound is not None}
    heard = {key: ear.pool(ear.features([sound]))[0] for key, sound in sounds.items()}
    if heard:
        ear.settle(torch.stack(list(heard.values())))
    return heard


def _compute(guide: Guide, tiles: Tiles, base: Checkpoint, file: Path, progress: Progress) -> None:
    dim, see = _width(base), _seer(guide, base)
    header = {"descr": "<f2", "fortran_order": False, "shape": (len(tiles), base.patches, dim)}
    # Written, not mapped: on a full disk a mapped write ends the process (SIGBUS), this one says so (ENOSPC).
    with atomic.writing(file) as out:
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, len(tiles), BATCH):
            some = np.stack(tiles[start : start + BATCH])
            out.write(see(normalise(some, base.preprocessing)).astype("<f2").tobytes())
            progress(f"tower features {min(len(tiles), start + BATCH)}/{len(tiles)}")


def _width(base: Checkpoint) -> int:
    return int(base.model.config.vision_config.hidden_size) if base.eyes is None else base.eyes.embeddings.dim


def _seer(guide: Guide, base: Checkpoint) -> See:
    """The tower, or the eyes it stands on: these through ONNX Runtime, PyTorch is four times slower at convolutions."""
    if base.eyes is not None:
        return frozen(base.eyes.embeddings.backbone, base.preprocessing.size_px, threads=torch.get_num_threads())

    @torch.no_grad()
    def see(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = guide.features(torch.from_numpy(pixels)).numpy()
        return features

    return see


def settle(base: Checkpoint, features: NDArray[np.float16], *, but: range = range(0)) -> None:
    """What a night taught is familiar from now on. features: [tiles, patches, dim], as `tower` gives them

    but: the places of tiles of which only the ground was taught

    Does nothing for a model without eyes, or with too few pictures.
    """
    if base.eyes is None or len(features) - len(but) < 2 * PROTOTYPES:
        return
    at = base.eyes.embeddings
    means = np.concatenate(
        [part.astype(np.float32).mean(1) for part in np.array_split(features, -(-len(features) // 256))]
    )
    summaries = np.delete((means - at.mean.numpy()) / at.scale.numpy(), np.asarray(but, np.intp), axis=0)
    held_out = np.arange(len(summaries)) % 8 == 7
    base.eyes.familiar.fit(summaries[~held_out], summaries[held_out])
