"""How a thing that is followed moves: towards the walker, across the way, or not at all. Pure.

    foot of the box × size of the box → how tall the thing is → its size alone gives the distance at each look
    straight lines through distances and sideways places of the last looks → speeds, each with its error

A size is read ten times as well as a foot near the horizon, so speeds come from sizes; the feet are a second witness,
and where the two contradict each other nothing is said of the motion. Sideways places are freed of the camera's own
turn as far as that is known.

What cannot be told: the walker's own speed. A thing that stands comes nearer at 0 to OWN_MOST_MPS, and so does one that
creeps towards somebody who waits. Only what is faster than any walker comes by itself.

source: time to contact from growth, Lee 1976; lines by the median of slopes, Theil 1950 and Sen 1968
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from shared.sight.boxes import Box
from shared.sight.camera import Camera
from shared.sight.reach import CORRIDOR_M, reach
from shared.sight.tracks import Track

APPROACHING, CLOSING_FAST = "approaching", "closing fast"
CROSSING = "crossing"
STANDING, LEAVING, PASSING = "standing", "leaving", "passing"
COMES = (APPROACHING, CLOSING_FAST, CROSSING)

OWN_MOST_MPS = 1.6
"""A quick walk. Nobody tells the device how fast its wearer walks."""
OWN_SPEED_LEAST_MPS = 0.3
"""A thing comes by itself only from this speed on, beyond the walker's."""
FAST_MPS = 4.0
"""Own speed from which a thing closes fast: nobody steps aside in the second that is left at 6 m."""
SIDEWAYS_LEAST_MPS = 1.0
"""Slower than this across the picture a thing does not cross: a camera on a chest sways."""
CROSSES_WITHIN_S = 3.5
FASTEST_MPS = 20.0
"""72 km/h: in a street nothing is faster, but a box that jumps from one thing to another."""
SIGHTINGS_LEAST, SPAN_LEAST_S = 3, 0.4
SIZE_NOISE, FOOT_NOISE, BEARING_NOISE = 0.05, 0.02, 0.01
"""Of one look, one standard deviation: size as a share of itself; foot and middle as shares of the picture's sides.
The packaged eyes on 29 real pictures, shifted and zoomed by up to 8 %: sizes of people 0.047, of vehicles scored above
0.6 0.041, of others 0.08; foot 0.006, and the sway of a chest on top; middle 0.004 to 0.01."""
SURE = 2.0
"""Standard errors by which a speed must differ from what is excluded."""
TALLEST_M = {"person": 2.4, "bicycle": 2.4, "vehicle": 4.5}
"""What seems taller than its class hangs on a wall or stands on rising ground: its foot is not where it seems, and its
speed would be wrong by the same factor. What seems too low is nearer than thought, and its speed no false alarm."""
CUT = 0.012
"""A box that ends this near to the picture's edge, as a share, is cut off by it."""
_WIDEST_RAD = 1.2
"""Farther aside nothing was in the picture: the camera turned too much."""
_TO_SIGMA = 1.4826
"""From the median of the deviations to a standard deviation."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The slope of a straight line, with its standard error."""

    mps: float
    error_mps: float

    @property
    def least(self) -> float:
        return self.mps - SURE * self.error_mps

    @property
    def most(self) -> float:
        return self.mps + SURE * self.error_mps


@dataclass(frozen=True, slots=True)
class Motion:
    """Of a thing, relative to the walker."""

    ahead_m: float
    """Now."""
    lateral_m: float
    """Now; to the right of where the camera points."""
    closing: Speed
    """How fast it gets nearer; negative = it gets farther away."""
    sideways: Speed | None
    """To the right; None where the camera's own turn is not known."""

    @property
    def contact_s(self) -> float:
        """Time to contact: when it is here if both go on so; inf where it does not get nearer."""
        return self.ahead_m / self.closing.mps if self.closing.mps > 0 else math.inf

    @property
    def miss_m(self) -> float:
        """How far to the side it goes past; what is sideways unknown counts as none."""
        across = 0.0 if self.sideways is None else self.sideways.mps
        away = self.closing.mps**2 + across**2
        if away < 1e-9:
            return math.hypot(self.ahead_m, self.lateral_m)
        left_s = max(0.0, (self.ahead_m * self.closing.mps - self.lateral_m * across) / away)
        return math.hypot(self.ahead_m - self.closing.mps * left_s, self.lateral_m + across * left_s)

    @property
    def towards(self) -> Speed | None:
        """How fast it comes from its side towards the middle of the path; negative = it goes outwards."""
        if self.sideways is None:
            return None
        return Speed(-math.copysign(1.0, self.lateral_m) * self.sideways.mps, self.sideways.error_mps)

    @property
    def in_path_s(self) -> float:
        """When it comes onto the path from its side; 0 = it is there, inf = it does not come."""
        gap_m, towards = abs(self.lateral_m) - CORRIDOR_M, self.towards
        if gap_m <= 0.0:
            return 0.0
        return gap_m / towards.mps if towards is not None and towards.mps > 0 else math.inf


def motion_of(track: Track, camera: Camera, *, aspect: float, steady_since_s: float = -math.inf) -> Motion | None:
    """How it moves; None where it was seen too shortly, its box is cut off or the feet contradict the sizes.

    aspect: width / height of the picture; steady_since_s: since when the camera's own turn is known
    """
    seen = track.sightings
    if len(seen) < SIGHTINGS_LEAST or seen[-1].at_s - seen[0].at_s < SPAN_LEAST_S:
        return None
    boxes, times = [sighting.box for sighting in seen], [sighting.at_s - seen[-1].at_s for sighting in seen]
    away = _distances(boxes, times, _nodding(track, camera), aspect)
    angles = _angles(boxes, camera, aspect)
    if away is None or angles is None:
        return None
    now_m, nearing = _line(times, away, [SIZE_NOISE * metres for metres in away])
    turned = [angle + sighting.turned_rad - seen[-1].turned_rad for angle, sighting in zip(angles, seen, strict=True)]
    if now_m <= 0.0 or max(map(abs, turned)) > _WIDEST_RAD:
        return None
    beside = [metres * math.tan(angle) for metres, angle in zip(away, turned, strict=True)]
    lateral_m, sideways = _line(times, beside, [BEARING_NOISE * camera.across * metres for metres in away])
    closing = Speed(-nearing.mps, nearing.error_mps)
    return Motion(now_m, lateral_m, closing, sideways if seen[0].at_s >= steady_since_s else None)


def state_of(name: str, moving: Motion) -> str:
    """What the motion of such an object is: one of the states of this module, or "" where it cannot be told."""
    limit = reach(name)
    if _crosses(moving, limit.ahead_m):
        return CROSSING
    if moving.closing.least > OWN_MOST_MPS + OWN_SPEED_LEAST_MPS:
        if moving.miss_m > limit.lateral_m:
            return PASSING
        return CLOSING_FAST if moving.closing.least > OWN_MOST_MPS + FAST_MPS else APPROACHING
    if _leaves(moving):
        return LEAVING
    return STANDING if _stands(moving) else ""


def _crosses(moving: Motion, ahead_most_m: float) -> bool:
    """Whether it comes onto the path from a side, or is on it and goes across, near enough to matter."""
    towards = moving.towards
    if towards is None or moving.in_path_s > CROSSES_WITHIN_S:
        return False
    there_m = moving.ahead_m - moving.closing.mps * moving.in_path_s
    on_path = moving.in_path_s == 0.0
    quick = max(towards.least, -towards.most if on_path else -math.inf) > SIDEWAYS_LEAST_MPS
    return quick and 0.0 < there_m <= ahead_most_m


def _leaves(moving: Motion) -> bool:
    """Whether it gets farther away by itself, or goes off to its side."""
    outwards = moving.towards is not None and moving.in_path_s > 0.0 and moving.towards.most < -SIDEWAYS_LEAST_MPS
    return moving.closing.most < -OWN_SPEED_LEAST_MPS or outwards


def _stands(moving: Motion) -> bool:
    """Whether all that is seen of it is best explained by the walker's own motion."""
    slow = -OWN_SPEED_LEAST_MPS < moving.closing.mps < OWN_MOST_MPS + OWN_SPEED_LEAST_MPS
    return slow and moving.sideways is not None and abs(moving.sideways.mps) < SIDEWAYS_LEAST_MPS


def _nodding(track: Track, camera: Camera) -> list[Camera]:
    """The camera at each sighting: on a chest it nods by degrees while one walks, and on average hangs as it is set."""
    down = [math.degrees(sighting.nodded_rad) for sighting in track.sightings]
    usual = sum(down) / len(down)
    return [replace(camera, pitch_deg=min(max(camera.pitch_deg + at - usual, -30.0), 60.0)) for at in down]


def _distances(
    boxes: Sequence[Box], times: Sequence[float], cameras: Sequence[Camera], aspect: float
) -> list[float] | None:
    """Metres ahead at each look, by size; None where the box is cut off, or the feet say another speed."""
    sizes = _sizes(boxes)
    camera = cameras[-1]
    feet = [(at, _foot_m(box, cameras[at], aspect)) for at, box in enumerate(boxes) if box.bottom < 1.0 - CUT]
    standing = [(at, metres) for at, metres in feet if metres is not None]
    if sizes is None or len(standing) < SIGHTINGS_LEAST:
        return None
    tall = median(metres * sizes[at] for at, metres in standing)
    if _too_tall(boxes[-1], tall / sizes[-1], camera, aspect):
        return None
    away = [tall / size for size in sizes]
    noise = [FOOT_NOISE * camera.across / aspect * metres**2 / camera.height_m for _, metres in standing]
    _, by_foot = _line([times[at] for at, _ in standing], [metres for _, metres in standing], noise)
    _, by_size = _line(times, away, [SIZE_NOISE * metres for metres in away])
    differ = abs(by_foot.mps - by_size.mps) > SURE * math.hypot(by_foot.error_mps, by_size.error_mps)
    odd = abs(by_size.mps) > FASTEST_MPS or (
        -by_size.mps > OWN_MOST_MPS and _uncovers(boxes, times, -by_size.mps, away)
    )
    return None if differ or odd else away


def _uncovers(boxes: Sequence[Box], times: Sequence[float], closing_mps: float, away: Sequence[float]) -> bool:
    """Whether a box grows upwards and not sideways: something that hid it gives it free. What comes grows all round."""
    if any(box.left <= CUT or box.right >= 1.0 - CUT for box in boxes):
        return False
    wide = away[-1] * (boxes[-1].right - boxes[-1].left)
    _, by_width = _line(times, [wide / (box.right - box.left) for box in boxes], [SIZE_NOISE] * len(boxes))
    return -by_width.mps < closing_mps / 2


def _too_tall(box: Box, away_m: float, camera: Camera, aspect: float) -> bool:
    """Whether a thing that far away would be taller than its class may be, where its height is seen."""
    whole = box.top > CUT and box.bottom < 1.0 - CUT
    tall_m = (box.bottom - box.top) * camera.across / aspect * away_m
    return whole and tall_m > TALLEST_M.get(box.object, math.inf)


def _foot_m(box: Box, camera: Camera, aspect: float) -> float | None:
    foot = camera.ground((box.left + box.right) / 2, box.bottom, aspect=aspect)
    return None if foot is None or foot.ahead_m <= 0.0 else foot.ahead_m


def _sizes(boxes: Sequence[Box]) -> list[float] | None:
    """Of each box: its height, which no turn changes, or its width where top or bottom is cut off in one of them."""
    if all(box.top > CUT and box.bottom < 1.0 - CUT for box in boxes):
        return [box.bottom - box.top for box in boxes]
    if all(box.left > CUT and box.right < 1.0 - CUT for box in boxes):
        return [box.right - box.left for box in boxes]
    return None


def _angles(boxes: Sequence[Box], camera: Camera, aspect: float) -> list[float] | None:
    """Radians to the right of where the camera points: of the middle, or of the edge that is never cut off."""
    left, right = any(box.left <= CUT for box in boxes), any(box.right >= 1.0 - CUT for box in boxes)
    if left and right:
        return None
    of = [box.right if left else box.left if right else (box.left + box.right) / 2 for box in boxes]
    return [camera.bearing(x, box.bottom, aspect=aspect) for x, box in zip(of, boxes, strict=True)]


def _line(times: Sequence[float], values: Sequence[float], noise: Sequence[float]) -> tuple[float, Speed]:
    """The value at time 0 and the slope of a line that one wrong point in four does not move.

    noise: of each value, one standard deviation; where the values scatter more, that counts
    """
    slope = median((b - a) / (t - s) for (s, a), (t, b) in combinations(zip(times, values, strict=True), 2) if t > s)
    at_zero = median(value - slope * at for at, value in zip(times, values, strict=True))
    off = median(abs(value - at_zero - slope * at) for at, value in zip(times, values, strict=True))
    scatter = max(_TO_SIGMA * off, math.sqrt(sum(one**2 for one in noise) / len(noise)))
    middle = sum(times) / len(times)
    spread = math.sqrt(sum((at - middle) ** 2 for at in times))
    return at_zero, Speed(slope, scatter / spread)
