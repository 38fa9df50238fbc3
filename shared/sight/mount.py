"""How far down the camera really looks, from the people it sees. Pure.

The horizon cuts everybody who stands on the same level ground at the camera's own height: a person of PERSON_M seen by
a camera at 1.3 m is cut at 76 % of the way from the feet to the top of the head, near or far. So each person's box
gives a row of the horizon, and so a pitch. One may be a child, sit, or stand on steps: the median over many people in
the last minute is followed, slowly, and never farther than BOUND_DEG from the setting.

source: objects of known height and the horizon, Hoiem, Efros and Hebert 2008, section 3
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from shared.sight.boxes import Box
from shared.sight.camera import Camera
from shared.sight.motion import CUT

PERSON_M = 1.68
"""Standing, with shoes: between the means of women and men."""
HEIGHTS = (0.12, 0.85)
"""Of the picture: smaller ones are read too badly, larger ones too near a lens that bends."""
SLIMMEST, WIDEST = 0.2, 0.6
"""Width over height, in metres, of a box that shows somebody who stands."""
SCORE_LEAST = 0.5
KEPT_S = 60.0
SIGHTINGS_LEAST, THINGS_LEAST = 12, 3
"""Fewer sightings, or of fewer people, move nothing."""
BOUND_DEG = 12.0
FOLLOW_DEG_PER_S = 0.5


@dataclass(frozen=True, slots=True)
class PitchSighting:
    """What one box says."""

    at_s: float
    thing: int
    """Number of its track."""
    pitch_deg: float


@dataclass(frozen=True, slots=True)
class Mount:
    """What is known of how the camera hangs. Start with Mount()."""

    sightings: tuple[PitchSighting, ...] = ()
    offset_deg: float = 0.0
    """How much farther down than set it looks."""
    at_s: float = -math.inf


def pitch_deg(box: Box, camera: Camera, *, aspect: float) -> float | None:
    """The pitch under which a box is a standing person of PERSON_M; None where it is nobody whose height is known."""
    if box.object != "person" or box.score < SCORE_LEAST or camera.height_m >= PERSON_M:
        return None
    tall = box.bottom - box.top
    slim = (box.right - box.left) * aspect / max(tall, 1e-6)
    cut = box.top <= CUT or box.bottom >= 1.0 - CUT or box.left <= CUT or box.right >= 1.0 - CUT
    if cut or not (HEIGHTS[0] <= tall <= HEIGHTS[1] and SLIMMEST <= slim <= WIDEST):
        return None
    head, foot = ((edge - 0.5) * camera.across / aspect for edge in (box.top, box.bottom))
    return math.degrees(_pitch(head, foot, 1.0 - PERSON_M / camera.height_m))


def _pitch(head: float, foot: float, share: float) -> float:
    """Radians: tan(pitch + atan(head)) = share · tan(pitch + atan(foot)), as a quadratic in tan(pitch).

    head, foot: tangents below the picture's middle; share: of the camera's height that the head is below it, negative
    """
    square, line, rest = share * head - foot, (1.0 - head * foot) * (1.0 - share), head - share * foot
    if abs(square) < 1e-9:
        return math.atan(-rest / line)
    root = math.sqrt(max(0.0, line**2 - 4.0 * square * rest))
    return min((math.atan((-line + sign * root) / (2.0 * square)) for sign in (1.0, -1.0)), key=abs)


def follow_pitch(
    mount: Mount, people: Iterable[tuple[int, Box]], camera: Camera, at_s: float, *, aspect: float
) -> Mount:
    """One look more. people: (number of its track, box); camera: as it is set"""
    said = [(number, pitch_deg(box, camera, aspect=aspect)) for number, box in people]
    new = tuple(PitchSighting(at_s, number, pitch) for number, pitch in said if pitch is not None)
    kept = (*(seen for seen in mount.sightings if at_s - seen.at_s <= KEPT_S), *new)
    passed_s = min(max(0.0, at_s - mount.at_s), 1.0)
    mount = replace(mount, sightings=kept, at_s=at_s)
    if len(kept) < SIGHTINGS_LEAST or len({seen.thing for seen in kept}) < THINGS_LEAST:
        return mount
    wanted = min(max(median(seen.pitch_deg for seen in kept) - camera.pitch_deg, -BOUND_DEG), BOUND_DEG)
    most = FOLLOW_DEG_PER_S * passed_s
    return replace(mount, offset_deg=mount.offset_deg + min(max(wanted - mount.offset_deg, -most), most))


def mounted(camera: Camera, mount: Mount) -> Camera:
    """The camera as it hangs."""
    pitch = min(max(camera.pitch_deg + mount.offset_deg, -30.0), 60.0)
    return replace(camera, pitch_deg=pitch)
