"""A picture with a camera: polygons, lines and solids in metres, drawn with perspective and labelled pixel by pixel.

Everything drawn goes to two arrays at once: `image` (RGB) and `ids` (which thing each pixel shows, 0 = none). Later
strokes cover earlier ones, so draw from far to near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from server.walks.scene import VIEW_DEG, Colour, Pose

Point = tuple[float, float, float]
NEAR_M = 0.25
_SHIFT = 3
_ONE = 1 << _SHIFT


def focal_px(width_px: int) -> float:
    """Focal length in pixels for a picture this wide."""
    return width_px / 2 / math.tan(math.radians(VIEW_DEG / 2))


def axes(pose: Pose) -> tuple[Point, Point, Point]:
    """The camera's right, up and forward vectors in world axes."""
    sy, cy = math.sin(pose.yaw), math.cos(pose.yaw)
    sp, cp = math.sin(pose.pitch), math.cos(pose.pitch)
    sr, cr = math.sin(pose.roll), math.cos(pose.roll)
    right, up = (cy, 0.0, -sy), (sy * sp, cp, cy * sp)
    turned = (right[0] * cr + up[0] * sr, right[1] * cr + up[1] * sr, right[2] * cr + up[2] * sr)
    raised = (up[0] * cr - right[0] * sr, up[1] * cr - right[1] * sr, up[2] * cr - right[2] * sr)
    return turned, raised, (sy * cp, -sp, cy * cp)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` of `b` in it."""
    keep = 1.0 - share
    return (a[0] * keep + b[0] * share, a[1] * keep + b[1] * share, a[2] * keep + b[2] * share)


def shaded(colour: Colour, gain: float) -> Colour:
    """Brighter or darker."""
    return (min(255.0, colour[0] * gain), min(255.0, colour[1] * gain), min(255.0, colour[2] * gain))


class Stand:
    """Local axes of a thing: (across, up, along) -> world, turned by its heading."""

    __slots__ = ("_c", "_s", "_x", "_z")

    def __init__(self, x_m: float, z_m: float, heading: float) -> None:
        self._x, self._z = x_m, z_m
        self._c, self._s = math.cos(heading), math.sin(heading)

    def __call__(self, across: float, up: float, along: float) -> Point:
        return (self._x + across * self._c + along * self._s, up, self._z - across * self._s + along * self._c)


class Canvas:
    """`image` uint8 [h, w, 3] RGB and `ids` uint8 [h, w], seen from `pose`."""

    def __init__(
        self,
        image: NDArray[np.uint8],
        pose: Pose,
        *,
        fog: float = 0.0,
        haze: Colour = (200, 205, 210),
        zenith: Colour = (200, 205, 210),
    ) -> None:
        """haze, zenith: the sky's colour at the horizon and above"""
        self.image = image
        self.ids: NDArray[np.uint8] = np.zeros(image.shape[:2], dtype=np.uint8)
        self.pose = pose
        self.current = 0
        self.stride = 0.0
        """Phase of the steps of who is drawn next; 0 = stands still."""
        self.haze, self.zenith, self._fog = haze, zenith, fog / 10.0
        self._right, self._up, self._forward = axes(pose)
        height_px, width_px = image.shape[:2]
        self.focal = focal_px(width_px)
        self._middle = (width_px / 2 - 0.5, height_px / 2 - 0.5)
        flat = math.hypot(self._forward[0], self._forward[2])
        self._flat_right = (self._forward[2] / flat, -self._forward[0] / flat)

    def seen_from(self, point: Point) -> Point:
        """World -> camera axes (right, up, forward), metres."""
        dx, dy, dz = point[0] - self.pose.x_m, point[1] - self.pose.y_m, point[2] - self.pose.z_m
        r, u, f = self._right, self._up, self._forward
        return (dx * r[0] + dy * r[1] + dz * r[2], dx * u[0] + dy * u[1] + dz * u[2], dx * f[0] + dy * f[1] + dz * f[2])

    def pixel(self, point: Point) -> tuple[float, float, float]:
        """World -> (column, row, forward distance). The distance is at least NEAR_M."""
        x, y, z = self.seen_from(point)
        z = max(z, NEAR_M)
        return self._middle[0] + self.focal * x / z, self._middle[1] - self.focal * y / z, z

    def outline(self, points: Sequence[Point]) -> tuple[NDArray[np.int32], float] | None:
        """A polygon in the picture (1/8 pixels) and how far off its first corner is; None where it is behind us."""
        seen = [self.seen_from(p) for p in points]
        if min(p[2] for p in seen) < NEAR_M:
            seen = _cut_near(seen)
            if len(seen) < 3:
                return None
        (mx, my), focal = self._middle, self.focal * _ONE
        pixels = [(round(mx * _ONE + focal * x / z), round(my * _ONE - focal * y / z)) for x, y, z in seen]
        return np.array(pixels, dtype=np.int32), seen[0][2]

    def claim(self, points: Sequence[Point]) -> None:
        """Label a convex polygon without painting it: the air between the spokes is part of the bicycle."""
        found = self.outline(points)
        if found is not None:
            cv2.fillConvexPoly(self.ids, found[0], self.current, cv2.LINE_8, _SHIFT)

    def poly(self, points: Sequence[Point], colour: Colour, *, convex: bool = True) -> None:
        """Fill a flat polygon, cut at the camera's near plane."""
        found = self.outline(points)
        if found is None:
            return
        outline, depth_m = found
        tone = self._hazed(colour, depth_m)
        if convex:
            cv2.fillConvexPoly(self.image, outline, tone, cv2.LINE_AA, _SHIFT)
            cv2.fillConvexPoly(self.ids, outline, self.current, cv2.LINE_8, _SHIFT)
        else:
            cv2.fillPoly(self.image, [outline], tone, cv2.LINE_AA, _SHIFT)
            cv2.fillPoly(self.ids, [outline], self.current, cv2.LINE_8, _SHIFT)

    def line(self, a: Point, b: Point, width_m: float, colour: Colour, *, label: bool = True) -> None:
        """A bar of the given width. Thinner than a pixel is drawn fainter, not wider."""
        first, last = self.seen_from(a), self.seen_from(b)
        if first[2] < NEAR_M or last[2] < NEAR_M:
            cut = _cut_near([first, last])
            if len(cut) < 2:
                return
            first, last = cut[0], cut[1]
        (mx, my), focal = self._middle, self.focal
        depth = (first[2] + last[2]) / 2
        ends = [(round((mx + focal * x / z) * _ONE), round((my - focal * y / z) * _ONE)) for x, y, z in (first, last)]
        thick = max(1, round(focal * width_m / depth))
        cv2.line(self.image, ends[0], ends[1], self._hazed(colour, depth), thick, cv2.LINE_AA, _SHIFT)
        if label:
            cv2.line(self.ids, ends[0], ends[1], self.current, thick, cv2.LINE_8, _SHIFT)

    def ball(self, centre: Point, radius_m: float, colour: Colour) -> None:
        """A filled circle facing the camera."""
        x, y, z = self.seen_from(centre)
        if z < NEAR_M + radius_m:
            return
        at = (
            round((self._middle[0] + self.focal * x / z) * _ONE),
            round((self._middle[1] - self.focal * y / z) * _ONE),
        )
        radius = max(_ONE // 2, round(self.focal * radius_m / z * _ONE))
        cv2.circle(self.image, at, radius, self._hazed(colour, z), cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(self.ids, at, radius, self.current, cv2.FILLED, cv2.LINE_8, _SHIFT)

    def upright(
        self,
        x: float,
        z: float,
        bottom: tuple[float, float],
        top: tuple[float, float],
        colour: Colour,
        *,
        shift: float = 0.0,
    ) -> None:
        """A flat upright trapezoid turned to the camera. `bottom` and `top` are (height, width), metres."""
        rx, rz = self._flat_right
        (y0, w0), (y1, w1) = bottom, top
        ends = ((y0, shift - w0 / 2), (y0, shift + w0 / 2), (y1, shift + w1 / 2), (y1, shift - w1 / 2))
        self.poly([(x + rx * off, y, z + rz * off) for y, off in ends], colour)

    def tube(self, x: float, z: float, bottom: tuple[float, float], top: tuple[float, float], colour: Colour) -> None:
        """A round upright body, `bottom` and `top` as (height, diameter): lit on one side, lid where one sees it."""
        self.upright(x, z, bottom, top, colour)
        (y0, w0), (y1, w1) = bottom, top
        self.upright(x, z, (y0, w0 * 0.3), (y1, w1 * 0.3), shaded(colour, 0.72), shift=w0 * 0.34)
        self.upright(x, z, (y0, w0 * 0.18), (y1, w1 * 0.18), shaded(colour, 1.25), shift=-w0 * 0.2)
        if y1 < self.pose.y_m and w1 > 0.05:
            self.poly(ring(x, y1, z, w1 / 2, w1 / 2, count=10), shaded(colour, 1.15))

    def box(
        self,
        at: Stand,
        across: tuple[float, float],
        up: tuple[float, float],
        along: tuple[float, float],
        colour: Colour,
        *,
        top: float = 1.0,
    ) -> None:
        """A block in local axes; `top` < 1 narrows it upwards. Only faces that look at the camera are drawn."""
        (x0, x1), (y0, y1), (z0, z1) = across, up, along
        mx, mz = (x0 + x1) / 2, (z0 + z1) / 2
        tx0, tx1 = mx + (x0 - mx) * top, mx + (x1 - mx) * top
        tz0, tz1 = mz + (z0 - mz) * top, mz + (z1 - mz) * top
        low = [at(x0, y0, z0), at(x1, y0, z0), at(x1, y0, z1), at(x0, y0, z1)]
        high = [at(tx0, y1, tz0), at(tx1, y1, tz0), at(tx1, y1, tz1), at(tx0, y1, tz1)]
        cam_x, cam_z = self.pose.x_m, self.pose.z_m
        for i, gain in enumerate((0.95, 0.78, 0.86, 0.7)):
            a, b = low[i], low[(i + 1) % 4]
            outward = (b[2] - a[2]) * (cam_x - a[0]) - (b[0] - a[0]) * (cam_z - a[2])
            if outward > 0:
                self.poly([a, b, high[(i + 1) % 4], high[i]], shaded(colour, gain))
        if y1 < self.pose.y_m:
            self.poly(high, shaded(colour, 1.12))
        elif y0 > self.pose.y_m:
            self.poly(low, shaded(colour, 0.55))

    def faces(self, a: Point, b: Point) -> bool:
        """Whether the upright face over the edge a -> b (outside on the right hand) looks at the camera."""
        return (b[2] - a[2]) * (self.pose.x_m - a[0]) - (b[0] - a[0]) * (self.pose.z_m - a[2]) > 0

    def _hazed(self, colour: Colour, depth_m: float) -> tuple[int, int, int]:
        if self._fog > 0:
            colour = mix(colour, self.haze, 1.0 - (1.0 - min(0.95, self._fog * 10.0)) ** (depth_m / 10.0))
        return (int(colour[0]), int(colour[1]), int(colour[2]))


def ring(x: float, y: float, z: float, radius_x: float, radius_z: float, *, count: int = 14) -> list[Point]:
    """A level ellipse."""
    step = 2 * math.pi / count
    return [(x + radius_x * math.cos(i * step), y, z + radius_z * math.sin(i * step)) for i in range(count)]


def wheel(at: Stand, across: float, up: float, along: float, radius_m: float, *, count: int = 12) -> list[Point]:
    """An upright circle in the local up-along plane."""
    step = 2 * math.pi / count
    return [at(across, up + radius_m * math.sin(i * step), along + radius_m * math.cos(i * step)) for i in range(count)]


def _cut_near(points: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for i, here in enumerate(points):
        before = points[i - 1]
        if (here[2] >= NEAR_M) != (before[2] >= NEAR_M) and (i > 0 or len(points) > 2):
            share = (NEAR_M - before[2]) / (here[2] - before[2])
            kept.append((before[0] + (here[0] - before[0]) * share, before[1] + (here[1] - before[1]) * share, NEAR_M))
        if here[2] >= NEAR_M:
            kept.append(here)
    return kept
