"""What the ground of a scene is made of: the exact answer to what a ground head should say.

The place says what its floor is; what stands or lies on it is taken from the masks of the things that were painted.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.walks.backdrop import hits
from server.walks.scene import FAR_M, Place, Pose, Scene
from shared.sight.ground import GROUND

RAYS = 40
"""Down and across a picture, whatever its shape."""
THIN_COVER = 0.12
"""What is no floor is what a cell is where it covers this share of it: curbs and poles are thin."""
_FAR_T = 60.0
"""Nobody can say what ground farther off than this is, in metres along the camera's axis."""
_OF_THINGS = {
    "curb": "curb", "drop-off": "drop", "stairs down": "step down", "stairs up": "step up", "crosswalk": "crosswalk",
    "slippery ground": "water",
}  # fmt: skip
"""All other things stand upright."""
_FLOORS = tuple(GROUND.index(name) for name in ("unknown", "walkable", "road", "grass"))


def ground(scene: Scene, ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the rays of a picture meet.

    ids: [h, w] of the painted scene, thing i as i + 1
    returns: uint8 [RAYS, RAYS], places in shared.sight.ground.GROUND
    """
    height_px, width_px = ids.shape
    floor = _floor(scene.place, scene.pose, width_px=width_px // 4, height_px=height_px // 4)
    kinds = [_class(_OF_THINGS.get(thing.object, "obstacle")) for thing in scene.things]
    things = np.array([0, *kinds], np.uint8)[_square(ids)]
    return np.where(things > 0, things, _square(floor))


def cells(rays: NDArray[np.uint8], grid: int) -> NDArray[np.uint8]:
    """The class of each cell: uint8 [RAYS, RAYS] → [grid, grid]. Raises: ValueError for more cells than rays."""
    if not 0 < grid <= RAYS:
        raise ValueError(f"{RAYS} rays make no {grid} cells")
    edges = np.linspace(0, RAYS, grid + 1).round().astype(int)[:-1]
    each = np.stack([rays == at for at in range(len(GROUND))], -1).astype(np.int64)
    counts = np.add.reduceat(np.add.reduceat(each, edges, 0), edges, 1)
    others = counts.copy()
    others[..., _FLOORS] = 0
    thin = others.max(-1) >= np.maximum(1.0, THIN_COVER * counts.sum(-1))
    return np.asarray(np.where(thin, others.argmax(-1), counts.argmax(-1)), np.uint8)


def _floor(place: Place, pose: Pose, *, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """uint8 [h, w] of the place with nothing in it."""
    hit = hits(place, pose, width_px=width_px, height_px=height_px)
    upright = hit.is_wall | (~hit.is_level & (hit.y < place.end_height_m))
    out = np.where(upright & (hit.t < _FAR_T), _class("obstacle"), 0).astype(np.uint8)
    level = hit.is_level & (hit.dy < 0) & (hit.t < _FAR_T)
    out[level] = _class(_paved(place.path))
    out[level & (hit.x < place.path_left_m)] = _class(_beside(place.left, place.path))
    out[level & (hit.x > place.path_right_m)] = _class(_beside(place.right, place.path))
    if place.cross_from_m < FAR_M:
        out[level & (hit.z > place.cross_from_m) & (hit.z < place.cross_to_m)] = _class("road")
    return out


def _paved(texture: str) -> str:
    return "grass" if texture.startswith("grass") else "walkable"


def _beside(texture: str, path: str) -> str:
    """Asphalt beside paving of another kind is a road; beside asphalt it is more of the same path."""
    is_road = texture.startswith("asphalt") and not path.startswith("asphalt")
    return "road" if is_road else _paved(texture)


def _square(layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(layer, (RAYS, RAYS), interpolation=cv2.INTER_NEAREST), np.uint8)


def _class(name: str) -> int:
    return GROUND.index(name)
