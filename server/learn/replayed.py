"""Drawn frames that are replayed every night, drawn once.

    <home>/cache/replay/<key>/0003-125.npz     the first 125 frames of shard 3, as PNG with their labels

The key covers all that decides what is drawn: seed, objects, the layout of the tile, the share of walks, and the source
of what draws. A shard appears whole or not at all; one that is damaged (npz members carry a CRC-32) is drawn again. Two
layouts are kept, those used last: the starter's 4,000 frames take some 70 MB.

Two processes draw, where there is much to draw: this one from the first shard on, a child from the last one back, until
they meet. Where the child ends early, this one draws all.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation import source
from server.learn.batches import Example, Layout, drawn
from shared import atomic

FRAMES = 125
"""Frames of a shard: a second of drawing."""
TOGETHER_FROM = 8
"""Shards to draw from which on a child helps: it takes seconds to start."""
LAYOUTS = 2
"""Keys that are kept."""
ROOM = 3
"""Nothing is kept where less than this many times its size would be free: the night needs the disk."""
FRAME_BYTES = 1.4
"""Of a kept frame, for each pixel of its tile: PNG, and noise does not compress."""
SOURCE = (
    "server/walks", "server/learn/batches.py", "shared/sight", "shared/vocabulary", "shared/vocabulary.toml",
    "shared/preprocess.py", "shared/jpeg.py",
)  # fmt: skip
"""All that draws."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReplayDrawing:
    """All that decides which frames are drawn."""

    objects: tuple[str, ...]
    layout: Layout
    walks_share: float
    seed: int

    def key(self) -> str:
        """Names the frames, by these values and the source of what draws them."""
        said = [self.objects, self.layout.objects, self.layout.preprocessing.to_dict(), self.layout.patch_px]
        text = json.dumps([*said, self.walks_share, self.seed, np.__version__, cv2.__version__])
        return hashlib.sha256((text + source.digest(*SOURCE)).encode()).hexdigest()[:24]

    def shard(self, number: int, count: int) -> list[Example]:
        """The first `count` frames of a shard."""
        rng = np.random.default_rng([self.seed, FRAMES, number])
        return list(itertools.islice(drawn(rng, self.objects, self.layout, walks_share=self.walks_share), count))


def folder(home: Path) -> Path:
    """Where a server keeps them."""
    return home / "cache" / "replay"


def frames(cache: Path, drawing: ReplayDrawing, count: int, *, progress: Progress) -> list[Example]:
    """`count` drawn frames: read where they are kept, else drawn and kept. cache: a folder of its own.

    raises: OSError where they cannot be drawn; a disk without room only means that they are not kept
    """
    shards = [(number, min(FRAMES, count - number * FRAMES)) for number in range(-(-count // FRAMES))]
    folder = cache / drawing.key()
    if not _room(cache, drawing, count):
        progress(f"rendering {count} frames to replay; there is no room to keep them")
        return list(itertools.chain.from_iterable(drawing.shard(*shard) for shard in shards))
    atomic.make_dirs(folder)
    atomic.remove_leftovers(folder)
    os.utime(folder)
    _evict(cache, keep=folder)
    kept = {number: read(folder, number, of) for number, of in shards}
    missing = [(number, of) for number, of in shards if kept[number] is None]
    if missing:
        kept.update(_drawn_now(folder, drawing, missing, progress))
    return list(itertools.chain.from_iterable(shard or () for shard in kept.values()))


def _drawn_now(
    folder: Path, drawing: ReplayDrawing, missing: Sequence[tuple[int, int]], progress: Progress
) -> dict[int, list[Example]]:
    """The missing shards by number. Raises: OSError."""
    progress(f"rendering {sum(of for _, of in missing)} frames to replay")
    with _helped(folder, drawing, missing if len(missing) >= TOGETHER_FROM else []):
        return {number: read(folder, number, of) or keep(folder, drawing, number, of) for number, of in missing}


def keep(folder: Path, drawing: ReplayDrawing, number: int, count: int) -> list[Example]:
    """Draw a shard and keep it. Raises: OSError."""
    examples = drawing.shard(number, count)
    pictures = [cv2.imencode(".png", example.tile, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1] for example in examples]
    patches = [example.patches for example in examples if example.patches is not None]
    ground = [example.ground for example in examples if example.ground is not None]
    with atomic.writing(_file(folder, number, count)) as out:
        np.savez(
            out,
            allow_pickle=False,
            pictures=np.concatenate(pictures).ravel(),
            sizes=np.array([len(picture) for picture in pictures]),
            patches=np.stack(patches).astype(np.uint8),
            ground=np.stack(ground).astype(np.uint8),
            hazards=np.stack([example.hazards for example in examples]),
            weights=np.stack([example.hazard_weights for example in examples]),
            texts=np.array(json.dumps([example.text for example in examples])),
        )
    return examples


def read(folder: Path, number: int, count: int) -> list[Example] | None:
    """The first `count` frames of a kept shard, None where it is missing or damaged; a damaged one is deleted."""
    for file in sorted(folder.glob(f"{number:04d}-*.npz")):
        if _count(file) < count:
            continue
        try:
            return _read(file, count)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, cv2.error):
            file.unlink(missing_ok=True)
    return None


def _read(file: Path, count: int) -> list[Example]:
    """Raises: OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error, cv2.error for a damaged file."""
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    ends = np.cumsum(arrays["sizes"])
    pictures: Sequence[NDArray[np.uint8]] = np.split(arrays["pictures"], ends[:-1])
    texts = json.loads(str(arrays["texts"]))
    if not len(pictures) == len(texts) == len(arrays["patches"]) == _count(file):
        raise ValueError(f"{file.name} does not hold the frames that its name says")
    found = []
    for at in range(count):
        tile = cv2.imdecode(pictures[at], cv2.IMREAD_COLOR)
        if tile is None:
            raise ValueError(f"picture {at} of {file.name} cannot be read")
        patches, ground = arrays["patches"][at].astype(np.int64), arrays["ground"][at].astype(np.int64)
        hazards, weights = arrays["hazards"][at], arrays["weights"][at]
        found.append(Example(np.asarray(tile, np.uint8), texts[at], patches, hazards, weights, ground=ground))
    return found


def _file(folder: Path, number: int, count: int) -> Path:
    return folder / f"{number:04d}-{count}.npz"


def _count(file: Path) -> int:
    count = file.stem.partition("-")[2]
    return int(count) if count.isdigit() else 0


def _room(cache: Path, drawing: ReplayDrawing, count: int) -> bool:
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    side = drawing.layout.preprocessing.size_px
    return shutil.disk_usage(there).free > ROOM * count * side * side * FRAME_BYTES


def _evict(cache: Path, *, keep: Path) -> None:
    others = [folder for folder in cache.iterdir() if folder.is_dir() and folder != keep]
    others.sort(key=lambda folder: folder.stat().st_mtime)
    atomic.remove_trees(others[: max(0, len(others) + 1 - LAYOUTS)])


@contextmanager
def _helped(folder: Path, drawing: ReplayDrawing, shards: Sequence[tuple[int, int]]) -> Iterator[None]:
    """A child draws these from the last one back, while the block runs; it ends with it."""
    if not shards:
        yield
        return
    arguments = (folder, drawing, list(reversed(shards)))
    child = multiprocessing.get_context("spawn").Process(target=_draw, args=arguments, daemon=True)
    child.start()
    try:
        yield
    finally:
        child.terminate()
        child.join()


def _draw(folder: Path, drawing: ReplayDrawing, shards: Sequence[tuple[int, int]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends it
    cv2.setNumThreads(0)
    parent = multiprocessing.parent_process()
    for number, count in shards:
        if parent is not None and not parent.is_alive():
            return
        if _file(folder, number, count).exists():
            return  # they have met
        try:
            keep(folder, drawing, number, count)
        except OSError as error:
            sys.exit(f"drawing stopped: {error}")
