"""What the frozen towers, or the eyes they stand on, make of each picture and sound.

Computed once, kept across nights, read by every step of a night's training.

places that the steps draw  → their pieces → those not in the cache: tiles → float16 [frames, patches, dim] in shards
their labels                → in memory, without pictures: memory follows the draws of a night, never the rows
distinct sounds of them     → [2d] each, in memory
TrainingSet                 → batches for `Guide.forward`

What is to be computed is written down before it is (`features.json` in the night's folder). Features depend on what
else is in their batch in the last bit, so a night that was cut computes the same batches that it would have.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from exporters.onnx.frozen import See, frozen
from server.dataset.feature_cache import FeatureCache, Piece
from server.learn import devices
from server.learn.batches import pad_answers
from server.learn.eta import Eta
from server.learn.views import Labels, Tile, Views
from server.model.checkpoint import Checkpoint, fingerprint
from server.model.familiar import PROTOTYPES
from server.model.guide import IGNORE, Batch, Guide
from shared import atomic
from shared.preprocess import normalise

BATCH = 64
PLAN = "features.json"
Progress = Callable[[str], None]
PooledSounds = dict[bytes, Tensor]
"""SHA-256 of a sound → [2d], what the frozen encoder makes of it. Views of one moment share the sound, and so it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the drawn places teach, ready to be read."""

    cache: FeatureCache
    keys: dict[int, str]
    """Of each place its features in the cache."""
    labels: dict[int, Labels]
    """Without their sounds: these are pooled."""
    sounds: dict[int, bytes]
    """Of each place that hears, its place in `pooled`."""
    pooled: PooledSounds


@dataclass(frozen=True, slots=True)
class Work:
    """Where a night computes, and on what."""

    folder: Path
    """The night's."""
    progress: Progress
    device: torch.device = devices.CPU


class TrainingSet(Dataset[int]):
    """The places in the order in which they teach; `collate` makes batches of them."""

    def __init__(self, base: Checkpoint, prepared: Prepared, order: NDArray[np.int64]) -> None:
        """order: [rows], places"""
        self._base, self._of, self._order = base, prepared, order
        texts = {labels.text for labels in prepared.labels.values()}
        self._answers = {text: [] if text is None else base.answer_ids(text) for text in texts}

    @property
    def base(self) -> Checkpoint:
        """Whose tower, words and objects they are for."""
        return self._base

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: int) -> int:
        """The place of the row at a place in the order."""
        return int(self._order[at])

    def text(self, place: int) -> str:
        """The sentence of a place; "" where nothing is known to be said."""
        return self._of.labels[place].text or ""

    def collate(self, places: Sequence[int]) -> dict[str, Batch]:
        """{"batch": the rows as `Guide.forward` takes them}"""
        return {"batch": self.tensors(places)}

    def tensors(self, places: Sequence[int]) -> Batch:
        """The rows as `Guide.forward` takes them."""
        labels = [self._of.labels[place] for place in places]
        unknown = np.full(self._base.patches, IGNORE, np.int64)
        features = self._features(places)
        batch: Batch = {
            "features": features[:, 0],
            "answers": pad_answers([self._answers[one.text] for one in labels]),
            "patch_labels": torch.from_numpy(np.stack([unknown if e.patches is None else e.patches for e in labels])),
            "hazards": torch.from_numpy(np.stack([e.hazards for e in labels])),
            "hazard_weights": torch.from_numpy(np.stack([e.hazard_weights for e in labels])),
        }
        if self._base.eyes is not None:
            batch["ground"] = torch.from_numpy(np.stack([unknown if e.ground is None else e.ground for e in labels]))
        if self._base.frames == 2:
            batch["previous"] = features[:, 1]
        if self._of.pooled:
            batch["heard"], batch["hears"] = self._sounds(places)
        return batch

    def _sounds(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pooled sounds [places, 2d], zeros where there is none, and [places] 1 or 0: whether there is one."""
        pooled, sounds = self._of.pooled, self._of.sounds
        silent = torch.zeros_like(next(iter(pooled.values())))
        heard = [pooled[sounds[place]] if place in sounds else silent for place in places]
        return torch.stack(heard), torch.tensor([float(place in sounds) for place in places])

    def _features(self, places: Sequence[int]) -> Tensor:
        """float32 [places, frames, patches, dim]"""
        found = [self._of.cache[self._of.keys[place]] for place in places]
        return torch.from_numpy(np.stack(found).astype(np.float32))


def cache_of(
    base: Checkpoint, folder: Path, *, most_bytes: int | None = None, progress: Progress = lambda text: None
) -> FeatureCache:
    """The cache of this base's tower below `folder`: its space covers tower, preprocessing and number of pictures.

    raises: OSError
    """
    key = hashlib.sha256(json.dumps([base.preprocessing.to_dict(), base.frames]).encode())
    seer = base.model.model.vision_model if base.eyes is None else base.eyes.embeddings.backbone
    for name, weight in seer.state_dict().items():
        key.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        key.update(weight.detach().cpu().contiguous().numpy().data if weight.numel() else b"")
    shape = (base.frames, base.patches, _width(base))
    return FeatureCache(folder, key.hexdigest()[:16], shape=shape, most_bytes=most_bytes, progress=progress)


def boxes_of(base: Checkpoint, folder: Path, *, progress: Progress = lambda text: None) -> FeatureCache:
    """The cache of patch labels out of this base's detector. Raises: OSError."""
    key = hashlib.sha256(json.dumps([fingerprint(base), base.objects]).encode())
    return FeatureCache(folder, f"b{key.hexdigest()[:15]}", shape=(base.patches,), dtype="<i2", progress=progress)


def prepare(
    guide: Guide, base: Checkpoint, views: Views, wanted: Iterable[int], cache: FeatureCache, work: Work
) -> Prepared:
    """Everything that the wanted places teach with: read from the cache, the rest computed and put there.

    raises: OSError, DatasetError
    """
    places = sorted(set(wanted))
    pieces = {at: views.piece(at, frames=base.frames) for at in places}
    by_key = {piece.key: (at, piece) for at, piece in reversed(pieces.items())}
    shards = _plan(by_key, cache, work.folder / PLAN)
    total, done = sum(len(shard) for shard in shards), 0
    left, see = Eta(total), None
    for shard in shards:
        done += len(shard)
        if not all(map(cache.has, shard)):
            see = see or _seer(guide, base, work.device)
            wants = [by_key[key] for key in shard]
            cache.add([piece for _, piece in wants], _compute(see, base, views, [at for at, _ in wants]))
            work.progress(f"tower features {done}/{total}{left.after(done)}")
    return _prepared(base, views, cache, pieces)


def _prepared(base: Checkpoint, views: Views, cache: FeatureCache, pieces: Mapping[int, Piece]) -> Prepared:
    labels = dict(zip(pieces, views.labels(list(pieces)), strict=True))
    heard = hear(base, labels)
    silent = {at: replace(one, sound=None) for at, one in labels.items()}
    return Prepared(cache, {at: piece.key for at, piece in pieces.items()}, silent, *heard)


def _plan(wanted: dict[str, tuple[int, Piece]], cache: FeatureCache, file: Path) -> list[list[str]]:
    """The keys of each shard that is to be computed tonight, written down before it is.

    A shard of an earlier run of this night stays as it is; what is missing beside these makes new ones.
    """
    shards = [shard for shard in _planned(file) if wanted.keys() >= set(shard)]
    known = set(itertools.chain.from_iterable(shards))
    missing = sorted((at, key) for key, (at, _) in wanted.items() if key not in known and not cache.has(key))
    size = cache.shard_count
    shards += [[key for _, key in missing[start : start + size]] for start in range(0, len(missing), size)]
    if shards and shards != _planned(file):
        atomic.write_json(file, shards)
    return shards


def _planned(file: Path) -> list[list[str]]:
    try:
        return [[str(key) for key in shard] for shard in json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


@torch.no_grad()
def hear(base: Checkpoint, labels: dict[int, Labels]) -> tuple[dict[int, bytes], PooledSounds]:
    """Every sound once, after which the ear knows what is usual; empty for a model that does not hear."""
    ear, sounds, pooled = base.ear, dict[int, bytes](), PooledSounds()
    if ear is None:
        return sounds, pooled
    for at, one in labels.items():
        if one.sound is not None:
            name = sounds[at] = hashlib.sha256(one.sound.tobytes()).digest()
            if name not in pooled:
                pooled[name] = ear.pool(ear.features([one.sound]))[0]
    if pooled:
        ear.settle(torch.stack(list(pooled.values())))
    return sounds, pooled


def _compute(see: See, base: Checkpoint, views: Views, places: Sequence[int]) -> NDArray[np.float16]:
    """[places, frames, patches, dim]"""
    found = np.empty((len(places), base.frames, base.patches, _width(base)), np.float16)
    for start in range(0, len(places), BATCH):
        shown = [views.tiles(at, frames=base.frames) for at in places[start : start + BATCH]]
        flat = [tile for tiles in shown for tile in tiles]
        seen = _each_once(see, base, flat).reshape(len(shown), base.frames, *found.shape[2:])
        found[start : start + len(shown)] = seen
    return found


def _each_once(see: See, base: Checkpoint, tiles: Sequence[Tile]) -> NDArray[np.float32]:
    """[tiles, patches, dim]. A picture that stands in for the one before it is looked at once."""
    first: dict[int, int] = {}
    distinct: list[Tile] = []
    for tile in tiles:
        if id(tile) not in first:
            first[id(tile)] = len(distinct)
            distinct.append(tile)
    seen = see(normalise(np.stack(distinct), base.preprocessing))
    return seen[[first[id(tile)] for tile in tiles]]


def _width(base: Checkpoint) -> int:
    return int(base.model.config.vision_config.hidden_size) if base.eyes is None else base.eyes.embeddings.dim


def _seer(guide: Guide, base: Checkpoint, device: torch.device) -> See:
    """The tower, or the eyes it stands on: these through ONNX Runtime, PyTorch is four times slower at convolutions."""
    if base.eyes is not None:
        return frozen(base.eyes.embeddings.backbone, base.preprocessing.size_px, threads=torch.get_num_threads())

    @torch.no_grad()
    def see(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with devices.on(base.model.model.vision_model, device), devices.lower(device):
            found: NDArray[np.float32] = guide.features(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
        return found

    return see


def settle_on(base: Checkpoint, prepared: Prepared, places: Iterable[int]) -> None:
    """What the pictures of these places show is familiar from now on. They are read one by one.

    Does nothing for a model without eyes, or with too few pictures.
    """
    if base.eyes is None:
        return
    found = [prepared.cache[prepared.keys[at]].astype(np.float32).mean(1) for at in places if at in prepared.keys]
    if found:
        _settle(base, np.concatenate([np.stack(found)[:, frame] for frame in range(base.frames)]))


def _settle(base: Checkpoint, means: NDArray[np.float32]) -> None:
    """means: [tiles, dim], of each tile over its patches"""
    if base.eyes is None or len(means) < 2 * PROTOTYPES:
        return
    at = base.eyes.embeddings
    summaries = (means - at.mean.cpu().numpy()) / at.scale.cpu().numpy()
    held_out = np.arange(len(summaries)) % 8 == 7
    base.eyes.familiar.fit(summaries[~held_out], summaries[held_out])
