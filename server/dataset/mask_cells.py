"""What a mask says of each cell of a coarse grid: the truth that a ground head is taught, and judged by. Pure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server import walks
from server.dataset.masks import Mask
from server.walks.ground import RAYS, THIN_COVER
from shared.sight.ground import GROUND

UNTOLD = -1
UNKNOWN, WALKABLE, ROAD = (GROUND.index(name) for name in ("unknown", "walkable", "road"))


def told(mask: Mask, grid: int) -> NDArray[np.int64]:
    """What each cell of a picture shows: int64 [grid, grid], places in GROUND or UNTOLD.

    Nothing is told where the mask does not say what is there, nor where road meets pavement and it names no curb:
    most sets have no word for one, and to call its cell a road would unteach what drawings taught.
    """
    rays = np.asarray(cv2.resize(np.ascontiguousarray(mask), (RAYS, RAYS), interpolation=cv2.INTER_NEAREST), np.uint8)
    cells = walks.ground_cells(rays, grid).astype(np.int64)
    meets = _covers(rays, WALKABLE, grid) & _covers(rays, ROAD, grid) & np.isin(cells, (WALKABLE, ROAD))
    return np.where((cells == UNKNOWN) | meets, UNTOLD, cells)


def _covers(rays: NDArray[np.uint8], place: int, grid: int) -> NDArray[np.bool_]:
    """[grid, grid]: whether a class covers more of a cell than a thin thing does."""
    edges = np.linspace(0, RAYS, grid + 1).round().astype(int)[:-1]
    ones = np.ones_like(rays, np.int64)
    counts, all_ = (np.add.reduceat(np.add.reduceat(of, edges, 0), edges, 1) for of in ((rays == place) * ones, ones))
    return np.asarray(counts >= np.maximum(1.0, THIN_COVER * all_))
