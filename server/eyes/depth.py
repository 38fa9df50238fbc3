"""From a depth map to what stands on the ground, and where the ground falls away. Pure.

On level ground the inverse of a point's depth grows linearly with its row. The line is fitted to the lower middle of
the picture (Theil-Sen, which a quarter of outliers does not move), so that a relative map, of unknown scale and offset,
becomes metres by the camera's place. What is higher than STANDS_M above the ground is then an obstacle, what is deeper
than FALLS_M below it a drop-off. Lower edges, such as a curb, are within the error of such a map and are never said.

source: MiDaS, arXiv 1907.01341 (relative inverse depth); Theil 1950, Sen 1968
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from shared.sight import Box, Camera
from shared.sight.boxes import AREA_LEAST

OBJECTS = ("obstacle", "drop-off")
STANDS_M, FALLS_M, HIGHEST_M = 0.3, 0.35, 2.2
FARTHEST_M = 8.0
"""No reach goes farther (`shared.sight.reach`)."""
LEVEL_LEAST = 0.6
"""Share of the rows in the lower middle that must lie on the line, or nothing is said of the picture."""
_WIDTH, _OFF_LINE = 160, 0.08
_ROWS = 0.7
"""From here down the ground is looked for: with the usual camera, the next 3 m. Above, a drop would bend the line."""


def things(inverse: NDArray[np.float32], camera: Camera, *, aspect: float) -> tuple[Box, ...]:
    """Obstacles and drops, best first.

    inverse: float32 [h, w], the nearer the larger, linear in 1 / metres with any scale and offset
    aspect: width / height of the picture
    """
    small = cv2.resize(
        inverse.astype(np.float32), (_WIDTH, max(8, round(_WIDTH / aspect))), interpolation=cv2.INTER_AREA
    )
    if not np.isfinite(small).all():
        return ()
    down = _down(len(small), camera, aspect)
    per_metre, offset, level = _ground_line(np.asarray(small, np.float64), down / camera.height_m)
    if level < LEVEL_LEAST or per_metre <= 0:
        return ()
    depth_m = 1.0 / np.maximum((small - offset) / per_metre, 1e-3)
    height_m = camera.height_m - depth_m * down[:, None]
    near = depth_m < FARTHEST_M
    above = near & (height_m > STANDS_M) & (height_m < HIGHEST_M)
    below = (height_m < -FALLS_M) & (camera.height_m / np.maximum(down, 1e-3) < FARTHEST_M)[:, None]
    standing = [_on_ground(box, depth_m, camera, aspect) for box in _boxes("obstacle", above, level)]
    return tuple(sorted([*standing, *_boxes("drop-off", below, level)], key=lambda box: -box.score))


def _on_ground(box: Box, depth_m: NDArray[np.float64], camera: Camera, aspect: float) -> Box:
    """The same down to where it meets the ground, below the STANDS_M that are not told from it.

    depth_m: [h, w], along the optical axis
    """
    height, width = depth_m.shape
    row = round(box.bottom * height) - 1
    pitch = math.radians(camera.pitch_deg)
    down = _down(height, camera, aspect)
    ahead = (1.0 - down * math.sin(pitch)) / math.cos(pitch)  # metres for each metre of depth, at each row
    columns = slice(round(box.left * width), round(box.right * width))
    at_m = float(np.median(depth_m[row, columns])) * ahead[row]
    ground_m = camera.height_m / np.maximum(down, 1e-6) * ahead
    foot = max(row, int(np.abs(ground_m - at_m).argmin()))
    return replace(box, bottom=(foot + 1) / height)


def _down(rows: int, camera: Camera, aspect: float) -> NDArray[np.float64]:
    """[rows]: metres that a ray falls for each metre that it goes along the optical axis."""
    y = (np.arange(rows) + 0.5) / rows
    across = 2.0 * math.tan(math.radians(camera.fov_deg) / 2.0)
    pitch = math.radians(camera.pitch_deg)
    return np.asarray((y - 0.5) * across / aspect * math.cos(pitch) + math.sin(pitch))


def _ground_line(inverse: NDArray[np.float64], per_m: NDArray[np.float64]) -> tuple[float, float, float]:
    """(scale, offset, share of rows on the line) of inverse depth against that of level ground.

    per_m: [h], 1 / metres of level ground at each row
    """
    height, width = inverse.shape
    rows = np.flatnonzero((np.arange(height) >= _ROWS * height) & (per_m > 1.0 / FARTHEST_M))
    if len(rows) < height // 8:
        return 0.0, 0.0, 0.0
    middle = np.median(inverse[rows, width // 4 : width - width // 4], axis=1)
    scale, offset, *_ = theilslopes(middle, per_m[rows])
    span = abs(float(scale)) * float(np.ptp(per_m[rows]))
    on_line = np.abs(middle - (scale * per_m[rows] + offset)) <= _OFF_LINE * span
    return float(scale), float(offset), float(on_line.mean()) if span > 0 else 0.0


def _boxes(name: str, where: NDArray[np.bool_], level: float) -> list[Box]:
    """A box for each piece that is large enough; sure as the ground is level and the piece fills its box."""
    height, width = where.shape
    opened = cv2.morphologyEx(where.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, _, pieces, _ = cv2.connectedComponentsWithStats(opened)
    found = []
    for left, top, wide, high, area in pieces[1:count].tolist():
        if area >= AREA_LEAST * height * width:
            filled = area / (wide * high)
            edges = (left / width, top / height, (left + wide) / width, (top + high) / height)
            found.append(Box(name, level * filled, *edges))
    return found
