"""Planning a walk: which thing is met in which chunk, where it stands, and how the walker gets past.

The plan works chunk by chunk. Each chunk of CHUNK_S wants one thing (or nothing) to be the most urgent in its middle
frame; a thing is tried in several spots until the rendered middle frame says so and the chunks before it still say what
they should. Things one cannot pass (curb, stairs, a door ahead, a platform edge) end their leg: the walker turns there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from server.walks.catalogue import HALF_PI, new_thing, of_kind
from server.walks.frames import road_edges
from server.walks.places import INDOOR, SETTINGS, place
from server.walks.scene import FAR_M, Place, Thing, Weather
from server.walks.sky import LIGHTS, light
from server.walks.truth import DRAWN, KNOWN
from server.walks.walk import SPEED_MPS, TURN_S, Leg, Walk, aside_m, pose_at, seen_at
from shared.chunk_format import CHUNK_S
from shared.errors import ConfigError
from shared.sight import reach

WEATHERS = {
    "fair": Weather(noise=2.5),
    "rain": Weather(rain=0.6, drops=2, noise=3.5),
    "mist": Weather(fog=0.16, noise=3.0),
}
OUTDOOR_ONLY = ("curb", "crosswalk", "vehicle", "bicycle")
_LEG_CHUNKS = 9
_TRIES = 14
_PLANS = 6
_BODY_M = 0.66
"""The walker's middle keeps this far from what it passes."""
_SWERVE_M = 1.35


@dataclass(frozen=True, slots=True)
class Route:
    """What a named walk is like. `shares`: object -> share of the chunks that meet it first."""

    about: str
    objects: tuple[str, ...]
    shares: Mapping[str, float]
    settings: tuple[str, ...]
    light: str
    weather: str = "fair"
    clear_share: float = 0.08


ROUTES: dict[str, Route] = {
    "works": Route(
        "Works on the pavement by day: many traffic cones, barriers, people, bins, parked vehicles.",
        ("cone", "barrier", "person", "bin", "bollard", "pole", "vehicle", "curb", "furniture", "slippery ground"),
        {"cone": 0.7}, ("street", "square"), "day", clear_share=0.0,
    ),
    "market": Route(
        "A market square and its park under a grey sky: furniture, people, bins, bicycles, and some cones.",
        ("cone", "furniture", "person", "bin", "bicycle", "bollard", "pole", "stairs up", "crosswalk", "head obstacle"),
        {"cone": 0.4}, ("square", "park", "street"), "overcast",
    ),
    "town": Route("Streets by day with everything the starter knows.", KNOWN, {}, ("street", "square", "park"), "day"),
    "evening": Route("The same at dusk.", KNOWN, {}, ("street", "square", "park"), "dusk"),
    "night": Route("Streets and a park at night, under lamps.", KNOWN, {}, ("street", "park"), "night"),
    "rain": Route("A grey, wet town.", KNOWN, {}, ("street", "square"), "overcast", "rain"),
    "indoors": Route(
        "Corridors of a public building.",
        ("door", "person", "bin", "furniture", "stairs down", "stairs up", "slippery ground", "pole", "head obstacle"),
        {"door": 0.25}, ("corridor",), "day",
    ),
    "station": Route(
        "Platforms and passages.",
        ("drop-off", "person", "furniture", "bin", "pole", "stairs down", "stairs up", "door", "barrier"),
        {"drop-off": 0.15}, ("platform", "corridor"), "day",
    ),
}  # fmt: skip


def walk_from_name(name: str, *, seed: int = 1, duration_s: float = 60.0) -> Walk:
    """A walk along a named route. Raises: ConfigError for an unknown name."""
    route = ROUTES.get(name)
    if route is None:
        raise ConfigError(f"No route is called {name!r}.", hint=f"Choose from: {', '.join(ROUTES)}.")
    chunks = max(1, int(duration_s / CHUNK_S))
    return plan_walk(
        seed,
        duration_s=duration_s,
        objects=route.objects,
        min_encounters={k: math.ceil(v * chunks) for k, v in route.shares.items()},
        settings=route.settings,
        light_name=route.light,
        weather_name=route.weather,
        clear_share=route.clear_share,
        name=name,
    )


def walk_along(route: Route, *, seed: int, duration_s: float, known: Sequence[str] = KNOWN) -> Walk:
    """A walk in the places and the light of a route, with those of its things that are in `known`, in no set shares."""
    return plan_walk(
        seed,
        duration_s=duration_s,
        objects=[name for name in route.objects if name in known],
        settings=route.settings,
        light_name=route.light,
        weather_name=route.weather,
        clear_share=route.clear_share,
    )


def plan_walk(
    seed: int,
    *,
    duration_s: float = 60.0,
    objects: Sequence[str] = KNOWN,
    min_encounters: Mapping[str, int] | None = None,
    settings: Sequence[str] = ("street", "square", "park"),
    light_name: str = "day",
    weather_name: str = "fair",
    clear_share: float = 0.12,
    name: str = "walk",
) -> Walk:
    """Plan a walk in which each of `min_encounters` is the most urgent thing in at least that many chunks' middles.

    The same arguments give the same walk. Raises: ConfigError for unknown names, or where the encounters asked for do
    not fit into the time.
    """
    wanted = dict(min_encounters or {})
    _check(objects, wanted, settings=settings, light_name=light_name, weather_name=weather_name, duration_s=duration_s)
    chunks = int(duration_s / CHUNK_S + 1e-9)
    short: dict[str, int] = {}
    for plan in range(_PLANS):
        rng = np.random.default_rng([seed, plan, 0xC0DE])
        draft = _Draft(name, seed, duration_s, tuple(settings), light_name, WEATHERS[weather_name], tuple(objects), rng)
        draft.fill(_agenda(chunks, objects, wanted, clear_share, rng))
        named = [draft.named(i) for i in range(chunks)]
        short = {k: v - named.count(k) for k, v in wanted.items() if named.count(k) < v}
        if not short:
            return draft.walk()
    missing = ", ".join(f"{count} more {k}" for k, count in short.items())
    raise ConfigError(
        f"A walk of {duration_s:g} s has no room for {missing}.", hint="Make it longer or ask for fewer encounters."
    )


def _check(
    objects: Sequence[str],
    wanted: Mapping[str, int],
    *,
    settings: Sequence[str],
    light_name: str,
    weather_name: str,
    duration_s: float,
) -> None:
    for given, known, what in (
        ((*objects, *wanted), DRAWN, "object"),
        (tuple(settings), SETTINGS, "setting"),
        ((light_name,), LIGHTS, "light"),
        ((weather_name,), tuple(WEATHERS), "weather"),
    ):
        bad = [entry for entry in given if entry not in known]
        if bad or not given:
            raise ConfigError(
                f"Unknown {what}: {', '.join(bad) or 'none given'}.", hint=f"Choose from: {', '.join(known)}."
            )
    strange = [k for k in wanted if k not in objects]
    if strange:
        raise ConfigError(f"Encounters asked for {', '.join(strange)}, which is not among the objects of the walk.")
    if not CHUNK_S <= duration_s <= 3600.0:
        raise ConfigError(f"A walk of {duration_s:g} s cannot be planned.", hint="Give 2 to 3600 seconds.")


def _agenda(
    chunks: int, objects: Sequence[str], wanted: Mapping[str, int], clear_share: float, rng: np.random.Generator
) -> list[str | None]:
    """What each chunk should meet: the wanted ones and one more, then the others in turn, some nothing; shuffled."""
    agenda: list[str | None] = []
    for name, count in wanted.items():
        agenda += [name] * (count + (1 if count >= 5 else 0))
    others = [name for name in objects if name not in wanted] or list(objects)
    order = list(rng.permutation(len(others)))
    free = max(0, chunks - len(agenda))
    nothing = round(free * clear_share)
    agenda += [None] * nothing + [others[order[i % len(order)]] for i in range(free - nothing)]
    shuffled = [agenda[int(i)] for i in rng.permutation(len(agenda))]
    return shuffled[:chunks] if len(agenda) <= chunks else shuffled


class _Draft:
    """A walk while it is being planned."""

    def __init__(
        self,
        name: str,
        seed: int,
        duration_s: float,
        settings: tuple[str, ...],
        light_name: str,
        weather: Weather,
        objects: tuple[str, ...],
        rng: np.random.Generator,
    ) -> None:
        self._name, self._seed, self._duration_s = name, seed, duration_s
        self._settings, self._light_name, self._weather = settings, light_name, weather
        self._objects, self._rng = objects, rng
        self._legs: list[Leg] = []
        self._expected: dict[int, str | None] = {}

    def walk(self) -> Walk:
        """The walk as planned so far."""
        legs = [*self._legs]
        legs[-1] = replace(legs[-1], end_s=self._duration_s, turn=0.0)
        return Walk(self._name, self._seed, self._duration_s, tuple(legs), self._weather)

    def named(self, chunk: int) -> str | None:
        """What the middle frame of a chunk names now."""
        walk = Walk(self._name, self._seed, self._duration_s, tuple(self._legs), self._weather)
        seen = seen_at(walk, _middle(chunk))
        return seen[0].object if seen else None

    def fill(self, agenda: list[str | None]) -> None:
        """Walk through the chunks; what does not fit is tried again in the next ones."""
        chunks = int(self._duration_s / CHUNK_S + 1e-9)
        waiting = list(agenda)
        self._new_leg(0, None)
        for chunk in range(chunks):
            if chunk in self._expected:
                continue
            leg = self._legs[-1]
            if leg.end_s <= chunk * CHUNK_S or chunk * CHUNK_S - leg.start_s >= _LEG_CHUNKS * CHUNK_S:
                self._new_leg(chunk, waiting[0] if waiting else None)
            if not self._meet_one(chunk, waiting) and chunk * CHUNK_S - self._legs[-1].start_s >= 2 * CHUNK_S:
                self._new_leg(
                    chunk, waiting[0] if waiting else None
                )  # nothing fits behind what is still in the picture
                self._meet_one(chunk, waiting)
            self._expected.setdefault(chunk, self.named(chunk))

    def _meet_one(self, chunk: int, waiting: list[str | None]) -> bool:
        """Take the first of the next few that finds a spot off the list."""
        for pick in range(min(4, len(waiting))):
            name = waiting[pick]
            if name is None:
                if self.named(chunk) is not None:
                    continue
            elif name in waiting[:pick] or not self._meet(chunk, name):
                continue
            waiting.pop(pick)
            return True
        return False

    def _new_leg(self, chunk: int, name: str | None) -> None:
        """Turn into new surroundings at the start of a chunk, suited to what comes next."""
        rng, start_s = self._rng, chunk * CHUNK_S
        settings = [s for s in self._settings if _suits(name, s)] or [s for s in SETTINGS if _suits(name, s)]
        setting = settings[int(rng.integers(len(settings)))]
        turn = 1.0 if rng.random() < 0.5 else -1.0
        came = 0.0
        if self._legs:
            last = self._legs[-1]
            self._legs[-1] = replace(last, end_s=start_s)
            came = last.turn
        length = _LEG_CHUNKS * CHUNK_S * SPEED_MPS
        where = _roomy(place(setting, rng), length)
        lamp = light(
            "lamps" if setting in INDOOR else self._light_name,
            np.random.default_rng([self._seed, chunk if setting in INDOOR else 0]),
        )
        leg = Leg(start_s, self._duration_s + TURN_S, setting, where, lamp, turn=turn, came=came)
        extra = (
            road_edges(where, int(rng.integers(1 << 30)), begin_m=-6.0, end_m=length + 30.0)
            if "curb" in self._objects
            else []
        )
        extra += _traffic(where, rng, length / SPEED_MPS) if "vehicle" in self._objects else []
        self._legs.append(replace(leg, things=tuple(extra)))

    def _meet(self, chunk: int, name: str) -> bool:
        """Put a thing where the chunk's middle frame names it; False where no spot was found."""
        if not _suits(name, self._legs[-1].setting):
            if self._legs[-1].start_s == chunk * CHUNK_S:
                return False
            self._new_leg(chunk, name)
        before = self._legs[-1]
        for _ in range(_TRIES):
            spot = _spot(name, before, _middle(chunk), self._rng)
            if spot is None:
                continue
            leg, thing, ends = spot
            self._legs[-1] = leg
            recent = [c for c in range(max(0, chunk - 4), chunk) if _middle(c) > leg.start_s]
            self._expected[chunk] = name
            if all(self.named(c) == self._expected[c] for c in (chunk, *recent)):
                for later in range(1, _lasts(thing)):
                    self._expected[chunk + later] = name
                if ends:
                    self._legs[-1] = replace(leg, end_s=(chunk + 1) * CHUNK_S)
                return True
        self._legs[-1] = before
        self._expected.pop(chunk, None)
        return False


def _middle(chunk: int) -> float:
    return (chunk + 0.5) * CHUNK_S


def _suits(name: str | None, setting: str) -> bool:
    return not (name in OUTDOOR_ONLY and setting in INDOOR)


def _lasts(thing: Thing) -> int:
    """For how many chunks the walker has it beside: long vehicles stay in the picture."""
    return max(1, math.ceil(2 * thing.reach_z_m() / (SPEED_MPS * CHUNK_S))) if thing.object == "vehicle" else 1


def _roomy(place_: Place, length_m: float) -> Place:
    """Wide enough for a walker who steps aside, long enough for the leg."""
    near = 1.7 if place_.indoor else 2.4
    return replace(
        place_,
        end_m=max(place_.end_m, length_m + (6.0 if place_.indoor else 26.0)),
        left_wall_m=min(place_.left_wall_m, -near),
        right_wall_m=max(place_.right_wall_m, near),
        path_left_m=min(place_.path_left_m, -2.3),
        path_right_m=max(place_.path_right_m, 2.3),
    )


def _traffic(place_: Place, rng: np.random.Generator, seconds: float) -> list[Thing]:
    """Vehicles that pass on the road beside the path, out of the walker's way."""
    cars: list[Thing] = []
    for texture, edge, side in ((place_.left, place_.path_left_m, -1), (place_.right, place_.path_right_m, 1)):
        if not texture.startswith("asphalt") or place_.path.startswith("asphalt"):
            continue
        for _ in range(int(rng.integers(1, 3))):
            meets_s = float(rng.uniform(2.0, max(3.0, seconds)))
            away = rng.random() < 0.5
            vz = float(rng.uniform(5.0, 8.0)) * (1 if away else -1)
            car = replace(of_kind("vehicle", int(rng.integers(2)), rng), heading=0.0 if away else math.pi)
            cars.append(
                replace(car, x_m=edge + side * float(rng.uniform(3.0, 4.2)), z_m=(SPEED_MPS - vz) * meets_s, vz_mps=vz)
            )
    return cars


def _spot(name: str, leg: Leg, middle_s: float, rng: np.random.Generator) -> tuple[Leg, Thing, bool] | None:
    """The leg with one more thing in it, the thing, and whether the leg ends there; None where chance picked badly."""
    pose = pose_at(leg, middle_s)
    thing = new_thing(name, rng, indoor=leg.place.indoor)
    side = int(rng.integers(-1, 2))
    if name in ("curb", "crosswalk", "stairs up", "stairs down") or (name == "drop-off" and thing.across):
        return _closing(thing, leg, pose.x_m, pose.z_m, rng)
    if name == "door":
        return _doorway(thing, leg, pose.x_m, pose.z_m, rng, side)
    if name == "vehicle":
        thing = replace(of_kind("vehicle", int(rng.integers(2)), rng), heading=0.0 if rng.random() < 0.5 else math.pi)
    half = thing.reach_x_m()
    ahead = float(rng.uniform(2.3, 3.0)) if name != "vehicle" else float(rng.uniform(3.0, 4.5))
    if side == 0:
        lean = max(0.0, half - 0.3) + float(rng.uniform(0.0, 0.12))
        thing = replace(thing, x_m=pose.x_m + (1 if rng.random() < 0.5 else -1) * lean)
    else:
        ahead = max(ahead, 2.5)
        thing = replace(thing, x_m=pose.x_m + side * (half + float(rng.uniform(_BODY_M + 0.06, 1.2))))
    thing = replace(thing, z_m=pose.z_m + ahead + thing.reach_z_m())
    if name == "head obstacle" and side == 0:
        return replace(leg, things=(*leg.things, thing), ducks=(*leg.ducks, thing.z_m)), thing, False
    passed = _passing(leg, thing)
    if passed is None or not _fits(leg.place, thing):
        return None
    thing = _moving(thing, leg, middle_s, side, rng)
    return replace(passed, things=(*leg.things, thing)), thing, False


def _fits(place_: Place, thing: Thing) -> bool:
    """Between the walls, and vehicles where there is room for them."""
    half = thing.reach_x_m()
    return place_.left_wall_m + 0.05 < thing.x_m - half and thing.x_m + half < place_.right_wall_m - 0.05


def _moving(thing: Thing, leg: Leg, middle_s: float, side: int, rng: np.random.Generator) -> Thing:
    """Some people beside the path walk, some bicycles are ridden past; they are at their spot in the middle frame."""
    ridden = thing.object == "bicycle" and thing.variant == 1
    if side == 0 or not (ridden or (thing.object == "person" and rng.random() < 0.6)):
        return thing
    vz = -float(rng.uniform(2.2, 3.0)) if ridden else -float(rng.uniform(0.6, 1.1))
    return replace(thing, heading=math.pi, vz_mps=vz, z_m=thing.z_m - vz * (middle_s - leg.start_s))


def _passing(leg: Leg, thing: Thing) -> Leg | None:
    """The leg with the walker led past a thing, or None where there is no room."""
    left, right = thing.x_m - thing.reach_x_m() - _BODY_M, thing.x_m + thing.reach_x_m() + _BODY_M
    free_left, free_right = max(-_SWERVE_M, leg.place.left_wall_m + 0.7), min(_SWERVE_M, leg.place.right_wall_m - 0.7)
    choices = [x for x in (0.0, left, right) if not left < x < right and free_left <= x <= free_right]
    if not choices:
        return None
    near, far = thing.z_m - thing.reach_z_m(), thing.z_m + thing.reach_z_m()
    if near <= leg.knots[-1][0] + 0.3:
        return None
    before = aside_m(leg, near)
    x = min(choices, key=lambda c: (abs(c - before) + 0.3 * abs(c), c))
    return replace(leg, knots=(*leg.knots, (near, x), (max(far, near + 0.1), x)))


def _closing(thing: Thing, leg: Leg, x: float, z: float, rng: np.random.Generator) -> tuple[Leg, Thing, bool] | None:
    """What spans the way: the leg ends before it. Only a crosswalk is walked over."""
    ahead = float(rng.uniform(2.1, 2.9)) if thing.object != "stairs down" else float(rng.uniform(1.7, 2.4))
    near = z + ahead
    if near < leg.place.cross_to_m < FAR_M:
        return None  # still on the road
    thing = replace(thing, heading=0.0, x_m=x, z_m=near + thing.depth_m / 2)
    there = leg.place
    if thing.object == "curb":
        if there.cross_from_m < FAR_M:
            return None
        there = replace(there, cross_from_m=thing.z_m + 0.1, cross_to_m=thing.z_m + float(rng.uniform(6.0, 9.0)))
    elif thing.object == "crosswalk":
        if there.cross_from_m < FAR_M:
            return None
        there = replace(there, cross_from_m=near - 0.3, cross_to_m=near + thing.depth_m + 0.3)
    elif thing.object == "stairs up":
        there = replace(there, end_m=near + thing.depth_m + (0.3 if there.indoor else 8.0))
    others = tuple(_stopped_at_road(t, there) for t in leg.things)
    made = replace(leg, place=there, things=(*others, thing))
    return made, thing, thing.object != "crosswalk"


def _stopped_at_road(thing: Thing, place_: Place) -> Thing:
    """A curb along the road ends where a road crosses."""
    if thing.object != "curb" or abs(thing.heading) < 1.0 or place_.cross_from_m >= FAR_M:
        return thing
    begin = thing.z_m - thing.width_m / 2
    end = min(thing.z_m + thing.width_m / 2, place_.cross_from_m)
    return replace(thing, z_m=(begin + end) / 2, width_m=end - begin)


def _doorway(
    thing: Thing, leg: Leg, x: float, z: float, rng: np.random.Generator, side: int
) -> tuple[Leg, Thing, bool] | None:
    there = leg.place
    if side == 0:
        at = z + float(rng.uniform(2.2, 3.0))
        wall = there.end if not there.end.startswith("skyline") else "brickwall1"
        thing = replace(thing, heading=0.0, x_m=x + float(rng.uniform(-0.2, 0.2)), z_m=at)
        closed = replace(there, end_m=at + 0.05, end=wall, end_height_m=FAR_M if there.indoor else 7.0)
        return replace(leg, place=closed, things=(*leg.things, thing)), thing, True
    wall_m = there.right_wall_m if side > 0 else there.left_wall_m
    if abs(wall_m - x) > reach("door").lateral_m:
        return None
    far = z + float(rng.uniform(2.4, 3.0)) + thing.width_m / 2
    thing = replace(thing, heading=side * HALF_PI, x_m=wall_m - side * 0.05, z_m=far)
    return replace(leg, things=(*leg.things, thing)), thing, False
