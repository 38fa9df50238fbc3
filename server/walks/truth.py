"""What a frame should make the device say: which things matter, on which side, and which of them first. Pure.

The rules, all in the camera's own level frame (x to the right of where it points, z ahead of it), metres:

 1. Seen: at least MIN_AREA of the frame's pixels show the thing, and at least MIN_SHOWN of what it would cover.
 2. Side: "ahead" where its footprint, within reach, overlaps the walking corridor (CORRIDOR_M to each side of the
    middle); otherwise the side its footprint is on.
 3. Within reach: on the corridor up to `reach(object).ahead_m` away; beside it up to `beside_m` ahead and no farther
    than `lateral_m` sideways.
 4. First: the lowest vocabulary.tier of (object, side), then the nearest.
 5. Nothing seen within reach: vocabulary.CLEAR.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.walks.catalogue import KINDS
from server.walks.scene import Pose, Thing
from shared import vocabulary
from shared.sight import CORRIDOR_M, reach

KNOWN = (
    "curb", "drop-off", "stairs down", "stairs up", "vehicle", "bicycle", "head obstacle", "pole", "bollard",
    "barrier", "bin", "furniture", "person", "crosswalk", "door", "slippery ground",
)  # fmt: skip
"""What the starter learns."""
HELD_BACK = ("cone", "signboard")
"""Drawn too, but left out of the starter's training: a demo teaches them later."""
DRAWN = (*KNOWN, *HELD_BACK, *(name for name in KINDS if name not in (*KNOWN, *HELD_BACK)))
"""All that can be drawn. Mask value i + 1 is DRAWN[i]."""

MIN_AREA = 0.003
MIN_SHOWN = 0.4


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing that matters in a frame."""

    object: str
    side: str
    """One of vocabulary.SIDES_SEEN."""
    distance_m: float
    area: float
    """Share of the frame's pixels that show it."""
    bottom: float
    """Its lowest visible row, 0 = top of the picture, 1 = bottom."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A frame with its truth."""

    image: NDArray[np.uint8]
    """[h, w, 3] RGB."""
    mask: NDArray[np.uint8]
    """[h, w]: 0 = nothing nameable, i + 1 = DRAWN[i]."""
    seen: tuple[Seen, ...]
    """Visible and within reach, most urgent first."""
    instruction: str
    """vocabulary.instruct(...) of the first of `seen`, else vocabulary.CLEAR."""
    ground: NDArray[np.uint8]
    """[RAYS, RAYS]: what the ground is made of (server.walks.ground)."""


@dataclass(frozen=True, slots=True)
class Bearing:
    """Where a thing is, seen from the walker."""

    side: str
    distance_m: float
    """To its nearest point in front of the walker."""
    ahead_m: float
    lateral_m: float
    """Gap between the middle of the corridor and the thing; 0 where it spans it."""
    left_m: float
    right_m: float
    """Its extent along the camera's x, within reach."""


def bearing(thing: Thing, pose: Pose) -> Bearing | None:
    """Side and distance, or None where no part of the footprint is in front within reach (plus a margin of 40 m)."""
    corners = [_level(corner, pose) for corner in thing.corners()]
    near = _clip(_clip(corners, 0.0, keep_above=True), reach(thing.object).ahead_m, keep_above=False)
    part = near or _clip(corners, 0.0, keep_above=True)
    if not part:
        return None
    left, right = min(x for x, _ in part), max(x for x, _ in part)
    ahead = max(0.0, min(z for _, z in part))
    gap = 0.0 if left <= 0.0 <= right else min(abs(left), abs(right))
    if left < CORRIDOR_M and right > -CORRIDOR_M:
        side = "ahead"
    else:
        side = "on the right" if left + right > 0 else "on the left"
    return Bearing(side, math.hypot(gap, ahead), ahead, gap, left, right)


def within_reach(thing: Thing, at: Bearing) -> bool:
    """Whether it is near enough to be named: rule 3 of the module."""
    limit = reach(thing.object)
    if at.side == "ahead":
        return at.distance_m <= limit.ahead_m
    return at.ahead_m <= limit.beside_m and at.lateral_m <= limit.lateral_m


def urgency(seen: Seen) -> tuple[int, float]:
    """Rule 4: smaller comes first."""
    return vocabulary.tier(vocabulary.Slots("", seen.object, seen.side)), seen.distance_m


def judge(things: Iterable[Thing], pose: Pose, ids: NDArray[np.uint8], drawn_px: dict[int, int]) -> tuple[Seen, ...]:
    """Rules 1 to 4.

    ids: [h, w], i + 1 where the i-th of `things` shows. drawn_px: i + 1 -> pixels it covered before nearer things.
    """
    return tuple(sorted((seen for _, seen in judged(things, pose, ids, drawn_px)), key=urgency))


def judged(
    things: Iterable[Thing], pose: Pose, ids: NDArray[np.uint8], drawn_px: dict[int, int]
) -> list[tuple[int, Seen]]:
    """Rules 1 to 3: (index of the thing, how it is seen), in the order of `things`."""
    shown = np.bincount(ids.ravel(), minlength=256)
    found = []
    for i, thing in enumerate(things, start=1):
        area = float(shown[i]) / ids.size
        if area < MIN_AREA or shown[i] < MIN_SHOWN * drawn_px.get(i, 0):
            continue
        at = bearing(thing, pose)
        if at is None or not within_reach(thing, at):
            continue
        rows = np.flatnonzero((ids == i).any(axis=1))
        bottom = float(rows[-1] + 1) / ids.shape[0]
        found.append((i - 1, Seen(thing.object, at.side, round(at.distance_m, 2), area, bottom)))
    return found


def instruction(seen: tuple[Seen, ...]) -> str:
    """Rule 5 and the canonical sentence."""
    return vocabulary.instruct(seen[0].object, seen[0].side) if seen else vocabulary.CLEAR


def _level(corner: tuple[float, float], pose: Pose) -> tuple[float, float]:
    dx, dz = corner[0] - pose.x_m, corner[1] - pose.z_m
    c, s = math.cos(pose.yaw), math.sin(pose.yaw)
    return dx * c - dz * s, dx * s + dz * c


def _clip(points: list[tuple[float, float]], z: float, *, keep_above: bool) -> list[tuple[float, float]]:
    """The part of a polygon on one side of a line of equal z."""
    sign = 1.0 if keep_above else -1.0
    kept: list[tuple[float, float]] = []
    for i, (bx, bz) in enumerate(points):
        ax, az = points[i - 1]
        if (sign * (az - z) >= 0) != (sign * (bz - z) >= 0):
            share = (z - az) / (bz - az)
            kept.append((ax + (bx - ax) * share, z))
        if sign * (bz - z) >= 0:
            kept.append((bx, bz))
    return kept
