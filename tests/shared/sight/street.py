"""Exact pictures of a street's boxes: things with a place, a size and a speed, and a walker's camera that moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from shared.sight import Box, Camera

ASPECT = 4 / 3


@dataclass(frozen=True)
class Thing:
    """What stands or goes on the ground. Metres in the world: x to the right, z ahead of where the walker begins."""

    object: str
    x_m: float
    z_m: float
    vx_mps: float = 0.0
    vz_mps: float = 0.0
    wide_m: float = 1.8
    deep_m: float = 4.2
    tall_m: float = 1.5
    score: float = 0.8


@dataclass(frozen=True)
class Walker:
    """Whose camera sees it."""

    camera: Camera = field(default_factory=Camera)
    speed_mps: float = 1.1
    turn_rps: float = 0.0
    """To the right."""
    noise: float = 0.0
    """Of a detector: standard deviation of each edge, as a share of the box's side."""
    seed: int = 1

    def turned_rad(self, at_s: float) -> float:
        return self.turn_rps * at_s

    def sees(self, thing: Thing, at_s: float) -> Box | None:
        """The box of a cuboid, by rotation and focal length; None where it is behind or outside the picture."""
        corners = [
            self._projected(thing, at_s, x, y, z)
            for x, y, z in product((-thing.wide_m / 2, thing.wide_m / 2), (0.0, thing.tall_m), (0.0, thing.deep_m))
        ]
        if any(corner is None for corner in corners):
            return None
        xs, ys = zip(*(corner for corner in corners if corner is not None), strict=True)
        edges = np.array([min(xs), min(ys), max(xs), max(ys)])
        if self.noise:
            rng = np.random.default_rng([self.seed, round(at_s * 1000), round(thing.z_m * 100)])
            sides = np.array([edges[2] - edges[0], edges[3] - edges[1]] * 2)
            edges = edges + rng.normal(0.0, self.noise, 4) * sides
        left, top, right, bottom = map(float, np.clip(edges, 0.0, 1.0))
        if right - left < 1e-3 or bottom - top < 1e-3:
            return None
        return Box(thing.object, thing.score, left, top, right, bottom)

    def _projected(self, thing: Thing, at_s: float, x_m: float, y_m: float, z_m: float) -> tuple[float, float] | None:
        right = thing.x_m + thing.vx_mps * at_s + x_m
        ahead = thing.z_m + thing.vz_mps * at_s + z_m - self.speed_mps * at_s
        yaw, pitch = self.turned_rad(at_s), math.radians(self.camera.pitch_deg)
        right, ahead = right * math.cos(yaw) - ahead * math.sin(yaw), right * math.sin(yaw) + ahead * math.cos(yaw)
        down = self.camera.height_m - y_m
        y, z = down * math.cos(pitch) - ahead * math.sin(pitch), down * math.sin(pitch) + ahead * math.cos(pitch)
        if z <= 0.1:
            return None
        focal = 0.5 / math.tan(math.radians(self.camera.fov_deg) / 2)
        return 0.5 + focal * right / z, 0.5 + focal * y / z * ASPECT


def looks(walker: Walker, things: Sequence[Thing], times: Sequence[float]) -> list[tuple[float, tuple[Box, ...]]]:
    """(time, boxes) of each look."""
    seen = [(at_s, [walker.sees(thing, at_s) for thing in things]) for at_s in times]
    return [(at_s, tuple(box for box in boxes if box is not None)) for at_s, boxes in seen]
