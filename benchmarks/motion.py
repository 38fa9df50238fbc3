"""Which things come, by their boxes over several looks, on drawn streets where the renderer knows it.

    make bench NAME=motion
    .venv/bin/python -m benchmarks.motion [--streets N] [--seed N]

Each street has what is parked beside the way, and a car, a bicycle or a person that comes towards the walker, crosses,
goes past on the road, goes away, or stands. The boxes are those of the drawn pixels, as far as other things do not hide
them, with the noise of a real detector on each edge; the camera sways as on a chest and swings at a corner. Judged at
every look, for everything seen long enough to be measured.

    measured     shared.sight: approaching, closing fast or crossing
    foot         the trivial rule: the foot came nearer by more than a quick walk, from the look a second ago
    always       everything comes
    never        nothing comes

What comes is true where the thing moves by itself, faster than 0.5 m/s, and within 4 s either passes the walker within
the reach of its class to the side, or goes across the path within its reach ahead.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from server.walks.catalogue import of_kind
from server.walks.paint import paint
from server.walks.places import place
from server.walks.scene import CAMERA_HEIGHT_M, VIEW_DEG, Pose, Thing, Weather
from server.walks.sky import light
from server.walks.walk import SPEED_MPS, Leg, Walk, scene_at
from shared import atomic
from shared.sight import (
    APPROACHING,
    CLOSING_FAST,
    CORRIDOR_M,
    CROSSING,
    Box,
    BoxScoring,
    Camera,
    Sight,
    View,
    follow,
    motion_of,
    reach,
    state_of,
    thumb,
)
from shared.sight.boxes import AREA_LEAST, AREA_MOST
from shared.sight.motion import OWN_MOST_MPS
from shared.sight.tracks import Track

OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "motion.json"
WIDTH_PX, HEIGHT_PX = 320, 240
SECONDS, LOOKS_PER_S = 6.0, 4
EDGE_NOISE = 0.035
"""Of each edge of a box, as a share of its side: sizes that vary by 5 %, as the packaged eyes' do."""
CAMERA = Camera(CAMERA_HEIGHT_M, math.degrees(0.175), VIEW_DEG)
SOON_S, MOVES_MPS = 4.0, 0.5
KINDS = ("comes", "crosses", "passes", "leaves", "stands")
OBJECTS = {"vehicle": (2.0, 8.0), "bicycle": (2.0, 4.5), "person": (0.6, 1.4)}
"""How fast each moves where it does, metres a second."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One thing at one look."""

    object: str
    kind: str
    """Of its street; "parked" for what stands beside the way."""
    comes: bool
    """True, by the renderer."""
    state: str
    """Measured."""
    foot_mps: float
    """How much nearer the foot of its box came in the last second."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write motion.json."""
    options, console = parser().parse_args(argv), Console()
    judged = [entry for number in range(options.streets) for entry in street(options.seed, number)]
    found = {name: figures(judged, rule) for name, rule in RULES.items()}
    console.print(table(found, len(judged), sum(entry.comes for entry in judged)))
    by_kind = {kind: _states([entry for entry in judged if entry.kind == kind]) for kind in (*KINDS, "parked")}
    for kind, counts in by_kind.items():
        console.print(f"{kind:>8}: {', '.join(f'{state} {count}' for state, count in sorted(counts.items()))}")
    atomic.write_json(OUT, {"looks": len(judged), "rules": found, "states": by_kind})


def _states(judged: Sequence[Judged]) -> dict[str, int]:
    return dict(Counter(entry.state or "–" for entry in judged))


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(prog="python -m benchmarks.motion", description=(__doc__ or "").splitlines()[0])
    parsed.add_argument("--streets", type=int, default=45, help="drawn streets of 6 s (default %(default)s)")
    parsed.add_argument("--seed", type=int, default=1)
    return parsed


RULES: dict[str, Callable[[Judged], bool]] = {
    "measured": lambda entry: entry.state in (APPROACHING, CLOSING_FAST, CROSSING),
    "foot": lambda entry: entry.foot_mps > OWN_MOST_MPS,
    "always": lambda entry: True,
    "never": lambda entry: False,
}


def figures(judged: Sequence[Judged], rule: Callable[[Judged], bool]) -> dict[str, float | None]:
    """Precision and recall of one rule; None where nothing is there to divide by."""
    said = [entry for entry in judged if rule(entry)]
    due = [entry for entry in judged if entry.comes]
    right = sum(entry.comes for entry in said)
    return {
        "precision": right / len(said) if said else None,
        "recall": right / len(due) if due else None,
        "false_looks": (len(said) - right) / max(1, len(judged) - len(due)),
    }


def table(found: dict[str, dict[str, Any]], looks: int, comes: int) -> Table:
    out = Table("rule", "precision", "recall", "of looks where nothing comes", title=f"{looks} things, {comes} come")
    for name, row in found.items():
        out.add_row(name, *("–" if value is None else f"{value:.1%}" for value in row.values()))
    return out


# --- a street ---------------------------------------------------------------------------------------------------------


def street(seed: int, number: int) -> Iterator[Judged]:
    """The n-th street: everything that was seen long enough to be measured, look by look."""
    rng = np.random.default_rng([seed, number, 0x5EE])
    name, kind = tuple(OBJECTS)[number % len(OBJECTS)], KINDS[number // len(OBJECTS) % len(KINDS)]
    things = (mover(name, kind, rng), *_parked(rng))
    leg = Leg(0.0, SECONDS, "street", wide(rng), light("day", rng), things, turn=1.0 if rng.random() < 0.5 else -1.0)
    walk = Walk("motion", seed, SECONDS, (leg,), Weather(noise=2.5))
    sight, scoring = Sight(), BoxScoring()
    for look in range(1, round(SECONDS * LOOKS_PER_S)):
        at_s = look / LOOKS_PER_S
        scene = scene_at(walk, at_s)
        image, ids, _ = paint(scene, width_px=WIDTH_PX, height_px=HEIGHT_PX, count=False)
        boxes = {at: _box(thing, ids == at + 1, rng) for at, thing in enumerate(scene.things)}
        seen = {at: box for at, box in boxes.items() if box is not None}
        view = View(CAMERA, scoring, WIDTH_PX / HEIGHT_PX)
        sight = follow(sight, thumb(image), tuple(seen.values()), view, at_s)
        for at, box in seen.items():
            track = next(track for track in sight.tracks.tracks if track.last.box is box)
            if len(track.sightings) > LOOKS_PER_S // 2:
                truth = comes(scene.things[at], scene.pose)
                yield _judge(track, sight, truth, "parked" if at else kind)


def _judge(track: Track, sight: Sight, truth: bool, kind: str) -> Judged:
    moving = motion_of(track, CAMERA, aspect=WIDTH_PX / HEIGHT_PX, steady_since_s=sight.steady_since_s)
    first = next(seen for seen in track.sightings if track.last.at_s - seen.at_s <= 1.0)
    feet = [CAMERA.ground(0.5, seen.box.bottom, aspect=WIDTH_PX / HEIGHT_PX) for seen in (first, track.last)]
    before, now = feet
    passed_s = track.last.at_s - first.at_s
    nearer = 0.0 if before is None or now is None else (before.ahead_m - now.ahead_m) / passed_s
    return Judged(track.object, kind, truth, "" if moving is None else state_of(track.object, moving), nearer)


def comes(thing: Thing, pose: Pose) -> bool:
    """Whether a thing comes by itself: the truth."""
    if math.hypot(thing.vx_mps, thing.vz_mps) < MOVES_MPS:
        return False
    x, z = thing.x_m - pose.x_m, thing.z_m - thing.reach_z_m() - pose.z_m
    vx, vz = thing.vx_mps, thing.vz_mps - SPEED_MPS
    limit = reach(thing.object)
    if abs(vx) > abs(thing.vz_mps):  # it goes across
        edge, other = sorted((-math.copysign(CORRIDOR_M, vx) - x, math.copysign(CORRIDOR_M, vx) - x), key=abs)
        first_s, last_s = max(0.0, edge / vx - thing.reach_x_m() / abs(vx)), other / vx + thing.reach_x_m() / abs(vx)
        return last_s > 0.0 and first_s <= SOON_S and 0.0 < z + vz * first_s <= limit.ahead_m
    left_s = -(x * vx + z * vz) / (vx**2 + vz**2)
    gap = max(0.0, math.hypot(x + vx * left_s, z + vz * left_s) - thing.reach_x_m())
    return 0.0 < left_s <= SOON_S and gap <= limit.lateral_m and thing.vz_mps < 0.0


def mover(name: str, kind: str, rng: np.random.Generator) -> Thing:
    speed = float(rng.uniform(*OBJECTS[name]))
    thing = of_kind(name, int(rng.integers(2)) if name != "bicycle" else 1, rng)
    side = 1.0 if rng.random() < 0.5 else -1.0
    meets_s = float(rng.uniform(2.5, 5.0))
    match kind:
        case "comes":
            x, z = side * float(rng.uniform(0.0, 1.5)), (SPEED_MPS + speed) * meets_s
            return replace(thing, heading=math.pi, x_m=x, z_m=z, vz_mps=-speed)
        case "crosses":
            ahead = SPEED_MPS * meets_s + float(rng.uniform(2.5, 5.0))
            heading = -side * math.pi / 2
            return replace(thing, heading=heading, x_m=side * speed * meets_s, z_m=ahead, vx_mps=-side * speed)
        case "passes":
            x, z = side * float(rng.uniform(6.0, 8.0)), (SPEED_MPS + speed) * meets_s
            return replace(thing, heading=math.pi, x_m=x, z_m=z, vz_mps=-speed)
        case "leaves":
            return replace(thing, heading=0.0, x_m=side * float(rng.uniform(1.0, 2.5)), z_m=6.0, vz_mps=speed + 0.6)
        case _:
            return replace(thing, heading=math.pi, x_m=side * float(rng.uniform(0.0, 2.0)), z_m=11.0)


def _parked(rng: np.random.Generator) -> list[Thing]:
    """Cars along the way, and who stands there."""
    cars = [of_kind("vehicle", int(rng.integers(2)), rng) for _ in range(2)]
    spots = [(float(rng.choice((-1, 1))) * float(rng.uniform(2.6, 4.0)), float(rng.uniform(6, 22))) for _ in cars]
    person = replace(of_kind("person", 0, rng), heading=math.pi, x_m=float(rng.choice((-1, 1))) * 1.6, z_m=9.0)
    return [*(replace(car, x_m=x, z_m=z) for car, (x, z) in zip(cars, spots, strict=True)), person]


def wide(rng: np.random.Generator) -> Any:
    """A street with room for what crosses it."""
    return replace(place("street", rng), left_wall_m=-30.0, right_wall_m=30.0, end_m=60.0)


def _box(thing: Thing, shown: NDArray[np.bool_], rng: np.random.Generator) -> Box | None:
    """The box of what is seen of a thing, as a detector would find it."""
    if thing.object not in OBJECTS or shown.mean() < AREA_LEAST:
        return None
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    ends = [columns[0] / WIDTH_PX, rows[0] / HEIGHT_PX, (columns[-1] + 1) / WIDTH_PX, (rows[-1] + 1) / HEIGHT_PX]
    edges = np.array(ends)
    sides = np.array([edges[2] - edges[0], edges[3] - edges[1]] * 2)
    inside = (edges > 0.0) & (edges < 1.0)  # what is cut off ends at the picture's edge, exactly
    left, top, right, bottom = map(float, np.clip(edges + inside * rng.normal(0.0, EDGE_NOISE, 4) * sides, 0.0, 1.0))
    box = Box(thing.object, float(rng.uniform(0.4, 0.95)), left, top, right, bottom)
    return box if AREA_LEAST <= box.area <= AREA_MOST else None


if __name__ == "__main__":
    main()
