"""Which kinds of each thing there are, how large they come, and who draws them.

A drawing registers itself by the object's name: `@draws("cone")` in `street`, `obstacles` or `levels`. An object of the
vocabulary without a drawing is learnt from what devices send alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from server.walks.scene import Thing

if TYPE_CHECKING:
    from server.walks.canvas import Canvas

HALF_PI = math.pi / 2


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of a thing: ranges of its footprint and height (metres), and how it may be turned."""

    width_m: tuple[float, float]
    depth_m: tuple[float, float]
    height_m: tuple[float, float]
    headings: tuple[float, ...] = (0.0,)
    wobble: float = 0.0
    """Random turn added to the heading, radians."""
    across: bool = False
    weight: float = 1.0
    indoor: bool = True
    outdoor: bool = True


_ALL_WAYS = (0.0, HALF_PI, math.pi, -HALF_PI, 0.5, -0.5)
_BICYCLE_WAYS = (HALF_PI, -HALF_PI, 1.1, -1.1, 0.7, -0.7, 0.25)
_RIDING_WAYS = (HALF_PI, -HALF_PI, 0.9, -0.9, 0.15, math.pi)

KINDS: dict[str, tuple[Kind, ...]] = {
    "curb": (
        Kind((14, 14), (0.4, 0.55), (0.12, 0.16), across=True, indoor=False),  # stone
        Kind((14, 14), (0.4, 0.55), (0.1, 0.14), across=True, indoor=False),  # painted
    ),
    "drop-off": (
        Kind((0.75, 1.0), (0.7, 0.95), (0.0, 0.0), indoor=False, weight=1.5),  # open manhole
        Kind((1.1, 2.4), (0.7, 1.6), (0.0, 0.0), wobble=0.15, weight=1.5),  # trench
        Kind((12, 12), (3.0, 4.0), (0.0, 0.0), across=True, weight=1.0),  # platform edge
    ),
    "stairs down": (
        Kind((1.8, 3.2), (2.4, 3.4), (0.0, 0.0), across=True),
        Kind((1.5, 2.2), (2.0, 3.0), (0.0, 0.0), across=True),
    ),
    "stairs up": (
        Kind((1.8, 3.4), (2.0, 3.2), (1.0, 1.7), across=True),
        Kind((1.4, 2.2), (1.2, 2.0), (0.5, 0.9), across=True),
    ),
    "vehicle": (
        Kind((1.7, 1.85), (3.8, 4.6), (1.4, 1.6), _ALL_WAYS, 0.2, indoor=False, weight=3),  # car
        Kind((1.9, 2.0), (4.6, 5.4), (2.0, 2.5), _ALL_WAYS, 0.15, indoor=False, weight=1.5),  # van
        Kind((2.4, 2.5), (7.0, 10.0), (2.8, 3.2), (0.0, math.pi, HALF_PI), 0.08, indoor=False),  # bus, lorry
    ),
    "bicycle": (
        Kind((0.5, 0.6), (1.65, 1.8), (1.0, 1.1), _BICYCLE_WAYS, 0.2, indoor=False, weight=2),
        Kind((0.5, 0.6), (1.65, 1.8), (1.7, 1.8), _RIDING_WAYS, 0.2, indoor=False),  # ridden
    ),
    "head obstacle": (
        Kind((1.4, 2.4), (0.5, 0.9), (1.65, 1.9), indoor=False, weight=1.5),  # branch
        Kind((1.0, 1.6), (0.15, 0.25), (1.6, 1.85)),  # sign arm
        Kind((1.6, 2.6), (0.9, 1.3), (1.65, 1.9), indoor=False),  # awning
        Kind((1.8, 2.8), (0.12, 0.2), (1.6, 1.8)),  # bar across
    ),
    "pole": (
        Kind((0.12, 0.2), (0.12, 0.2), (3.0, 6.0), weight=1.5),  # plain, lamp post
        Kind((0.09, 0.13), (0.09, 0.13), (2.4, 3.2), indoor=False),  # with a sign
        Kind((0.24, 0.36), (0.24, 0.36), (6.0, 8.0), indoor=False),  # wooden, with wires
        Kind((0.3, 0.5), (0.3, 0.5), (2.6, 4.0)),  # column
    ),
    "bollard": (
        Kind((0.14, 0.22), (0.14, 0.22), (0.75, 1.0), weight=1.5),  # steel
        Kind((0.26, 0.36), (0.26, 0.36), (0.55, 0.85)),  # stone
        Kind((0.12, 0.2), (0.12, 0.2), (0.8, 1.05)),  # square or wooden
    ),
    "barrier": (
        Kind((1.6, 2.4), (0.4, 0.5), (1.0, 1.15), (0.0, 0.35, -0.35), 0.1, weight=1.5),  # crowd barrier
        Kind((1.2, 2.2), (0.3, 0.4), (0.9, 1.1), (0.0, 0.3, -0.3), 0.1),  # striped boards
        Kind((1.4, 2.2), (0.5, 0.6), (0.8, 0.95), (0.0, 0.25, -0.25), 0.1, indoor=False),  # concrete
        Kind((1.8, 2.6), (0.2, 0.3), (0.95, 1.05), (0.0, 0.2), 0.1),  # tape between posts
    ),
    "bin": (
        Kind((0.55, 0.65), (0.6, 0.75), (1.0, 1.15), _ALL_WAYS, 0.2, indoor=False, weight=1.5),  # on wheels
        Kind((0.45, 0.6), (0.45, 0.6), (0.85, 1.1)),  # round, dome
        Kind((0.4, 0.55), (0.4, 0.5), (0.8, 1.05), (0.0,), 0.4),  # square, slot
        Kind((0.35, 0.45), (0.35, 0.45), (0.6, 0.8)),  # open basket
    ),
    "furniture": (
        Kind((1.3, 1.8), (0.5, 0.6), (0.8, 0.9), (0.0, HALF_PI, -HALF_PI, math.pi, 0.6), 0.2, weight=1.5),  # bench
        Kind((0.75, 0.95), (0.75, 0.95), (0.72, 0.78), (0.0,), 0.5),  # table
        Kind((0.45, 0.5), (0.45, 0.52), (0.85, 0.95), _ALL_WAYS, 0.4),  # chair
        Kind((0.6, 1.2), (0.45, 0.6), (0.9, 1.3), (0.0, 0.3), 0.2),  # planter
    ),
    "person": (
        Kind((0.5, 0.6), (0.3, 0.4), (1.55, 1.9), (0.0, math.pi, HALF_PI, -HALF_PI), 0.3, weight=4),
        Kind((0.36, 0.44), (0.25, 0.3), (1.05, 1.35), (0.0, math.pi, HALF_PI), 0.3),  # child
    ),
    "crosswalk": (
        Kind((3.2, 4.5), (3.5, 5.5), (0.0, 0.0), across=True, indoor=False),
        Kind((3.2, 4.5), (3.5, 5.5), (0.0, 0.0), across=True, indoor=False, weight=0.4),  # yellow
    ),
    "door": (
        Kind((0.9, 1.1), (0.1, 0.1), (2.0, 2.2)),  # panelled
        Kind((0.95, 1.2), (0.1, 0.1), (2.05, 2.3)),  # glass
        Kind((1.5, 2.0), (0.1, 0.1), (2.05, 2.4)),  # double
    ),
    "slippery ground": (
        Kind((1.1, 2.1), (1.1, 1.9), (0.0, 0.0), weight=2),  # puddle
        Kind((1.0, 1.8), (0.9, 1.6), (0.0, 0.0), indoor=False),  # ice
        Kind((0.9, 1.7), (0.9, 1.6), (0.0, 0.0), indoor=False),  # wet leaves
    ),
    "cone": (
        Kind((0.34, 0.42), (0.34, 0.42), (0.65, 0.95), weight=3),
        Kind((0.28, 0.34), (0.28, 0.34), (0.45, 0.6)),
    ),
    "signboard": (
        Kind((0.55, 0.75), (0.45, 0.6), (0.9, 1.2), (0.0, 0.3, -0.3, math.pi), 0.15),
    ),
}  # fmt: skip


Draw = Callable[["Canvas", Thing, Random], None]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How an object is drawn."""

    draw: Draw
    flat: bool
    """It lies in the ground: drawn before what stands on it."""


DRAWINGS: dict[str, Drawing] = {}
"""By the object's name."""


def draws(name: str, *, flat: bool = False) -> Callable[[Draw], Draw]:
    """Register the decorated function as the drawing of an object, of which KINDS has the sizes."""

    def register(draw: Draw) -> Draw:
        assert name not in DRAWINGS, f"{name} is drawn twice"
        DRAWINGS[name] = Drawing(draw, flat)
        return draw

    return register


def new_thing(name: str, rng: np.random.Generator, *, indoor: bool = False) -> Thing:
    """A thing of a random kind, size and look, standing at the origin. Raises: KeyError for an object not drawn."""
    kinds = KINDS[name]
    weights = np.array([k.weight * (k.indoor if indoor else k.outdoor) for k in kinds])
    if not weights.any():
        weights = np.array([k.weight for k in kinds])
    variant = int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random()))
    return of_kind(name, variant, rng)


def of_kind(name: str, variant: int, rng: np.random.Generator) -> Thing:
    """A thing of a given kind, size and look random. Raises: KeyError, IndexError."""
    kind = KINDS[name][variant]
    heading = kind.headings[int(rng.integers(len(kind.headings)))] + float(rng.uniform(-1, 1)) * kind.wobble
    return Thing(
        object=name,
        variant=variant,
        x_m=0.0,
        z_m=0.0,
        heading=heading,
        width_m=float(rng.uniform(*kind.width_m)),
        depth_m=float(rng.uniform(*kind.depth_m)),
        height_m=float(rng.uniform(*kind.height_m)),
        look=int(rng.integers(1 << 31)),
        across=kind.across,
    )
