"""How what moves is drawn: vehicles, bicycles, people."""

from __future__ import annotations

import math
from random import Random

from server.walks.canvas import Canvas, Point, Stand, shaded, wheel
from server.walks.catalogue import draws
from server.walks.scene import Colour, Thing

CLOTHES: tuple[Colour, ...] = (
    (40, 44, 56), (180, 40, 44), (48, 84, 150), (220, 216, 206), (60, 110, 70), (210, 170, 60), (120, 80, 130),
    (90, 90, 94), (230, 120, 150), (140, 100, 70), (28, 28, 30), (120, 170, 200),
)  # fmt: skip
_SKIN: tuple[Colour, ...] = ((236, 200, 172), (210, 160, 124), (160, 110, 80), (108, 72, 52), (84, 58, 44))
_HAIR: tuple[Colour, ...] = ((40, 30, 24), (90, 62, 38), (190, 160, 100), (140, 138, 136), (24, 22, 24), (150, 70, 40))
_PAINT: tuple[Colour, ...] = (
    (196, 198, 202), (40, 42, 46), (235, 235, 232), (150, 28, 34), (36, 62, 120), (60, 92, 74), (170, 150, 120),
    (222, 180, 40), (110, 116, 124), (90, 40, 60),
)  # fmt: skip
_GLASS: Colour = (52, 62, 74)
_TYRE: Colour = (28, 28, 30)


@draws("vehicle")
def vehicle(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A car, van or bus: body, cabin with glass, wheels, lamps and plate."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half_w, half_d, high = thing.width_m / 2, thing.depth_m / 2, thing.height_m
    paint = look.choice(_PAINT)
    floor = 0.28
    if thing.variant == 0:
        belt = high * 0.6
        _under(canvas, at, half_w, half_d, floor)
        canvas.box(at, (-half_w, half_w), (floor, belt), (-half_d, half_d), paint)
        rear, front = -half_d * look.uniform(0.55, 0.85), half_d * look.uniform(0.3, 0.45)
        _cabin(canvas, at, (half_w * 0.94, belt, high), (rear, front), paint)
        _wheels(canvas, at, half_w, half_d * 0.64, 0.33)
    else:
        _under(canvas, at, half_w, half_d, floor + 0.1)
        canvas.box(at, (-half_w, half_w), (floor + 0.06, high), (-half_d, half_d), paint)
        _van_glass(canvas, at, (half_w, half_d, high), bus=thing.variant == 2 and look.random() < 0.6)
        _wheels(canvas, at, half_w, half_d * 0.68, 0.38 if thing.variant == 1 else 0.48)
    _ends(canvas, at, half_w, half_d, 0.62 if thing.variant == 0 else 0.75)


def _under(canvas: Canvas, at: Stand, half_w: float, half_d: float, floor: float) -> None:
    canvas.poly(
        [at(-half_w, 0, -half_d), at(half_w, 0, -half_d), at(half_w, 0, half_d), at(-half_w, 0, half_d)], (24, 24, 26)
    )
    canvas.box(at, (-half_w * 0.9, half_w * 0.9), (0.12, floor + 0.02), (-half_d * 0.95, half_d * 0.95), (30, 30, 32))


def _cabin(
    canvas: Canvas, at: Stand, size: tuple[float, float, float], along: tuple[float, float], paint: Colour
) -> None:
    half_w, belt, high = size
    rear, front = along
    narrow, lean = half_w * 0.82, (high - belt) * 0.55
    low = [at(-half_w, belt, rear), at(half_w, belt, rear), at(half_w, belt, front), at(-half_w, belt, front)]
    roof = [
        at(-narrow, high, rear + lean * 0.7),
        at(narrow, high, rear + lean * 0.7),
        at(narrow, high, front - lean),
        at(-narrow, high, front - lean),
    ]
    for i in range(4):
        a, b = low[i], low[(i + 1) % 4]
        if not canvas.faces(a, b):
            continue
        c, d = roof[(i + 1) % 4], roof[i]
        canvas.poly([a, b, c, d], shaded(paint, 0.85))
        middle = tuple(sum(p[k] for p in (a, b, c, d)) / 4 for k in range(3))
        pane = [_towards(p, middle, 0.14) for p in (a, b, c, d)]
        canvas.poly(pane, _GLASS)
        if i % 2 == 1:
            canvas.line(_half(a, b), _half(d, c), 0.07, shaded(paint, 0.8))
        else:
            canvas.poly([pane[3], pane[2], _half(pane[1], pane[2])], (96, 112, 128))
    canvas.poly(roof, shaded(paint, 1.1))


def _van_glass(canvas: Canvas, at: Stand, size: tuple[float, float, float], *, bus: bool) -> None:
    half_w, half_d, high = size
    top, low = high * 0.9, high * 0.56
    for end in (-1, 1):
        z = end * (half_d + 0.01)
        a, b = at(-end * -half_w, 0, z), at(-end * half_w, 0, z)
        if canvas.faces(a, b):
            w = half_w * 0.86
            canvas.poly([at(-w, low, z), at(w, low, z), at(w, top, z), at(-w, top, z)], _GLASS)
    for side in (-1, 1):
        x = side * (half_w + 0.01)
        a, b = at(x, 0, -side * half_d), at(x, 0, side * half_d)
        if not canvas.faces(a, b):
            continue
        begin = -half_d * 0.94 if bus else half_d * 0.45
        panes = max(1, round((half_d * 0.94 - begin) / 1.2))
        step = (half_d * 0.94 - begin) / panes
        for i in range(panes):
            z0, z1 = begin + i * step + 0.06, begin + (i + 1) * step - 0.06
            canvas.poly([at(x, low, z0), at(x, low, z1), at(x, top, z1), at(x, top, z0)], _GLASS)


def _wheels(canvas: Canvas, at: Stand, half_w: float, along: float, radius: float) -> None:
    for side in (-1, 1):
        x = side * (half_w + 0.015)
        if not canvas.faces(at(x, 0, -side * along), at(x, 0, side * along)):
            continue
        for z in (-along, along):
            canvas.poly(wheel(at, x, radius, z, radius), _TYRE)
            canvas.poly(wheel(at, x, radius, z, radius * 0.55, count=8), (150, 152, 156))


def _ends(canvas: Canvas, at: Stand, half_w: float, half_d: float, up: float) -> None:
    """Red lamps behind (-along), white in front, a plate at both."""
    for end in (-1, 1):
        z = end * (half_d + 0.02)
        if not canvas.faces(at(end * half_w, 0, z), at(-end * half_w, 0, z)):
            continue
        lamp: Colour = (200, 30, 30) if end < 0 else (250, 246, 225)
        for side in (-1, 1):
            x0, x1 = side * half_w * 0.92, side * half_w * 0.62
            canvas.poly([at(x0, up, z), at(x1, up, z), at(x1, up + 0.16, z), at(x0, up + 0.16, z)], lamp)
        canvas.poly(
            [at(-0.26, up - 0.2, z), at(0.26, up - 0.2, z), at(0.26, up - 0.08, z), at(-0.26, up - 0.08, z)],
            (232, 230, 214),
        )
        for side in (-1, 1):
            x0, x1 = side * half_w * 0.95, side * half_w * 0.72
            canvas.poly([at(x0, 0.0, z), at(x1, 0.0, z), at(x1, 0.3, z), at(x0, 0.3, z)], _TYRE)


@draws("bicycle")
def bicycle(canvas: Canvas, thing: Thing, look: Random) -> None:
    """Two wheels, a frame, handlebar and saddle; ridden in variant 1."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    paint = look.choice(_PAINT)
    radius, half = 0.34, thing.depth_m / 2 - 0.34
    for z in (-half, half):
        rim = wheel(at, 0.0, radius, z, radius, count=16)
        canvas.claim(rim)
        for i in range(16):
            canvas.line(rim[i - 1], rim[i], 0.05, _TYRE)
        for i in range(0, 16, 4):
            canvas.line(rim[i], at(0, radius, z), 0.012, (150, 150, 150))
    hub, head, crank, seat = (
        at(0, radius, -half),
        at(0, 0.82, half * 0.72),
        at(0, 0.3, -0.08),
        at(0, 0.86, -half * 0.42),
    )
    for a, b in ((hub, crank), (crank, head), (seat, crank), (seat, head), (hub, seat), (head, at(0, radius, half))):
        canvas.line(a, b, 0.055, paint)
    canvas.line(head, at(0, 1.0, half * 0.68), 0.05, paint)
    canvas.line(at(-0.27, 1.02, half * 0.62), at(0.27, 1.02, half * 0.62), 0.05, (40, 40, 42))
    canvas.line(at(0, 0.93, -half * 0.42 - 0.14), at(0, 0.93, -half * 0.42 + 0.12), 0.08, (34, 30, 30))
    if look.random() < 0.3:
        canvas.box(at, (-0.18, 0.18), (0.72, 0.98), (half * 0.8, half * 0.8 + 0.3), (140, 112, 76))
    if thing.variant == 1:
        _rider(canvas, at, half, look, canvas.stride)


def _rider(canvas: Canvas, at: Stand, half: float, look: Random, stride: float) -> None:
    coat, legs, skin = look.choice(CLOTHES), look.choice(CLOTHES), look.choice(_SKIN)
    hip, neck = at(0, 0.98, -half * 0.42), at(0, 1.46, -half * 0.42 + 0.28)
    for phase in (0.0, math.pi):
        pedal = at(0.09, 0.3 + 0.16 * math.sin(stride + phase), -0.08 + 0.16 * math.cos(stride + phase))
        knee = at(0.09, 0.72 + 0.06 * math.sin(stride + phase), 0.16)
        canvas.line(hip, knee, 0.15, legs)
        canvas.line(knee, pedal, 0.12, shaded(legs, 0.9))
    canvas.line(hip, neck, 0.34, coat)
    canvas.line(neck, at(0.2, 1.04, half * 0.6), 0.1, shaded(coat, 0.85))
    canvas.ball(at(0, 1.64, -half * 0.42 + 0.34), 0.13, skin)
    canvas.ball(at(0, 1.69, -half * 0.42 + 0.32), 0.125, look.choice(((230, 230, 230), (40, 40, 44), (200, 40, 40))))


@draws("person")
def person(canvas: Canvas, thing: Thing, look: Random) -> None:
    """Head, hair or hat, coat, arms, legs in step; sometimes a rucksack or a bag. Seen from any side."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    k = thing.height_m / 1.75
    coat, legs, skin, hair = look.choice(CLOTHES), look.choice(CLOTHES), look.choice(_SKIN), look.choice(_HAIR)
    phase = canvas.stride + look.uniform(0, 2 * math.pi)
    swing = 0.22 * k * math.sin(phase) * (1.0 if look.random() < 0.75 else 0.15)
    hips, shoulders = 0.86 * k, 1.42 * k
    skirt = look.random() < 0.2
    for side in (-1, 1):
        foot, knee = side * swing, side * swing * 0.55
        x = side * 0.1 * k
        canvas.line(at(x, hips, 0), at(x, 0.46 * k, knee + 0.03), 0.17 * k, skin if skirt else legs)
        canvas.line(at(x, 0.47 * k, knee + 0.03), at(x, 0.05, foot), 0.13 * k, shaded(skin if skirt else legs, 0.9))
        canvas.line(at(x, 0.04, foot - 0.06), at(x, 0.05, foot + 0.13), 0.1 * k, (36, 32, 30))
    if skirt or look.random() < 0.3:  # a long coat
        canvas.upright(thing.x_m, thing.z_m, (0.5 * k, 0.44 * k), (hips + 0.1 * k, 0.34 * k), coat)
    broad = (0.42 * abs(math.cos(thing.heading)) + 0.27 * abs(math.sin(thing.heading))) * k
    canvas.upright(thing.x_m, thing.z_m, (hips - 0.06 * k, broad * 0.86), (shoulders, broad), coat)
    canvas.upright(thing.x_m, thing.z_m, (shoulders - 0.01, broad), (shoulders + 0.09 * k, 0.13 * k), coat)
    for side in (-1, 1):
        hand = at(side * 0.27 * k, 0.84 * k, -side * swing * 0.8)
        elbow = at(side * 0.27 * k, 1.12 * k, -side * swing * 0.3 - 0.02)
        canvas.line(at(side * 0.22 * k, 1.4 * k, 0), elbow, 0.12 * k, shaded(coat, 0.82))
        canvas.line(elbow, hand, 0.1 * k, shaded(coat, 0.82))
        canvas.ball(hand, 0.05 * k, skin)
    _carried(canvas, at, k, look, towards_us=math.cos(thing.heading) > 0)
    canvas.ball(at(0, 1.6 * k, 0), 0.125 * k, skin)
    style = look.random()
    back = math.cos(thing.heading) > 0.3
    canvas.ball(at(0, (1.61 if back else 1.66) * k, 0), (0.13 if back else 0.115) * k, hair)
    if style < 0.25:
        canvas.upright(thing.x_m, thing.z_m, (1.66 * k, 0.27 * k), (1.78 * k, 0.2 * k), look.choice(CLOTHES))
    elif style < 0.5 and back:
        canvas.upright(thing.x_m, thing.z_m, (1.38 * k, 0.26 * k), (1.62 * k, 0.24 * k), hair)


def _carried(canvas: Canvas, at: Stand, k: float, look: Random, *, towards_us: bool) -> None:
    pick = look.random()
    tone = look.choice(CLOTHES)
    if pick < 0.3 and towards_us:
        canvas.box(at, (-0.16 * k, 0.16 * k), (0.96 * k, 1.4 * k), (-0.3 * k, -0.14 * k), tone)
    elif pick < 0.45:
        canvas.box(at, (0.26 * k, 0.36 * k), (0.5 * k, 0.84 * k), (-0.14 * k, 0.14 * k), tone)


def _half(a: Point, b: Point) -> Point:
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2)


def _towards(p: Point, q: tuple[float, ...], share: float) -> Point:
    return (p[0] + (q[0] - p[0]) * share, p[1] + (q[1] - p[1]) * share, p[2] + (q[2] - p[2]) * share)
