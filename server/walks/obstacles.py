"""How what stands in the way is drawn: from poles and bins to cones, signboards and what hangs at head height."""

from __future__ import annotations

import math
from random import Random

from server.walks.canvas import Canvas, Stand, mix, ring, shaded
from server.walks.catalogue import draws
from server.walks.scene import Colour, Thing

_METAL: tuple[Colour, ...] = (
    (120, 124, 128), (58, 62, 64), (34, 36, 38), (170, 174, 176), (52, 84, 66), (44, 66, 104), (206, 204, 198),
    (124, 60, 44),
)  # fmt: skip
_WOOD: tuple[Colour, ...] = ((132, 96, 64), (104, 78, 56), (168, 130, 90), (92, 84, 76))
_STONE: tuple[Colour, ...] = ((168, 164, 156), (136, 132, 128), (190, 184, 170), (112, 108, 106))
_BINS: tuple[Colour, ...] = (
    (52, 96, 60), (44, 72, 130), (70, 74, 78), (112, 78, 52), (208, 180, 50), (36, 38, 40), (128, 40, 44),
    (150, 154, 156), (196, 100, 40),
)  # fmt: skip
_WHITE: Colour = (238, 238, 234)


@draws("pole")
def pole(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A post taller than a person: lamp post, sign post, wooden mast, column."""
    x, z, high, wide = thing.x_m, thing.z_m, thing.height_m, thing.width_m
    colour = look.choice((_METAL, _METAL, _WOOD, _STONE)[thing.variant])
    canvas.tube(x, z, (0.0, wide), (high, wide * (0.75 if thing.variant in (0, 2) else 1.0)), colour)
    if thing.variant == 0:
        canvas.tube(x, z, (0.0, wide * 1.7), (0.35 + 0.4 * look.random(), wide * 1.5), shaded(colour, 0.9))
        if look.random() < 0.4:
            canvas.upright(
                x, z, (1.1, wide * 1.1), (1.5, wide * 1.1), look.choice((_WHITE, (220, 190, 60), (60, 110, 170)))
            )
    elif thing.variant == 1:
        _plate(canvas, x, z, high, look)
    elif thing.variant == 2:
        canvas.upright(x, z, (1.5, wide * 0.9), (1.8, wide * 0.9), (210, 206, 190))
    else:
        canvas.tube(x, z, (0.0, wide * 1.25), (0.18, wide * 1.25), shaded(colour, 0.85))
        if look.random() < 0.4:
            canvas.tube(x, z, (1.2, wide * 1.02), (1.35, wide * 1.02), (220, 190, 50))


def _plate(canvas: Canvas, x: float, z: float, high: float, look: Random) -> None:
    shape, tone = look.random(), look.choice(((190, 36, 40), (40, 84, 160), _WHITE, (222, 180, 40)))
    size = look.uniform(0.24, 0.34)
    top = high - size
    if shape < 0.5:
        canvas.ball((x, top, z - 0.05), size, tone)
        canvas.ball((x, top, z - 0.06), size * 0.66, _WHITE if tone != _WHITE else (190, 36, 40))
    elif shape < 0.75:
        canvas.upright(x, z - 0.05, (top - size, 2 * size), (top + size, 2 * size), tone)
        canvas.upright(x, z - 0.06, (top - size * 0.5, size), (top + size * 0.5, size), _WHITE)
    else:
        canvas.upright(x, z - 0.05, (top - size, 2.2 * size), (top + size, 0.02), (190, 36, 40))
        canvas.upright(x, z - 0.06, (top - size * 0.8, 1.4 * size), (top + size * 0.4, 0.02), _WHITE)


@draws("bollard")
def bollard(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A stump up to the waist: steel tube with a band and a cap, stone, or a wooden block."""
    x, z, high, wide = thing.x_m, thing.z_m, thing.height_m, thing.width_m
    if thing.variant == 1:
        colour = look.choice(_STONE)
        canvas.tube(x, z, (0.0, wide), (high * 0.8, wide * 0.86), colour)
        if look.random() < 0.6:
            canvas.ball((x, high * 0.82, z), wide * 0.44, shaded(colour, 1.08))
        return
    colour = look.choice(_METAL if thing.variant == 0 else (*_WOOD, (220, 190, 60), _WHITE))
    if thing.variant == 0:
        canvas.tube(x, z, (0.0, wide * 1.4), (0.08, wide * 1.3), shaded(colour, 0.8))
        canvas.tube(x, z, (0.0, wide), (high, wide), colour)
        band = look.choice((_WHITE, (220, 60, 50), (240, 200, 60), shaded(colour, 1.4)))
        canvas.tube(x, z, (high * 0.72, wide * 1.03), (high * 0.84, wide * 1.03), band)
        canvas.ball((x, high, z), wide * 0.5, shaded(colour, 1.12))
    else:
        at = Stand(x, z, look.uniform(-0.4, 0.4))
        half = wide / 2
        canvas.box(at, (-half, half), (0.0, high), (-half, half), colour)
        canvas.box(
            at,
            (-half * 1.04, half * 1.04),
            (high * 0.78, high * 0.88),
            (-half * 1.04, half * 1.04),
            look.choice((_WHITE, (200, 50, 44), (40, 40, 42))),
        )


@draws("barrier")
def barrier(canvas: Canvas, thing: Thing, look: Random) -> None:
    """Something that closes the way: crowd barrier, striped boards, concrete block, tape between posts."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, high = thing.width_m / 2, thing.height_m
    canvas.claim([at(-half, 0.1, 0), at(half, 0.1, 0), at(half, high, 0), at(-half, high, 0)])
    if thing.variant == 0:
        steel = look.choice(((176, 180, 184), (140, 146, 150), (206, 196, 70), (170, 60, 54)))
        for up in (0.2, high):
            canvas.line(at(-half, up, 0), at(half, up, 0), 0.055, steel)
        count = 8 + look.randrange(6)
        for i in range(count + 1):
            x = -half + 2 * half * i / count
            canvas.line(at(x, 0.2, 0), at(x, high, 0), 0.055 if i in (0, count) else 0.025, shaded(steel, 0.9))
        for side in (-1, 1):
            x = side * half * 0.8
            canvas.line(at(x, 0.2, 0), at(x, 0.02, 0), 0.05, steel)
            canvas.line(at(x, 0.02, -0.22), at(x, 0.02, 0.22), 0.05, steel)
    elif thing.variant == 1:
        tones = look.choice((((206, 40, 40), _WHITE), ((230, 120, 30), _WHITE), ((30, 30, 32), (236, 196, 40))))
        for side in (-1, 1):
            canvas.line(at(side * half * 0.85, 0.0, 0.16), at(side * half * 0.85, high, 0), 0.07, (90, 90, 92))
            canvas.line(at(side * half * 0.85, 0.0, -0.16), at(side * half * 0.85, high, 0), 0.07, (110, 110, 112))
        boards = (
            ((high - 0.24, high), (high * 0.38, high * 0.38 + 0.22)) if look.random() < 0.7 else ((high - 0.3, high),)
        )
        for low, top in boards:
            _stripes(canvas, at, half, (low, top), tones)
    elif thing.variant == 2:
        colour = look.choice((*_STONE, (206, 60, 50), _WHITE))
        canvas.box(at, (-half, half), (0.0, high * 0.35), (-0.28, 0.28), colour)
        canvas.box(at, (-half, half), (high * 0.35, high), (-0.2, 0.2), colour)
        canvas.line(at(-half, high * 0.36, -0.29), at(half, high * 0.36, -0.29), 0.03, shaded(colour, 0.6))
    else:
        post = look.choice(_METAL)
        tones = look.choice((((210, 40, 40), _WHITE), ((240, 200, 40), (30, 30, 30)), ((40, 60, 150), (40, 60, 150))))
        for side in (-1, 1):
            canvas.line(at(side * half, 0.0, 0), at(side * half, high, 0), 0.07, post)
            canvas.poly(ring(*at(side * half, 0.01, 0), 0.17, 0.17, count=8), shaded(post, 0.8))
        for up in (high - 0.02, high * 0.55):
            _stripes(canvas, at, half, (up - 0.1, up), tones)


def _stripes(canvas: Canvas, at: Stand, half: float, up: tuple[float, float], tones: tuple[Colour, Colour]) -> None:
    low, top = up
    count, lean = max(4, round(half * 6)), (top - low) * 0.6
    step = (2 * half) / count
    canvas.poly([at(-half, low, -0.02), at(half, low, -0.02), at(half, top, -0.02), at(-half, top, -0.02)], tones[1])
    for i in range(0, count, 2):
        x = -half + i * step
        end = min(x + step + lean, half)
        canvas.poly(
            [at(x, low, -0.03), at(x + step, low, -0.03), at(end, top, -0.03), at(min(x + lean, half), top, -0.03)],
            tones[0],
        )


@draws("bin")
def litter_bin(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A bin: on wheels with a lid, round with a dome, square with a slot, or an open basket."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half_w, half_d, high = thing.width_m / 2, thing.depth_m / 2, thing.height_m
    colour = look.choice(_BINS)
    if thing.variant == 0:
        lid = look.choice((shaded(colour, 0.75), look.choice(_BINS)))
        canvas.box(
            at, (-half_w * 0.82, half_w * 0.82), (0.06, high * 0.9), (-half_d * 0.82, half_d * 0.82), colour, top=1.2
        )
        canvas.box(
            at, (-half_w * 1.08, half_w * 1.08), (high * 0.88, high), (-half_d * 1.1, half_d * 1.1), lid, top=0.9
        )
        for side in (-1, 1):
            canvas.ball(at(side * half_w * 0.8, 0.12, half_d * 0.8), 0.12, (26, 26, 28))
        canvas.line(
            at(-half_w * 0.9, high * 0.97, half_d * 1.1),
            at(half_w * 0.9, high * 0.97, half_d * 1.1),
            0.05,
            (30, 30, 32),
        )
    elif thing.variant == 1:
        x, z, wide = thing.x_m, thing.z_m, thing.width_m
        canvas.tube(x, z, (0.0, wide * 0.92), (high * 0.72, wide), colour)
        canvas.tube(x, z, (high * 0.7, wide * 1.04), (high * 0.76, wide * 1.04), shaded(colour, 0.7))
        canvas.ball((x, high * 0.76, z), wide * 0.48, shaded(colour, 0.88))
        canvas.upright(x, z - wide * 0.45, (high * 0.79, wide * 0.5), (high * 0.94, wide * 0.42), (16, 16, 18))
    elif thing.variant == 2:
        canvas.box(at, (-half_w, half_w), (0.05, high), (-half_d, half_d), colour)
        canvas.box(
            at, (-half_w * 1.1, half_w * 1.1), (high * 0.95, high), (-half_d * 1.1, half_d * 1.1), shaded(colour, 0.7)
        )
        z = -half_d - 0.01
        w = half_w * 0.72
        canvas.poly(
            [at(-w, high * 0.72, z), at(w, high * 0.72, z), at(w, high * 0.88, z), at(-w, high * 0.88, z)], (14, 14, 16)
        )
        canvas.poly(
            [
                at(-w * 0.5, high * 0.3, z),
                at(w * 0.5, high * 0.3, z),
                at(w * 0.5, high * 0.56, z),
                at(-w * 0.5, high * 0.56, z),
            ],
            look.choice((_WHITE, (230, 210, 90), shaded(colour, 1.4))),
        )
    else:
        x, z, wide = thing.x_m, thing.z_m, thing.width_m
        canvas.tube(x, z, (0.05, wide * 0.78), (high, wide), colour)
        for i in range(-2, 3):
            canvas.upright(x, z - 0.02, (0.1, 0.03), (high * 0.9, 0.035), shaded(colour, 0.6), shift=i * wide * 0.17)
        canvas.poly(ring(x, high, z, wide * 0.44, wide * 0.44, count=12), (18, 18, 20))
        canvas.ball((x, high, z), wide * 0.25, look.choice((_WHITE, (40, 42, 46))))


@draws("furniture")
def furniture(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A bench, a table, a chair, a planter."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half_w, half_d, high = thing.width_m / 2, thing.depth_m / 2, thing.height_m
    wood, metal = look.choice(_WOOD), look.choice(_METAL)
    if thing.variant in (0, 2):
        _seat(canvas, at, (half_w, half_d, high), wood if thing.variant == 0 or look.random() < 0.5 else metal, metal)
    elif thing.variant == 1:
        top = look.choice((wood, _WHITE, metal))
        if look.random() < 0.5:
            canvas.tube(thing.x_m, thing.z_m, (0.0, 0.08), (high, 0.08), metal)
            canvas.poly(ring(thing.x_m, 0.02, thing.z_m, 0.26, 0.26, count=10), shaded(metal, 0.8))
            canvas.tube(thing.x_m, thing.z_m, (high - 0.05, thing.width_m), (high, thing.width_m), top)
        else:
            for x, z in ((-1, 1), (1, 1), (-1, -1), (1, -1)):
                canvas.line(
                    at(x * half_w * 0.88, 0, z * half_d * 0.88),
                    at(x * half_w * 0.88, high, z * half_d * 0.88),
                    0.06,
                    metal,
                )
            canvas.box(at, (-half_w, half_w), (high - 0.06, high), (-half_d, half_d), top)
    else:
        pot = look.choice((*_STONE, *_WOOD, (150, 84, 60), (60, 62, 66)))
        rim = high * look.uniform(0.45, 0.6)
        canvas.box(at, (-half_w * 0.9, half_w * 0.9), (0.0, rim), (-half_d * 0.9, half_d * 0.9), pot, top=1.1)
        leaf = look.choice(((60, 104, 48), (84, 124, 60), (48, 84, 56)))
        for k in range(9):
            along = (k / 8 - 0.5) * 1.7 * half_w
            canvas.ball(
                at(along, rim + (high - rim) * look.uniform(0.15, 0.75), look.uniform(-0.5, 0.3) * half_d),
                (high - rim) * look.uniform(0.3, 0.46),
                shaded(leaf, look.uniform(0.7, 1.25)),
            )
        if look.random() < 0.4:
            for _ in range(5):
                canvas.ball(
                    at(look.uniform(-0.8, 0.8) * half_w, rim + (high - rim) * look.uniform(0.3, 0.95), -half_d),
                    0.05,
                    look.choice(((220, 60, 80), (240, 200, 60), (230, 230, 240))),
                )


def _seat(canvas: Canvas, at: Stand, size: tuple[float, float, float], wood: Colour, metal: Colour) -> None:
    """Legs, seat, back (at +along: heading 0 shows the seat to us)."""
    half_w, half_d, high = size
    sitting = 0.45
    canvas.claim([at(-half_w, 0, 0), at(half_w, 0, 0), at(half_w, sitting, 0), at(-half_w, sitting, 0)])
    for side in (-1, 1):
        x = side * half_w * 0.86
        canvas.line(at(x, 0, half_d * 0.8), at(x, high, half_d), 0.07, metal)
        canvas.line(at(x, 0, -half_d * 0.8), at(x, sitting, -half_d * 0.8), 0.07, metal)

    def back() -> None:
        for up in (high - 0.02, high - 0.17):
            canvas.poly(
                [
                    at(-half_w, up - 0.11, half_d),
                    at(half_w, up - 0.11, half_d),
                    at(half_w, up, half_d),
                    at(-half_w, up, half_d),
                ],
                shaded(wood, 0.88),
            )

    behind = canvas.faces(at(half_w, 0, half_d), at(-half_w, 0, half_d))
    if not behind:
        back()
    canvas.box(at, (-half_w, half_w), (sitting - 0.06, sitting), (-half_d, half_d), wood)
    for z in (-0.35, 0.3):
        canvas.line(
            at(-half_w, sitting + 0.005, z * half_d), at(half_w, sitting + 0.005, z * half_d), 0.02, shaded(wood, 0.6)
        )
    if behind:
        back()


@draws("cone")
def cone(canvas: Canvas, thing: Thing, look: Random) -> None:
    """A traffic cone: square foot, orange body, white bands."""
    x, z, high, wide = thing.x_m, thing.z_m, thing.height_m, thing.width_m
    orange = look.choice(((236, 92, 26), (226, 70, 30), (244, 120, 40), (214, 84, 36)))
    at = Stand(x, z, look.uniform(-0.6, 0.6))
    canvas.box(
        at,
        (-wide / 2, wide / 2),
        (0.0, 0.05),
        (-wide / 2, wide / 2),
        look.choice((orange, (34, 34, 36), shaded(orange, 0.8))),
    )
    foot, tip = wide * 0.72, wide * 0.14

    def at_height(share: float) -> tuple[float, float]:
        return (0.05 + (high - 0.05) * share, foot + (tip - foot) * share)

    canvas.tube(x, z, at_height(0.0), at_height(1.0), orange)
    bands = ((0.34, 0.52), (0.64, 0.78)) if look.random() < 0.7 else ((0.4, 0.66),)
    for low, top in bands:
        canvas.tube(x, z, at_height(low), at_height(top), (240, 240, 238))
    canvas.poly(ring(x, high, z, tip / 2, tip / 2, count=8), (60, 30, 20))


@draws("signboard")
def signboard(canvas: Canvas, thing: Thing, look: Random) -> None:
    """An A-frame on the pavement with a written panel."""
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, high, foot = thing.width_m / 2, thing.height_m, thing.depth_m / 2
    frame = look.choice((*_WOOD, (40, 40, 42), _WHITE, (170, 174, 176)))
    panel = look.choice(((34, 36, 38), _WHITE, (40, 70, 60), (220, 206, 170), (176, 44, 48), (40, 70, 120)))
    ink: Colour = (236, 234, 226) if sum(panel) < 330 else (50, 46, 60)
    near = -1.0 if math.cos(thing.heading) > 0 else 1.0

    def on(x: float, up: float, *, lift: float = 0.0) -> tuple[float, float, float]:
        return at(x, up, near * (foot * (1 - up / high) + 0.02 + lift))

    for side in (-1, 1):
        canvas.line(at(side * half, 0, -near * foot), at(side * half * 0.96, high, 0), 0.05, shaded(frame, 0.7))
    canvas.poly([on(-half, 0.03), on(half, 0.03), on(half, high), on(-half, high)], frame)
    w = half * 0.86
    canvas.poly([on(-w, high * 0.16), on(w, high * 0.16), on(w, high * 0.94), on(-w, high * 0.94)], panel)
    canvas.poly(
        [on(-half * 0.7, 0.0), on(half * 0.7, 0.0), on(half * 0.7, high * 0.1), on(-half * 0.7, high * 0.1)],
        mix(frame, (60, 60, 60), 0.6),
    )
    lines = 4 + look.randrange(3)
    for i in range(lines):
        up = high * (0.84 - 0.62 * i / lines)
        begin, end = -w * look.uniform(0.6, 0.85), w * look.uniform(0.2, 0.85)
        tone = ink if i else look.choice((ink, (240, 200, 60), (230, 90, 90)))
        canvas.line(on(begin, up, lift=0.01), on(end, up, lift=0.01), 0.07 if i == 0 else 0.04, tone)


@draws("head obstacle")
def head_obstacle(canvas: Canvas, thing: Thing, look: Random) -> None:
    """Something at the height of a head: a branch, a sign arm, an awning, a bar across. Comes in from one side."""
    side = -1.0 if look.random() < 0.5 else 1.0
    at = Stand(thing.x_m, thing.z_m, thing.heading)
    half, low = thing.width_m / 2, thing.height_m
    if thing.variant == 0:
        _branch(canvas, at, (side, half, low), look)
    elif thing.variant == 1:
        metal = look.choice(_METAL)
        tone = look.choice((_WHITE, (40, 70, 130), (150, 40, 44), (40, 90, 60), (230, 190, 60), (60, 60, 62)))
        up = low + 0.42
        canvas.line(at(side * half * 1.6, up, 0), at(-side * half, up, 0), 0.06, metal)
        canvas.box(at, (-half, half), (low, up - 0.04), (-0.07, 0.07), tone)
        for i in range(2):
            canvas.line(
                at(-half * 0.7, low + 0.13 + i * 0.14, -0.09),
                at(half * (0.2 + 0.5 * look.random()), low + 0.13 + i * 0.14, -0.09),
                0.05,
                (40, 40, 44) if sum(tone) > 380 else _WHITE,
            )
        canvas.line(at(half * 0.9, up, 0), at(half * 0.9, up + 0.5, 0), 0.03, metal)
    elif thing.variant == 2:
        _awning(canvas, at, (half, thing.depth_m / 2, low), look)
    else:
        tones = look.choice((((210, 40, 40), _WHITE), ((240, 196, 40), (30, 30, 32)), ((236, 120, 30), _WHITE)))
        _stripes(canvas, at, half, (low, low + look.uniform(0.14, 0.24)), tones)
        for x in (-half, half):
            canvas.line(at(x, low + 0.1, 0), at(x, low + 1.6, 0), 0.06, (110, 112, 116))


def _branch(canvas: Canvas, at: Stand, size: tuple[float, float, float], look: Random) -> None:
    side, half, low = size
    bark, leaf = look.choice(_WOOD), look.choice(((70, 108, 50), (96, 130, 60), (54, 86, 48), (150, 120, 50)))
    root, tip = at(side * half * 1.5, low + 0.75, 0), at(-side * half * 0.95, low + 0.1, 0)
    canvas.line(root, tip, 0.09, bark)
    for i in range(5):
        share = 0.3 + 0.17 * i
        x, up = root[0] + (tip[0] - root[0]) * share, root[1] + (tip[1] - root[1]) * share
        end = (x + look.uniform(-0.3, 0.3), up + look.uniform(-0.14, 0.4), root[2])
        canvas.line((x, up, root[2]), end, 0.035, bark)
        for _ in range(4):
            canvas.ball(
                (
                    end[0] + look.uniform(-0.25, 0.25),
                    max(low, end[1] + look.uniform(-0.1, 0.2)),
                    end[2] + look.uniform(-0.1, 0.1),
                ),
                look.uniform(0.07, 0.15),
                shaded(leaf, look.uniform(0.6, 1.3)),
            )


def _awning(canvas: Canvas, at: Stand, size: tuple[float, float, float], look: Random) -> None:
    half, deep, low = size
    tones = look.choice(
        (
            ((180, 40, 44), _WHITE),
            ((40, 90, 70), _WHITE),
            ((40, 60, 120), (220, 214, 200)),
            ((200, 150, 60), (130, 70, 40)),
        )
    )
    count = 7
    step = 2 * half / count
    for i in range(count):
        x0, x1 = -half + i * step, -half + (i + 1) * step
        tone = tones[i % 2]
        canvas.poly(
            [at(x0, low + 0.2, -deep), at(x1, low + 0.2, -deep), at(x1, low + 0.75, deep), at(x0, low + 0.75, deep)],
            shaded(tone, 0.7),
        )
        canvas.poly(
            [
                at(x0, low + 0.24, -deep),
                at(x1, low + 0.24, -deep),
                at(x1, low + 0.06, -deep),
                at((x0 + x1) / 2, low, -deep),
                at(x0, low + 0.06, -deep),
            ],
            tone,
        )
    canvas.line(at(-half, low + 0.25, -deep), at(half, low + 0.25, -deep), 0.04, (90, 90, 92))
