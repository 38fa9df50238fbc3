"""A whole walk as a pure function of time: where the walker is, how the camera sways, what stands around.

A walk is a row of legs. In a leg the walker goes straight along z at SPEED_MPS, stepping aside for what is in the way;
between legs the walker turns, which the camera sees as a quick swing. Nothing here is random: all chance was spent when
the walk was planned (`route`), so a frame at any time is the same however and however often it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from server.walks.paint import render, seen
from server.walks.scene import CAMERA_HEIGHT_M, Light, Place, Pose, Scene, Thing, Weather
from server.walks.truth import Rendered, Seen

SPEED_MPS = 1.1
STEPS_HZ = 1.8
TURN_S = 0.45
"""How long the swing at each end of a leg lasts."""
_TURN = 0.7
_DUCK_M = 0.22


@dataclass(frozen=True, slots=True)
class Leg:
    """One straight part of a walk, with its own surroundings. Its z starts at 0 where the leg starts."""

    start_s: float
    end_s: float
    setting: str
    place: Place
    light: Light
    things: tuple[Thing, ...] = ()
    """Where they are when the leg starts."""
    knots: tuple[tuple[float, float], ...] = ((-10.0, 0.0),)
    """(z_m, x_m) where the walker passes, z increasing; in between a smooth curve."""
    ducks: tuple[float, ...] = ()
    """z_m of what hangs so low that the walker ducks."""
    turn: float = 1.0
    """To which side the walker turns at the end: 1 right, -1 left, 0 walks on to the end of the walk."""
    came: float = 0.0
    """From which side the leg was entered; 0 = it is the first."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A planned walk."""

    name: str
    seed: int
    duration_s: float
    legs: tuple[Leg, ...]
    weather: Weather

    def leg_at(self, t_s: float) -> Leg:
        """The leg the walker is in at a time (the first before it, the last after it)."""
        for leg in self.legs:
            if t_s < leg.end_s:
                return leg
        return self.legs[-1]


def forward_m(leg: Leg, t_s: float) -> float:
    """How far into its leg the walker is."""
    return SPEED_MPS * (t_s - leg.start_s)


def aside_m(leg: Leg, z_m: float) -> float:
    """The walker's x at a z of the leg."""
    before = leg.knots[0]
    for knot in leg.knots[1:]:
        if knot[0] > z_m:
            share = (z_m - before[0]) / (knot[0] - before[0])
            return before[1] + (knot[1] - before[1]) * (0.5 - 0.5 * math.cos(math.pi * share))
        before = knot
    return before[1]


def turning(leg: Leg, t_s: float) -> float:
    """Yaw of the swing between legs, radians; 0 in between."""
    left = leg.end_s - t_s
    if leg.turn and left < TURN_S:
        return leg.turn * _TURN * (1.0 - max(0.0, left) / TURN_S) ** 2
    since = t_s - leg.start_s
    if leg.came and since < TURN_S:
        return -leg.came * _TURN * (1.0 - since / TURN_S) ** 2
    return 0.0


def pose_at(leg: Leg, t_s: float) -> Pose:
    """The camera: on the chest, swaying with the steps, leaning into a sidestep, dipping under what hangs low."""
    z = forward_m(leg, t_s)
    x = aside_m(leg, z)
    course = math.atan2(aside_m(leg, z + 0.3) - aside_m(leg, z - 0.3), 0.6)
    step = 2 * math.pi * STEPS_HZ * t_s
    dip = sum(_DUCK_M * math.exp(-(((z - at) / 0.5) ** 2)) for at in leg.ducks)
    return Pose(
        x_m=x + 0.02 * math.sin(step / 2),
        z_m=z,
        y_m=CAMERA_HEIGHT_M + 0.02 * math.sin(step) - dip,
        yaw=0.35 * course + 0.018 * math.sin(step / 2 + 0.4) + 0.012 * math.sin(0.9 * t_s) + turning(leg, t_s),
        pitch=0.175 + 0.012 * math.sin(step + 0.8) + 0.015 * math.sin(0.43 * t_s) + 0.5 * dip,
        roll=0.014 * math.sin(step / 2),
    )


def scene_at(walk: Walk, t_s: float) -> Scene:
    """The world and the camera at a time."""
    leg = walk.leg_at(t_s)
    since = t_s - leg.start_s
    things = tuple(
        replace(t, x_m=t.x_m + t.vx_mps * since, z_m=t.z_m + t.vz_mps * since) if t.vx_mps or t.vz_mps else t
        for t in leg.things
    )
    return Scene(
        place=leg.place,
        things=things,
        light=leg.light,
        weather=_weather_at(walk, leg, t_s),
        pose=pose_at(leg, t_s),
        grain=(walk.seed * 1_000_003 + round(t_s * 1000)) & 0x7FFFFFFF,
        stride=2 * math.pi * 0.9 * t_s,
    )


def render_frame(walk: Walk, t_s: float, width_px: int = 160, height_px: int = 120) -> Rendered:
    """The frame the camera takes at a time, with its truth."""
    return render(scene_at(walk, t_s), width_px=width_px, height_px=height_px)


def seen_at(walk: Walk, t_s: float, width_px: int = 160, height_px: int = 120) -> tuple[Seen, ...]:
    """What `render_frame` says is seen, without the frame."""
    return seen(scene_at(walk, t_s), width_px=width_px, height_px=height_px)


def _weather_at(walk: Walk, leg: Leg, t_s: float) -> Weather:
    """The walk's weather (none indoors), and the smear of a swing."""
    weather = walk.weather
    if leg.place.indoor:
        weather = replace(weather, rain=0.0, drops=0, fog=0.0)
    swing = abs(turning(leg, t_s) - turning(leg, t_s - 0.03)) / 0.03
    if swing > 0.2:
        weather = replace(weather, blur_px=min(9.0, 1.2 + 2.2 * swing), blur_angle=0.0)
    return weather
