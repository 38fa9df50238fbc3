"""Single random frames to train on: one thing to name (or nothing), placed so that its label is beyond doubt.

What is drawn obeys `truth`; this module only chooses scenes. It keeps everything out of the narrow bands where a person
would hesitate (just inside or outside the corridor, just inside or outside the reach), and tries again where chance hid
the thing it wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from server.walks import truth
from server.walks.catalogue import HALF_PI, new_thing
from server.walks.paint import render
from server.walks.places import SETTINGS, place
from server.walks.scene import FAR_M, Light, Place, Pose, Scene, Thing
from server.walks.sky import LIGHTS, light, weather
from server.walks.truth import DRAWN, KNOWN, Rendered
from shared.errors import ConfigError
from shared.sight import reach

TRIES = 12
CLEAR_AREA = 0.0055
"""A thing to name covers at least this share of a training frame; truth.MIN_AREA is where walks begin to count it."""
_SIDE_SHARE = {
    "curb": 0.15, "stairs down": 0.25, "stairs up": 0.25, "crosswalk": 0.15, "drop-off": 0.35, "head obstacle": 0.3,
    "door": 0.6,
}  # fmt: skip
"""How often a thing is beside the path rather than on it; 2/3 for all others, so that the three sides are even."""
_SETTINGS = {
    "curb": ("street", "park", "square"),
    "crosswalk": ("street", "park", "square"),
    "vehicle": ("street", "square", "park", "street"),
    "bicycle": ("street", "park", "square"),
    "door": ("corridor", "corridor", "street", "square"),
    "drop-off": ("platform", "street", "square"),
    "stairs down": ("street", "corridor", "square", "platform"),
    "stairs up": ("street", "corridor", "square", "park"),
    "head obstacle": ("street", "park", "square", "corridor"),
}
_EDGE_M = 0.66
"""Things beside the path keep this far from its middle; the corridor ends at 0.45."""
_NEAR_M, _FAR_M = 1.7, 4.3
_FAR_OF = {
    "vehicle": (3.0, 7.0),
    "bicycle": (2.2, 5.6),
    "stairs down": (1.3, 3.0),
    "head obstacle": (1.8, 4.0),
    "bollard": (1.6, 3.9),
    "slippery ground": (1.5, 4.0),
    "drop-off": (1.5, 4.0),
}


def random_frame(
    rng: np.random.Generator,
    *,
    objects: Sequence[str] = KNOWN,
    width_px: int = 160,
    height_px: int = 120,
    want: str | None = None,
    clear_share: float = 0.12,
) -> Rendered:
    """A frame with its truth, even over classes and sides.

    objects: classes that may be drawn. want: the class its instruction names; None = any, or nothing (`clear_share`).
    Raises: ConfigError for a class that is not drawn.
    """
    unknown = [name for name in (*objects, *([want] if want else [])) if name not in DRAWN]
    if unknown or not objects:
        raise ConfigError(f"Cannot draw {unknown or 'nothing'}.", hint=f"Choose from: {', '.join(DRAWN)}.")
    target = want
    if target is None and rng.random() >= clear_share:
        target = objects[int(rng.integers(len(objects)))]
    for attempt in range(TRIES):
        scene = random_scene(rng, objects=tuple(objects), target=target, alone=attempt > TRIES // 2)
        frame = render(scene, width_px=width_px, height_px=height_px)
        first = frame.seen[0] if frame.seen else None
        if (first.object if first else None) == target and (first is None or first.area > CLEAR_AREA):
            return frame
    raise ConfigError(
        f"No frame with {target or 'nothing'} in {TRIES} tries at {width_px} x {height_px}.",
        hint="Use a picture of at least 96 x 72.",
    )


def random_scene(
    rng: np.random.Generator, *, objects: tuple[str, ...], target: str | None, alone: bool = False
) -> Scene:
    """A scene in which `target` should be what is named; `alone` leaves out what might hide it."""
    settings = _SETTINGS.get(target or "", SETTINGS)
    setting = settings[int(rng.integers(len(settings)))]
    place_ = place(setting, rng)
    things: list[Thing] = []
    if target is not None:
        placed, place_ = _target(target, place_, rng)
        things.append(placed)
    pose = Pose(
        x_m=0.0,
        y_m=float(rng.uniform(1.18, 1.42)),
        yaw=float(rng.normal(0, 0.03)),
        pitch=float(rng.uniform(0.08, 0.2 if target == "head obstacle" else 0.27)),
        roll=float(rng.normal(0, 0.025)),
    )
    if not alone:
        things += _company(rng, objects, things[0] if things else None, place_, pose)
    if "curb" in objects and not alone:
        things += road_edges(place_, int(rng.integers(1 << 30)))
    light_ = light("lamps" if place_.indoor else LIGHTS[int(rng.choice(4, p=(0.42, 0.26, 0.14, 0.18)))], rng)
    return Scene(
        place=place_,
        things=tuple(things),
        light=light_ if not place_.indoor else _indoor_light(light_, rng),
        weather=weather(rng, indoor=place_.indoor, dark=light_.dark),
        pose=pose,
        grain=int(rng.integers(1 << 30)),
        stride=float(rng.uniform(0, 2 * math.pi)),
    )


def road_edges(place_: Place, look: int, *, begin_m: float = -4.0, end_m: float = 26.0) -> list[Thing]:
    """The curb that runs along a road beside the path, up to the road across (curbs are real wherever they are)."""
    edges = []
    stop = min(end_m, place_.cross_from_m)
    for texture, x, heading in (
        (place_.left, place_.path_left_m, -HALF_PI),
        (place_.right, place_.path_right_m, HALF_PI),
    ):
        if texture.startswith("asphalt") and not place_.path.startswith("asphalt") and stop - begin_m > 1.0:
            edges.append(
                Thing("curb", 0, x, (begin_m + stop) / 2, heading, stop - begin_m, 0.36, 0.13, look, across=True)
            )
    return edges


def _indoor_light(light_: Light, rng: np.random.Generator) -> Light:
    return replace(light_, dark=0.5, gain=light_.gain) if rng.random() < 0.1 else light_


def _target(name: str, place_: Place, rng: np.random.Generator) -> tuple[Thing, Place]:
    """The thing to name, where it should stand, and the place changed to suit it."""
    beside = rng.random() < _SIDE_SHARE.get(name, 2 / 3)
    side = 0 if not beside else (1 if rng.random() < 0.5 else -1)
    thing = new_thing(name, rng, indoor=place_.indoor)
    near, far = _FAR_OF.get(name, (_NEAR_M, _FAR_M))
    ahead = float(rng.uniform(near, far))
    match name:
        case "curb":
            return _curb(thing, place_, rng, side, ahead)
        case "crosswalk":
            return _crosswalk(thing, place_, rng, side, ahead)
        case "door":
            return _door(thing, place_, rng, side, ahead)
        case "stairs up" | "stairs down":
            return _stairs(thing, place_, rng, side, ahead)
        case "drop-off" if thing.across and side:
            thing = replace(thing, heading=side * HALF_PI)
            x = side * (float(rng.uniform(0.75, 1.2)) + thing.depth_m / 2)
            return replace(thing, x_m=x, z_m=4.0), _without_walls(place_, side)
    if side == 0:
        room = 0.3 + max(0.0, thing.reach_x_m() - 0.2)
        x = float(rng.uniform(-1, 1)) * min(room, 0.5 + thing.reach_x_m() * 0.4)
    else:
        ahead = float(rng.uniform(max(near, 1.9), min(far, 3.3 if name not in ("vehicle", "bicycle") else 4.4)))
        outer = min(reach(name).lateral_m - 0.3, ahead * 0.5)
        x = side * (thing.reach_x_m() + float(rng.uniform(_EDGE_M, max(_EDGE_M + 0.1, outer))))
    thing = replace(thing, x_m=x, z_m=ahead + thing.reach_z_m())
    return thing, _clear_of(place_, thing)


def _curb(thing: Thing, place_: Place, rng: np.random.Generator, side: int, ahead: float) -> tuple[Thing, Place]:
    if side == 0:
        z = ahead + thing.depth_m / 2
        deep = float(rng.uniform(5.0, 9.0))
        return replace(thing, z_m=z), replace(
            place_, cross_from_m=z + 0.1, cross_to_m=z + deep, end_m=max(place_.end_m, z + deep + 2)
        )
    x = side * float(rng.uniform(_EDGE_M + 0.2, 0.92))
    long = replace(thing, heading=side * HALF_PI, width_m=30.0, x_m=x, z_m=10.0, depth_m=0.4)
    road = f"asphalt{int(rng.integers(5))}"
    paved = place_.path if not place_.path.startswith("asphalt") else "slabs0"
    if side > 0:
        return long, replace(
            _without_walls(place_, 1), path=paved, path_right_m=x, right=road, left_wall_m=min(place_.left_wall_m, -2.0)
        )
    return long, replace(
        _without_walls(place_, -1), path=paved, path_left_m=x, left=road, right_wall_m=max(place_.right_wall_m, 2.0)
    )


def _crosswalk(thing: Thing, place_: Place, rng: np.random.Generator, side: int, ahead: float) -> tuple[Thing, Place]:
    if side == 0:
        z = ahead + thing.depth_m / 2
        x = float(rng.uniform(-0.6, 0.6))
        crossed = replace(
            place_, cross_from_m=ahead - 0.3, cross_to_m=ahead + thing.depth_m + 0.3, end_m=max(place_.end_m, z + 8.0)
        )
        return replace(thing, x_m=x, z_m=z), crossed
    x = side * (_EDGE_M + 0.25 + float(rng.uniform(0, 0.3)) + thing.depth_m / 2)
    turned = replace(thing, heading=side * HALF_PI, x_m=x, z_m=float(rng.uniform(1.4, 2.6)) + thing.width_m / 2)
    road = f"asphalt{int(rng.integers(5))}"
    edge = side * (_EDGE_M + 0.2)
    open_side = _without_walls(place_, side)
    return turned, replace(open_side, path_right_m=edge, right=road) if side > 0 else replace(
        open_side, path_left_m=edge, left=road
    )


def _door(thing: Thing, place_: Place, rng: np.random.Generator, side: int, ahead: float) -> tuple[Thing, Place]:
    if side == 0:
        wall = place_.end if not place_.end.startswith("skyline") else "brickwall1"
        z = ahead + 0.05
        return replace(thing, x_m=float(rng.uniform(-0.4, 0.4)), z_m=z), replace(
            place_, end_m=z + 0.05, end=wall, end_height_m=FAR_M if place_.indoor else 7.0
        )
    gap = float(rng.uniform(0.95, 1.5))
    z = max(1.9, gap * 1.5) + float(rng.uniform(0.2, 1.1)) + thing.width_m / 2
    turned = replace(thing, heading=side * HALF_PI, x_m=side * gap, z_m=z)
    end = max(place_.end_m, z + 6.0)
    if side > 0:
        return turned, replace(
            place_, right_wall_m=gap + 0.05, right_wall=_wall(place_.right_wall), path_right_m=gap, end_m=end
        )
    return turned, replace(
        place_, left_wall_m=-gap - 0.05, left_wall=_wall(place_.left_wall), path_left_m=-gap, end_m=end
    )


def _wall(name: str) -> str:
    return "plaster2" if name.startswith("hedge") else name


def _stairs(thing: Thing, place_: Place, rng: np.random.Generator, side: int, ahead: float) -> tuple[Thing, Place]:
    if side == 0:
        x = float(rng.uniform(-0.35, 0.35))
        thing = replace(thing, x_m=x, z_m=ahead + thing.depth_m / 2)
        return thing, replace(
            place_,
            end_m=max(
                place_.end_m if thing.object == "stairs down" else 0.0,
                ahead + thing.depth_m + float(rng.uniform(0.2, 6)),
            ),
        )
    across = rng.random() < 0.4
    heading = side * HALF_PI if across else 0.0
    turned = replace(thing, heading=heading)
    x = side * (_EDGE_M + 0.06 + float(rng.uniform(0, 0.4)) + turned.reach_x_m())
    z = float(rng.uniform(1.7, 2.9)) + turned.reach_z_m()
    turned = replace(turned, x_m=x, z_m=z)
    return turned, _clear_of(place_, turned)


def _without_walls(place_: Place, side: int) -> Place:
    """No wall near on that side."""
    if side > 0:
        return replace(place_, right_wall_m=max(place_.right_wall_m, 9.0), ceiling_m=place_.ceiling_m)
    return replace(place_, left_wall_m=min(place_.left_wall_m, -9.0))


def _clear_of(place_: Place, thing: Thing) -> Place:
    """Walls moved back where the thing would stand in them."""
    left, right = thing.x_m - thing.reach_x_m() - 0.1, thing.x_m + thing.reach_x_m() + 0.1
    return replace(
        place_,
        left_wall_m=min(place_.left_wall_m, left),
        right_wall_m=max(place_.right_wall_m, right),
        end_m=max(place_.end_m, thing.z_m + thing.reach_z_m() + 1.0),
    )


def _company(
    rng: np.random.Generator, objects: tuple[str, ...], target: Thing | None, place_: Place, pose: Pose
) -> list[Thing]:
    """Other things: some in reach but less urgent than the target, some too far to matter."""
    company: list[Thing] = []
    taken = [target] if target else []
    limit = min(place_.end_m, place_.cross_from_m) - 0.4
    for _ in range(int(rng.choice(4, p=(0.3, 0.35, 0.25, 0.1)))):
        name = objects[int(rng.integers(len(objects)))]
        other = new_thing(name, rng, indoor=place_.indoor)
        if other.across or name in ("door", "head obstacle", "curb"):
            continue
        near = target is not None and rng.random() < 0.45
        other = _beside_target(other, rng) if near else _far_away(other, rng)
        outside = (
            not place_.left_wall_m < other.x_m - other.reach_x_m()
            or not other.x_m + other.reach_x_m() < place_.right_wall_m
        )
        if outside or other.z_m + other.reach_z_m() > limit or any(_touch(other, t) for t in taken):
            continue
        if near and target is not None and not _less_urgent(other, target, pose):
            continue
        taken.append(other)
        company.append(other)
    return company


def _beside_target(thing: Thing, rng: np.random.Generator) -> Thing:
    side = int(rng.integers(-1, 2))
    ahead = float(rng.uniform(2.2, 4.4))
    x = float(rng.uniform(-0.2, 0.2)) if side == 0 else side * (thing.reach_x_m() + float(rng.uniform(_EDGE_M, 1.4)))
    return replace(thing, x_m=x, z_m=ahead + thing.reach_z_m())


def _far_away(thing: Thing, rng: np.random.Generator) -> Thing:
    """Clearly out of reach, ahead or far to the side."""
    limit = reach(thing.object)
    if rng.random() < 0.6:
        ahead, x = float(rng.uniform(limit.ahead_m + 1.6, limit.ahead_m + 12.0)), float(rng.uniform(-3.5, 3.5))
    else:
        ahead = float(rng.uniform(3.0, 9.0))
        x = (1 if rng.random() < 0.5 else -1) * (thing.reach_x_m() + limit.lateral_m + float(rng.uniform(0.7, 3.0)))
    return replace(thing, x_m=x, z_m=ahead + thing.reach_z_m())


def _touch(a: Thing, b: Thing) -> bool:
    """Footprints closer than 20 cm."""
    return (
        abs(a.x_m - b.x_m) < a.reach_x_m() + b.reach_x_m() + 0.2
        and abs(a.z_m - b.z_m) < a.reach_z_m() + b.reach_z_m() + 0.2
    )


def _less_urgent(other: Thing, target: Thing, pose: Pose) -> bool:
    """By a clear margin: a higher tier number, or the same and 0.8 m farther."""
    a, b = truth.bearing(other, pose), truth.bearing(target, pose)
    if a is None or b is None:
        return False
    tier_a, far_a = truth.urgency(truth.Seen(other.object, a.side, a.distance_m, 1.0, 1.0))
    tier_b, far_b = truth.urgency(truth.Seen(target.object, b.side, b.distance_m, 1.0, 1.0))
    return tier_a > tier_b or (tier_a == tier_b and far_a > far_b + 0.8)
