"""Surroundings by the name of the setting: a street, a park, an indoor corridor, a platform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.walks.scene import FAR_M, Place
from server.walks.textures import names

SETTINGS = ("street", "park", "square", "corridor", "platform")
INDOOR = ("corridor",)
_PAVED = (*names("slabs"), *names("concrete"), *names("bricks"), "asphalt2", "asphalt4")
_ROAD = tuple(names("asphalt"))
_FRONTS = (*names("plaster"), *names("brickwall"), *names("shop"))


def place(setting: str, rng: np.random.Generator) -> Place:
    """A random place of a setting. Raises: KeyError."""
    made = _MAKERS[setting](rng)
    lamps = tuple(
        (float(rng.choice((-2.2, 2.2))), float(z)) for z in np.arange(float(rng.uniform(1.5, 5.0)), 400.0, 11.0)
    )
    return replace(made, lamps=lamps, marks=int(rng.integers(1 << 30)))


def _pick(rng: np.random.Generator, options: tuple[str, ...] | list[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _street(rng: np.random.Generator) -> Place:
    """Pavement with a road on one side and house fronts on the other."""
    near, far = float(rng.uniform(2.1, 3.4)), float(rng.uniform(9.0, 14.0))
    road_right = rng.random() < 0.5
    edge = float(rng.uniform(2.0, 3.0))
    fronts = (_pick(rng, _FRONTS), _pick(rng, _FRONTS))
    road, path = _pick(rng, _ROAD), _pick(rng, _PAVED)
    base = Place(
        path=path,
        left=path,
        right=path,
        cross=_pick(rng, _ROAD),
        end=_pick(rng, names("skyline")),
        left_wall=fronts[0],
        right_wall=fronts[1],
    )
    if road_right:
        return replace(base, right=road, path_left_m=-near, path_right_m=edge, left_wall_m=-near, right_wall_m=far)
    return replace(base, left=road, path_left_m=-edge, path_right_m=near, left_wall_m=-far, right_wall_m=near)


def _park(rng: np.random.Generator) -> Place:
    """A path between lawns, hedges or nothing beside it."""
    path = _pick(rng, (*_PAVED, *names("carpet")[2:], "concrete0"))
    hedge = rng.random() < 0.5
    return Place(
        path=path,
        left=_pick(rng, names("grass")),
        right=_pick(rng, names("grass")),
        cross=_pick(rng, _ROAD),
        path_left_m=-float(rng.uniform(1.6, 2.6)),
        path_right_m=float(rng.uniform(1.6, 2.6)),
        left_wall_m=-float(rng.uniform(3.0, 8.0)) if hedge else -FAR_M,
        right_wall_m=float(rng.uniform(3.0, 8.0)) if hedge and rng.random() < 0.6 else FAR_M,
        left_wall=_pick(rng, names("hedge")),
        right_wall=_pick(rng, names("hedge")),
        wall_height_m=float(rng.uniform(1.3, 2.6)),
        end=_pick(rng, ("skyline1", "skyline1", "skyline0")),
    )


def _square(rng: np.random.Generator) -> Place:
    """An open paved place with fronts far off."""
    path = _pick(rng, _PAVED)
    return Place(
        path=path,
        left=path,
        right=_pick(rng, _PAVED),
        cross=_pick(rng, _ROAD),
        path_left_m=-6.0,
        path_right_m=float(rng.uniform(3.0, 6.0)),
        left_wall_m=-float(rng.uniform(5.0, 12.0)),
        right_wall_m=float(rng.uniform(5.0, 12.0)),
        left_wall=_pick(rng, _FRONTS),
        right_wall=_pick(rng, _FRONTS),
        end_m=float(rng.uniform(18.0, 40.0)),
        end=_pick(rng, (*_FRONTS, *names("skyline"))),
    )


def _corridor(rng: np.random.Generator) -> Place:
    """A passage indoors."""
    floor = _pick(rng, (*names("tiles"), *names("carpet"), *names("concrete")))
    walls = _pick(rng, names("indoor"))
    return Place(
        path=floor,
        left=floor,
        right=floor,
        path_left_m=-9.0,
        path_right_m=9.0,
        left_wall_m=-float(rng.uniform(1.3, 2.8)),
        right_wall_m=float(rng.uniform(1.3, 2.8)),
        left_wall=walls,
        right_wall=walls,
        wall_height_m=FAR_M,
        end_m=float(rng.uniform(9.0, 24.0)),
        end=_pick(rng, names("indoor")),
        ceiling_m=float(rng.uniform(2.5, 3.2)),
        ceiling=_pick(rng, names("ceiling")),
    )


def _platform(rng: np.random.Generator) -> Place:
    """A station platform, open to the sky."""
    floor = _pick(rng, (*names("concrete"), *names("slabs"), *names("asphalt")[2:]))
    return Place(
        path=floor,
        left=floor,
        right=floor,
        path_left_m=-9.0,
        path_right_m=9.0,
        left_wall_m=-float(rng.uniform(3.0, 9.0)),
        right_wall_m=float(rng.uniform(3.0, 9.0)),
        left_wall=_pick(rng, (*names("brickwall"), *names("plaster"))),
        right_wall=_pick(rng, (*names("brickwall"), *names("plaster"))),
        wall_height_m=float(rng.uniform(3.0, 5.0)),
        end=_pick(rng, names("skyline")),
    )


_MAKERS = {"street": _street, "park": _park, "square": _square, "corridor": _corridor, "platform": _platform}
