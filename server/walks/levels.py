"""How the ground itself is drawn: curbs, holes and edges, stairs, crosswalks, slippery patches; and doors."""

from __future__ import annotations

import math
from random import Random

from server.walks.canvas import Canvas, Point, Stand, mix, shaded
from server.walks.catalogue import draws
from server.walks.scene import Colour, Thing

_STONE: tuple[Colour, ...] = ((196, 192, 184), (168, 166, 162), (210, 204, 190), (150, 148, 146))
_DARK: Colour = (16, 15, 16)


@draws("curb", flat=True)
def curb(canvas: Canvas, thing: Thing, look: Random) -> None:
    """An edge of stones along its width, the road a hand lower on the far side (+along): a gutter and a shadow line."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, deep, drop = thing.width_m / 2, thing.depth_m / 2, thing.height_m
    stone = look.choice(_STONE)
    tone: Colour | None = None
    if thing.variant == 1:
        tone = look.choice(((226, 190, 50), (206, 50, 46), (236, 236, 232)))
    lip = deep * 0.35
    _sheet(canvas, at, (-half, half), (lip, deep), -drop, shaded((96, 94, 94), look.uniform(0.6, 0.9)))
    if canvas.faces(at(half, 0, lip), at(-half, 0, lip)):
        canvas.poly(
            [at(-half, -drop, lip), at(half, -drop, lip), at(half, 0, lip), at(-half, 0, lip)], shaded(stone, 0.6)
        )
    _sheet(canvas, at, (-half, half), (-deep, lip), 0.0, stone)
    canvas.line(at(-half, 0, lip), at(half, 0, lip), 0.05, (48, 46, 46))
    canvas.line(at(-half, 0, -deep), at(half, 0, -deep), 0.02, shaded(stone, 0.6))
    step = 1.0
    count = int(thing.width_m / step)
    middle = at(0, 0, 0)
    for i in range(count + 1):
        x = -half + i * step
        here = at(x, 0, 0)
        if abs(here[0] - middle[0]) + abs(here[2] - canvas.pose.z_m) > 9.0 and thing.width_m > 20:
            continue
        if tone is not None and i % 2 == 0:
            _sheet(canvas, at, (x, min(x + step, half)), (-deep, lip), 0.0, tone)
        canvas.line(at(x, 0, -deep), at(x, 0, lip), 0.02, shaded(stone, 0.55))


@draws("drop-off", flat=True)
def drop_off(canvas: Canvas, thing: Thing, look: Random) -> None:
    """An open manhole, a trench, or the edge of a platform."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half_w, half_d = thing.width_m / 2, thing.depth_m / 2
    if thing.variant == 0:
        rim = look.choice(((90, 88, 88), (120, 112, 100), (64, 62, 62)))
        canvas.poly(_oval(at, half_w, half_d, 0.0), rim)
        canvas.poly(_oval(at, half_w * 0.84, half_d * 0.84, 0.0), (70, 62, 56))
        canvas.poly(_oval(at, half_w * 0.8, half_d * 0.72, 0.0, along=-half_d * 0.12), _DARK)
        if look.random() < 0.6:
            lid = Stand(thing.x_m + look.choice((-1, 1)) * half_w * 2.1, thing.z_m + half_d * 0.3, 0.0)
            canvas.poly(_oval(lid, half_w * 0.9, half_d * 0.9, 0.02), (104, 100, 98))
            canvas.poly(_oval(lid, half_w * 0.7, half_d * 0.7, 0.03), (84, 80, 80))
    elif thing.variant == 1:
        earth = look.choice(((120, 92, 66), (140, 118, 92), (96, 84, 76)))
        canvas.poly(_ragged(at, half_w, half_d, look), shaded(earth, 1.15), convex=False)
        w, d = half_w * 0.86, half_d * 0.8
        canvas.poly([at(-w, 0, -d), at(w, 0, -d), at(w, 0, d), at(-w, 0, d)], _DARK)
        far = d - min(0.5, d * 0.7)
        canvas.poly([at(-w * 0.96, 0, far), at(w * 0.96, 0, far), at(w, 0, d), at(-w, 0, d)], shaded(earth, 0.5))
    else:
        _platform(canvas, at, half_w, half_d, look)


def _platform(canvas: Canvas, at: Stand, half_w: float, half_d: float, look: Random) -> None:
    """Edge stones and a line, then a deep bed with rails; the far wall of the bed closes it."""
    begin, end = -half_d, half_d
    line = look.choice(((232, 196, 40), (238, 238, 234), (226, 120, 40)))
    _sheet(canvas, at, (-half_w, half_w), (begin + 0.4, end), 0.0, (22, 21, 22))
    deep, cam_y = 1.1, canvas.pose.y_m
    visible = (begin + 0.4 + half_d) * (cam_y + deep) / cam_y
    rows = [look.uniform(0.4, 0.55), look.uniform(0.7, 0.82)]
    bed = begin + 0.4 + min(0.5, visible * 0.3)
    _sheet(canvas, at, (-half_w, half_w), (bed, end), 0.0, (58, 52, 48))
    for share in rows:
        z = bed + (end - bed) * share
        _sheet(canvas, at, (-half_w, half_w), (z, z + 0.09), 0.0, (150, 146, 140))
    _sheet(canvas, at, (-half_w, half_w), (begin, begin + 0.4), 0.0, (176, 172, 166))
    _sheet(canvas, at, (-half_w, half_w), (begin + 0.06, begin + 0.24), 0.0, line)
    canvas.line(at(-half_w, 0, begin + 0.4), at(half_w, 0, begin + 0.4), 0.05, (12, 12, 12))
    canvas.poly(
        [at(-half_w, 0, end), at(half_w, 0, end), at(half_w, 0.25, end), at(-half_w, 0.25, end)], (130, 128, 124)
    )


@draws("stairs down", flat=True)
def stairs_down(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A well in the ground: treads that sink and darken, light nosings, walls, handrails that go down."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, begin, end = thing.width_m / 2, -thing.depth_m / 2, thing.depth_m / 2
    stone = look.choice(((176, 170, 162), (150, 146, 142), (190, 180, 164), (128, 124, 124), (170, 140, 116)))
    nosing = look.choice(((236, 206, 70), (240, 240, 236), shaded(stone, 1.4), (236, 206, 70)))
    _sheet(canvas, at, (-half, half), (begin, end), 0.0, shaded(stone, 0.3))
    count = 7
    tread = (end - begin) / count
    rise = look.uniform(0.11, 0.14)
    eye = canvas.pose
    away = max(0.6, math.hypot(at(0, 0, begin)[0] - eye.x_m, at(0, 0, begin)[2] - eye.z_m))
    for i in reversed(range(count)):
        down = rise * i
        reach = away * (eye.y_m + down) / eye.y_m - away
        z0, z1 = begin + max(i * tread, reach), begin + (i + 1) * tread
        if z1 <= z0:
            continue
        gain = 1.0 - 0.11 * i
        w = half * 0.97
        canvas.poly([at(-w, -down, z0), at(w, -down, z0), at(w, -down, z1), at(-w, -down, z1)], shaded(stone, gain))
        canvas.poly(
            [at(-w, -down, z1 - 0.07), at(w, -down, z1 - 0.07), at(w, -down, z1), at(-w, -down, z1)],
            shaded(nosing, max(0.4, gain)),
        )
    _sheet(canvas, at, (-half, half), (begin - 0.1, begin + 0.04), 0.0, nosing)
    metal = look.choice(((90, 92, 96), (170, 174, 178), (50, 54, 52), (150, 110, 60)))
    slope = rise * count
    for side in (-1, 1):
        x = side * half
        canvas.line(at(x, 0.0, begin), at(x, 0.0, end), 0.09, shaded(stone, 0.85))
        canvas.line(at(x, 0.95, begin - 0.15), at(x, 0.95 - slope, end), 0.06, metal)
        canvas.line(at(x, 0.0, begin - 0.15), at(x, 0.95, begin - 0.15), 0.05, metal)
        for share in (0.35, 0.7):
            z = begin + (end - begin) * share
            canvas.line(at(x, 0.0, z), at(x, 0.95 - slope * share, z), 0.035, metal)


@draws("stairs up")
def stairs_up(canvas: Canvas, thing: Thing, look: Random) -> None:
    """Risers and treads that climb, between side walls or handrails."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, begin, end = thing.width_m / 2, -thing.depth_m / 2, thing.depth_m / 2
    stone = look.choice(((186, 180, 172), (156, 152, 148), (196, 186, 168), (140, 136, 136), (176, 140, 112)))
    count = max(4, round(thing.height_m / 0.17))
    rise, tread = thing.height_m / count, (end - begin) / count
    edge = look.choice((shaded(stone, 1.3), (236, 206, 70), (240, 240, 236), shaded(stone, 0.5)))
    walls = look.random() < 0.4
    for i in reversed(range(count)):
        z0, z1, low, top = begin + i * tread, begin + (i + 1) * tread, i * rise, (i + 1) * rise
        canvas.poly([at(-half, top, z0), at(half, top, z0), at(half, top, z1), at(-half, top, z1)], shaded(stone, 1.12))
        canvas.poly([at(-half, low, z0), at(half, low, z0), at(half, top, z0), at(-half, top, z0)], shaded(stone, 0.68))
        canvas.line(at(-half, top - 0.02, z0), at(half, top - 0.02, z0), 0.05, edge)
    metal = look.choice(((90, 92, 96), (170, 174, 178), (50, 54, 52), (150, 110, 60)))
    for side in (-1, 1):
        x = side * half
        if walls:
            canvas.poly(
                [at(x, 0, begin), at(x, 0, end), at(x, thing.height_m + 0.25, end), at(x, 0.3, begin)],
                shaded(stone, 0.82),
            )
            canvas.line(at(x, 0.3, begin), at(x, thing.height_m + 0.25, end), 0.16, shaded(stone, 1.05))
        else:
            canvas.poly([at(x, 0, begin), at(x, 0, end), at(x, thing.height_m, end)], shaded(stone, 0.6))
        canvas.line(at(x, 0.9, begin), at(x, thing.height_m + 0.9, end), 0.06, metal)
        canvas.line(at(x, 0.0, begin), at(x, 0.9, begin), 0.05, metal)
        canvas.line(at(x, thing.height_m, end), at(x, thing.height_m + 0.9, end), 0.05, metal)


@draws("crosswalk", flat=True)
def crosswalk(canvas: Canvas, thing: Thing, look: Random) -> None:
    """White (or yellow) bars on the road, along the way one crosses."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, deep = thing.width_m / 2, thing.depth_m / 2
    paint: Colour = (226, 226, 220) if thing.variant == 0 else (222, 186, 60)
    paint = shaded(paint, look.uniform(0.86, 1.08))
    bar = look.uniform(0.4, 0.55)
    count = max(3, round(thing.width_m / (2 * bar)))
    step = thing.width_m / count
    canvas.claim([at(-half, 0, -deep), at(half, 0, -deep), at(half, 0, deep), at(-half, 0, deep)])
    for i in range(count):
        x = -half + (i + 0.22) * step
        canvas.poly(
            [at(x, 0, -deep), at(x + step * 0.55, 0, -deep), at(x + step * 0.55, 0, deep), at(x, 0, deep)], paint
        )


@draws("slippery ground", flat=True)
def slippery(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A puddle that mirrors the sky, a sheet of ice, or wet leaves."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half_w, half_d = thing.width_m / 2, thing.depth_m / 2
    blob = _ragged(at, half_w, half_d, look)
    if thing.variant == 0:
        indoor_sheen = mix(canvas.haze, (210, 214, 216), 0.3)
        canvas.poly(blob, (92, 94, 96), convex=False)
        inner = [_towards(p, at(0, 0, 0), 0.06) for p in blob]
        canvas.poly(inner, mix(indoor_sheen, (110, 124, 138), look.uniform(0.1, 0.4)), convex=False)
        deep = [_towards(p, at(look.uniform(-0.4, 0.4) * half_w, 0, -half_d * 0.5), 0.5) for p in blob]
        canvas.poly(deep, mix(canvas.zenith, (84, 98, 112), 0.5), convex=False)
        for _ in range(2):
            x, z = look.uniform(-0.5, 0.1) * half_w, look.uniform(-0.1, 0.5) * half_d
            canvas.line(at(x, 0, z), at(x + look.uniform(0.2, 0.5) * half_w, 0, z + 0.04), 0.04, (246, 248, 250))
    elif thing.variant == 1:
        canvas.poly(blob, (196, 212, 222), convex=False)
        canvas.poly([_towards(p, at(0, 0, 0.1), 0.25) for p in blob], (222, 234, 242), convex=False)
        for _ in range(4):
            x, z = look.uniform(-0.6, 0.4) * half_w, look.uniform(-0.6, 0.6) * half_d
            canvas.line(at(x, 0, z), at(x + 0.3 * half_w, 0, z + look.uniform(-0.2, 0.2)), 0.03, (160, 186, 204))
    else:
        base = look.choice(((110, 70, 34), (134, 92, 40), (96, 84, 40)))
        canvas.poly(blob, shaded(base, 0.6), convex=False)
        for _ in range(34):
            angle, out = look.uniform(0, 2 * math.pi), look.random() ** 0.5
            p = at(math.cos(angle) * out * half_w * 0.95, 0.01, math.sin(angle) * out * half_d * 0.95)
            size = look.uniform(0.05, 0.1)
            leaf = look.choice(((196, 120, 40), (160, 84, 36), (206, 164, 60), (120, 60, 34)))
            canvas.poly(
                [
                    (p[0] - size, p[1], p[2]),
                    (p[0], p[1], p[2] - size),
                    (p[0] + size, p[1], p[2]),
                    (p[0], p[1], p[2] + size),
                ],
                leaf,
            )


@draws("door")
def door(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A door in a wall: frame, leaf or two, handle; panelled or of glass. Its front is -along."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, high = thing.width_m / 2, thing.height_m
    colour = look.choice(
        (
            (128, 84, 54),
            (60, 76, 92),
            (150, 40, 44),
            (44, 84, 64),
            (206, 200, 188),
            (90, 92, 96),
            (176, 140, 96),
            (38, 40, 44),
        )
    )
    frame = look.choice(((226, 222, 212), shaded(colour, 0.6), (120, 122, 126), (50, 48, 48)))
    z = -0.04

    def quad(x0: float, x1: float, y0: float, y1: float, tone: Colour, lift: float = 0.0) -> None:
        canvas.poly([at(x0, y0, z - lift), at(x1, y0, z - lift), at(x1, y1, z - lift), at(x0, y1, z - lift)], tone)

    quad(-half - 0.1, half + 0.1, 0.0, high + 0.1, frame)
    leaves = [(-half, half)] if thing.variant != 2 else [(-half, -0.015), (0.015, half)]
    glass = thing.variant == 1 or (thing.variant == 2 and look.random() < 0.5)
    for i, (x0, x1) in enumerate(leaves):
        quad(x0, x1, 0.02, high, colour, 0.005)
        inset = 0.12
        if glass:
            pane = mix((150, 176, 190), (50, 60, 70), look.random() * 0.8)
            quad(x0 + inset, x1 - inset, 0.25, high - 0.12, pane, 0.01)
            quad(x0 + inset, x0 + (x1 - x0) * 0.5, high * 0.55, high - 0.12, mix(pane, (255, 255, 255), 0.25), 0.012)
        else:
            for y0, y1 in ((0.2, high * 0.42), (high * 0.52, high - 0.15)):
                quad(x0 + inset, x1 - inset, y0, y1, shaded(colour, 0.78), 0.01)
        hand_x = x1 - 0.09 if (i == 0) == (thing.variant != 2 or len(leaves) == 2) else x0 + 0.09
        quad(hand_x - 0.03, hand_x + 0.03, 0.92, 1.16, (214, 206, 180), 0.03)
    if look.random() < 0.35:
        quad(
            -half * 0.3,
            half * 0.3,
            high + 0.14,
            high + 0.34,
            look.choice(((30, 120, 70), (236, 236, 230), (40, 70, 130))),
            0.01,
        )


def _sheet(
    canvas: Canvas, at: Stand, across: tuple[float, float], along: tuple[float, float], up: float, colour: Colour
) -> None:
    (x0, x1), (z0, z1) = across, along
    canvas.poly([at(x0, up, z0), at(x1, up, z0), at(x1, up, z1), at(x0, up, z1)], colour)


def _oval(at: Stand, half_w: float, half_d: float, up: float, *, along: float = 0.0) -> list[Point]:
    step = 2 * math.pi / 16
    return [at(half_w * math.cos(i * step), up, along + half_d * math.sin(i * step)) for i in range(16)]


def _ragged(at: Stand, half_w: float, half_d: float, look: Random) -> list[Point]:
    step = 2 * math.pi / 14
    return [
        at(half_w * r * math.cos(i * step), 0.0, half_d * r * math.sin(i * step))
        for i in range(14)
        for r in (look.uniform(0.72, 1.0),)
    ]


def _towards(p: Point, q: Point, share: float) -> Point:
    return (p[0] + (q[0] - p[0]) * share, p[1] + (q[1] - p[1]) * share, p[2] + (q[2] - p[2]) * share)
