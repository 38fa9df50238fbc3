"""From a scene to a frame and its truth: backdrop, nameless marks, shadows, things from far to near, light, weather."""

from __future__ import annotations

import math
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from server.walks import levels, obstacles, street, truth  # noqa: F401 (they register what they draw)
from server.walks.backdrop import backdrop
from server.walks.canvas import Canvas, Point, ring
from server.walks.catalogue import DRAWINGS
from server.walks.ground import ground
from server.walks.scene import FAR_M, Colour, Place, Scene, Thing
from server.walks.sky import finish

_FARTHEST_M = 40.0
_BEHIND_M = -6.0


def render(scene: Scene, *, width_px: int, height_px: int) -> truth.Rendered:
    """Paint a scene and judge it. width_px x height_px, any size from 64 x 48."""
    image, ids, drawn_px = paint(scene, width_px=width_px, height_px=height_px)
    seen = truth.judge(scene.things, scene.pose, ids, drawn_px)
    return truth.Rendered(image, labels(scene.things, ids), seen, truth.instruction(seen), ground(scene, ids))


def labels(things: tuple[Thing, ...], ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thing ids -> class mask."""
    table = np.zeros(256, dtype=np.uint8)
    for i, thing in enumerate(things, start=1):
        table[i] = truth.DRAWN.index(thing.object) + 1
    return table[ids]


def paint(
    scene: Scene, *, width_px: int, height_px: int, count: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[int, int]]:
    """RGB picture, thing ids (i + 1 = the i-th thing) and how many pixels each thing covered when it was drawn.

    count=False leaves the counts out, where only the picture is wanted.
    """
    fog = scene.weather.fog
    ground = backdrop(scene.place, scene.light, scene.pose, width_px=width_px, height_px=height_px, fog=fog)
    canvas = Canvas(ground, scene.pose, fog=fog, haze=scene.light.sky_low, zenith=scene.light.sky_top)
    _marks(canvas, scene.place)
    drawn_px = _draw_all(canvas, scene, flat=True, count=count)
    _shadows(canvas, scene)
    drawn_px |= _draw_all(canvas, scene, flat=False, count=count)
    return finish(canvas, scene), canvas.ids, drawn_px


def outlined(scene: Scene, *, width_px: int, height_px: int) -> tuple[NDArray[np.uint8], dict[int, int]]:
    """The ids and the counts of `paint` for a third of its time: backdrop, shadows, light and weather hide nothing."""
    canvas = Canvas(np.zeros((height_px, width_px, 3), dtype=np.uint8), scene.pose)
    drawn_px = _draw_all(canvas, scene, flat=True) | _draw_all(canvas, scene, flat=False)
    return canvas.ids, drawn_px


def seen(scene: Scene, *, width_px: int, height_px: int) -> tuple[truth.Seen, ...]:
    """What `render` says is seen."""
    ids, drawn_px = outlined(scene, width_px=width_px, height_px=height_px)
    return truth.judge(scene.things, scene.pose, ids, drawn_px)


def _draw_all(canvas: Canvas, scene: Scene, *, flat: bool, count: bool = True) -> dict[int, int]:
    """Draw all things that lie flat, or all others, from far to near: i + 1 -> pixels of the i-th when it was drawn."""
    drawn_px: dict[int, int] = {}
    for i in sorted(range(len(scene.things)), key=lambda i: _depth(scene, scene.things[i])):
        if DRAWINGS[scene.things[i].object].flat == flat and _draw(canvas, scene, i) and count:
            drawn_px[i + 1] = int(np.count_nonzero(canvas.ids == i + 1))
    return drawn_px


def _depth(scene: Scene, thing: Thing) -> float:
    """Sort key, farthest first. The near part of the footprint decides: long things do not cover short ones."""
    near = thing.z_m - (0.0 if thing.object == "door" else thing.reach_z_m() * 0.6) - scene.pose.z_m
    return -near


def _draw(canvas: Canvas, scene: Scene, i: int) -> bool:
    """Draw the i-th thing; False where it is too far off or behind."""
    thing = scene.things[i]
    ahead = thing.z_m - scene.pose.z_m
    if not _BEHIND_M - thing.reach_z_m() < ahead < _FARTHEST_M + thing.reach_z_m():
        return False
    canvas.current, canvas.stride = i + 1, _stride(scene, thing)
    DRAWINGS[thing.object].draw(canvas, thing, Random(thing.look))
    canvas.current = 0
    return True


def _stride(scene: Scene, thing: Thing) -> float:
    """Who stands still keeps the legs still."""
    return scene.stride if thing.vx_mps or thing.vz_mps else 0.0


def _shadows(canvas: Canvas, scene: Scene) -> None:
    """One soft shade layer for everything that stands, plus bands from trees and roofs that are not in the picture."""
    depth = scene.light.shadow
    if depth <= 0.02:
        return
    shade: NDArray[np.uint8] = np.full(canvas.ids.shape, 255, dtype=np.uint8)
    level = int(255 * (1 - depth))
    lean = 0.0 if scene.place.indoor else scene.light.sun
    for thing in scene.things:
        if DRAWINGS[thing.object].flat or thing.object == "door" or not 0.3 < thing.z_m - scene.pose.z_m < 18.0:
            continue
        if thing.object == "head obstacle":
            continue
        x, z = thing.x_m, thing.z_m
        foot = ring(x, 0.0, z, max(0.12, thing.reach_x_m()) * 1.1, max(0.12, thing.reach_z_m()) * 1.1, count=10)
        _shade(canvas, shade, foot, level)
        if abs(lean) > 0.05:
            far, half = lean * min(thing.height_m, 3.0), min(0.5, thing.reach_z_m() + 0.04)
            _shade(
                canvas,
                shade,
                [
                    (x, 0, z - half),
                    (x + far, 0, z - half * 0.7 + 0.2),
                    (x + far, 0, z + half * 0.7 + 0.2),
                    (x, 0, z + half),
                ],
                level,
            )
    if not scene.place.indoor and abs(lean) > 0.3:
        for band in _bands(scene):
            _shade(canvas, shade, band, (level + 255) // 2)
    size = max(3, canvas.ids.shape[1] // 50) | 1
    shade = np.asarray(cv2.blur(shade, (size, size)), dtype=np.uint8)
    canvas.image[...] = cv2.multiply(canvas.image, cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def _shade(canvas: Canvas, shade: NDArray[np.uint8], points: list[Point], level: int) -> None:
    found = canvas.outline(points)
    if found is not None:
        cv2.fillConvexPoly(shade, found[0], level, cv2.LINE_AA, 3)


def _bands(scene: Scene) -> list[list[Point]]:
    look = Random(scene.place.marks ^ 0x5EED)
    bands = []
    for i in range(look.randrange(3)):
        z, wide = 1.0 + 7.0 * look.random() + 9.0 * i, look.uniform(0.2, 1.2)
        bands.append(
            [
                (-9.0, 0.0, z),
                (9.0, 0.0, z + 4 * scene.light.sun),
                (9.0, 0.0, z + 4 * scene.light.sun + wide),
                (-9.0, 0.0, z + wide),
            ]
        )
    return bands


def _marks(canvas: Canvas, place: Place) -> None:
    """Things without a name, so that silence has to be learnt: lids, paint, posters, litter, lane lines, far trees."""
    canvas.current = 0
    look = Random(place.marks)
    begin = math.floor(canvas.pose.z_m / 8.0)
    if place.cross_from_m < FAR_M and look.random() < 0.7:
        _lane(canvas, place)
    for block in range(begin + 3, begin - 1, -1):
        look = Random(place.marks * 1009 + block)
        z = block * 8.0
        if place.indoor:
            _posters(canvas, place, look, z)
            continue
        _trees(canvas, place, look, z)
        _posters(canvas, place, look, z)
        _ground_marks(canvas, place, look, z)


def _lane(canvas: Canvas, place: Place) -> None:
    middle = (place.cross_from_m + min(place.cross_to_m, place.cross_from_m + 9.0)) / 2
    for i in range(-5, 6):
        canvas.poly(
            [
                (i * 2.4, 0, middle),
                (i * 2.4 + 1.3, 0, middle),
                (i * 2.4 + 1.3, 0, middle + 0.15),
                (i * 2.4, 0, middle + 0.15),
            ],
            (206, 206, 200),
        )


def _ground_marks(canvas: Canvas, place: Place, look: Random, z: float) -> None:
    left, right = max(place.path_left_m, -2.5), min(place.path_right_m, 2.5)
    for _ in range(look.randrange(3)):
        x, at, pick = look.uniform(left, right), z + look.uniform(0, 8), look.random()
        if place.cross_from_m - 1.0 < at < place.cross_to_m:
            continue
        if pick < 0.3:
            tone = look.uniform(84, 130)
            canvas.poly(ring(x, 0, at, 0.33, 0.33, count=12), (tone, tone, tone))
            canvas.poly(ring(x, 0, at, 0.27, 0.27, count=12), (tone * 0.86, tone * 0.86, tone * 0.86))
        elif pick < 0.5:
            tone = look.uniform(70, 110)
            wide, deep = look.uniform(0.4, 1.2), look.uniform(0.3, 0.9)
            canvas.poly(
                [(x, 0, at), (x + wide, 0, at + 0.05), (x + wide, 0, at + deep), (x, 0, at + deep)],
                (tone, tone, tone * 1.02),
            )
        elif pick < 0.75:
            for _ in range(3 + look.randrange(4)):
                px, pz, s = x + look.uniform(-0.5, 0.5), at + look.uniform(-0.5, 0.5), look.uniform(0.02, 0.06)
                tone3 = look.choice(((230, 228, 220), (150, 110, 60), (90, 110, 60), (60, 60, 66)))
                canvas.poly([(px, 0, pz), (px + s, 0, pz), (px + s, 0, pz + 2 * s), (px, 0, pz + s)], tone3)
        else:
            canvas.line((x, 0, at), (x + look.uniform(-0.8, 0.8), 0, at + look.uniform(0.4, 1.6)), 0.02, (70, 68, 66))


def _posters(canvas: Canvas, place: Place, look: Random, z: float) -> None:
    walls = ((place.left_wall_m, 1.0, place.left_wall), (place.right_wall_m, -1.0, place.right_wall))
    for wall, sign, texture in walls:
        if abs(wall) > 12.0 or texture.startswith("hedge") or look.random() < 0.45 or z + 2 > place.end_m:
            continue
        x, at = wall + sign * 0.02, z + look.uniform(0, 5)
        wide, low, high = look.uniform(0.5, 1.3), look.uniform(0.9, 1.3), look.uniform(1.6, 2.2)
        tone: Colour = (look.uniform(40, 240), look.uniform(40, 230), look.uniform(40, 230))
        canvas.poly([(x, low, at), (x, low, at + wide), (x, high, at + wide), (x, high, at)], tone)
        inner: Colour = (look.uniform(40, 250), look.uniform(40, 250), look.uniform(40, 250))
        canvas.poly(
            [
                (x + sign * 0.01, high - 0.3, at + 0.1),
                (x + sign * 0.01, high - 0.3, at + wide - 0.1),
                (x + sign * 0.01, high - 0.1, at + wide - 0.1),
                (x + sign * 0.01, high - 0.1, at + 0.1),
            ],
            inner,
        )


def _trees(canvas: Canvas, place: Place, look: Random, z: float) -> None:
    for wall, sign in ((place.left_wall_m, -1.0), (place.right_wall_m, 1.0)):
        far = look.uniform(6.0, 11.0)
        if abs(wall) < far + 1.5 or look.random() < 0.5 or z - canvas.pose.z_m < 4.0:
            continue
        x, at, top = sign * far, z + look.uniform(0, 6), look.uniform(3.0, 5.0)
        leaf: Colour = (look.uniform(60, 110), look.uniform(90, 130), look.uniform(40, 70))
        canvas.line((x, 0, at), (x, top, at), 0.25, (86, 68, 52))
        for _ in range(4):
            gain = look.uniform(0.75, 1.15)
            canvas.ball(
                (x + look.uniform(-0.8, 0.8), top + look.uniform(-0.6, 0.9), at),
                look.uniform(0.7, 1.2),
                (leaf[0] * gain, leaf[1] * gain, leaf[2] * gain),
            )
