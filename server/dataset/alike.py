"""Near-duplicates: moments of one walk whose pictures are alike and whose labels are the same. They weigh as one.

Somebody who waits at a crossing brings thirty pictures of it, and would teach it thirty times. Alike are pictures whose
difference hashes (64 bits: is each of 9 x 8 fields lighter than its right neighbour) differ in few bits. Another label
makes another moment: something has come into the picture, however small.

    <home>/cache/moments/hashes.json    picture → its hash: a picture of the dataset never changes

source: dHash, N. Krawetz, "Kind of like that" (2013)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server.dataset import derived, pictures
from server.dataset.sample_row import SampleRow
from shared import atomic

FILE = "hashes.json"
_FIELDS = (9, 8)


def dhash(image: NDArray[np.uint8]) -> int:
    """The difference hash of a picture, 64 bits. image: uint8 [h, w, 3] RGB"""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, _FIELDS, interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes())


def clusters(rows: Sequence[SampleRow], hashes: Sequence[int | None], *, within: int) -> list[int]:
    """Of each row the number of its cluster: it joins the first of its walk and label, in order of time, whose picture
    differs in at most `within` bits. A picture without a hash is alone. Pure."""
    leaders: dict[tuple[str, str], list[tuple[int, int]]] = {}
    found = list(range(len(rows)))
    for place in sorted(range(len(rows)), key=lambda at: (rows[at].timestamp, rows[at].sample_id)):
        own, row = hashes[place], rows[place]
        if own is None:
            continue
        known = leaders.setdefault((row.walk_id, row.ground_truth), [])
        leader = next((number for number, other in known if (own ^ other).bit_count() <= within), None)
        if leader is None:
            known.append((place, own))
        else:
            found[place] = leader
    return found


def clusters_of(home: Path, folder: Path, rows: Sequence[SampleRow], *, within: int) -> list[int]:
    """The same for rows of the dataset under `home`; each picture is hashed once. folder: where their files lie.

    raises: OSError
    """
    file = derived.folder(home) / FILE
    kept = _kept(file)
    new = {row.frame_path for row in rows} - kept.keys()
    for path in sorted(new):
        image, _ = pictures.load(folder / path)
        kept[path] = None if image is None else dhash(image)
    if new:
        atomic.make_dirs(file.parent)
        atomic.write_json(file, {path: None if own is None else f"{own:016x}" for path, own in kept.items()})
    return clusters(rows, [kept[row.frame_path] for row in rows], within=within)


def _kept(file: Path) -> dict[str, int | None]:
    """What is kept of pictures that could be read; what is damaged counts as nothing."""
    try:
        values = json.loads(file.read_bytes())
        return {str(path): int(own, 16) for path, own in values.items() if own is not None}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
