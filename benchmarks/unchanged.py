"""What leaving out looks at unchanged pictures saves, and what it costs in things seen.

make bench NAME=unchanged      about two minutes of one core; writes build/bench/unchanged.json

walking    drawn walks, a recorded one and a drive (../shared/data; skipped with the reason where absent): how much
           the picture changes from look to look, and how many looks are left out (shared.guidance.unchanged)
standing   drawn streets where something comes and the camera stands, but for a sway of some pixels of 640: the
           starter over the packaged eyes (without a registry the plain one) with each look and without those
           left out. What is seen of the thing that comes, how much later, and processor time of all looks that
           are due
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks._runtime_hits import DATA, ROUTES, SIZE_PX
from benchmarks.look import eyes, starter
from benchmarks.motion import KINDS, OBJECTS, SECONDS, mover, wide
from server.evaluation import annotated
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Course, Frame
from server.evaluation.measures import Proportion
from server.walks import render_frame, walk_from_name
from server.walks.paint import render
from server.walks.scene import VIEW_DEG, Weather
from server.walks.sky import light
from server.walks.walk import Leg, Walk, scene_at
from shared import atomic
from shared.errors import WaycueError
from shared.guidance import unchanged
from shared.policy import PolicySettings
from shared.runtime import GuidanceModel

OUT = Path("build/bench/unchanged.json")
LOOKS_PER_S = (4, 10)
DRAWN_S = 10.0
REAL = ("walks/crosswalk_02.mp4", "streets/sequence")
STREETS, SWAYS_PX = 15, (0.0, 0.5, 1.0, 2.0)
RADIANS_PER_PX = math.radians(VIEW_DEG) / 640
BREATHS_HZ = 0.3
Picture = NDArray[np.uint8]
Timed = Iterable[tuple[float, Picture]]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.unchanged", description=(__doc__ or "").split("\n\n")[0]
    )
    options.add_argument(
        "--streets", type=int, default=STREETS, help=f"drawn streets of each sway (default: {STREETS})"
    )
    chosen = options.parse_args(argv)
    logging.disable(logging.WARNING)
    console = Console()
    missing = [name for name in REAL if not (DATA / name).exists()]
    try:
        eyes(None, console)  # the starter then stands on them
    except WaycueError as error:
        console.print(f"the plain starter looks: {error}")
    model = GuidanceModel.load(starter(console), threads=1, allow_demo=True)
    found = {
        "alike_below": unchanged.ALIKE_BELOW,
        "model": model.manifest.version,
        "walking": walks(recorded=not missing),
        "missing": missing,
        "standing": {str(sway): stood(model, sway, streets=chosen.streets) for sway in SWAYS_PX},
    }
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, found)
    console.print(*tables(found))
    console.print(f"{OUT} is written.")


# --- walking ---


def walks(*, recorded: bool) -> dict[str, Any]:
    """Each walk by its name."""
    found = {f"drawn {route}": walked(_drawn(route)) for route in ROUTES}
    courses = [each for name in REAL if recorded for each in annotated.courses(DATA / name, looks_per_s=4.0)]
    for course in courses:
        found[course.name] = walked((frame.t_s, frame.image) for frame in course.frames())
    return found


def walked(pictures: Timed) -> dict[str, Any]:
    """How many looks at these pictures are left out where nothing is there, and the least that changed between two."""
    kept = [(t_s, picture) for t_s, picture in pictures]
    found: dict[str, Any] = {}
    for per_s in LOOKS_PER_S:
        state: unchanged.LookedAt | None = None
        due_s, left_out, looks, changes = 0.0, 0, 0, list[float]()
        for t_s, picture in kept:
            if t_s < due_s - 1e-6:
                continue
            due_s, looks, before = (math.floor(t_s * per_s + 1e-6) + 1) / per_s, looks + 1, state
            state, same = unchanged.step(state, picture, t_s)
            left_out += same
            if before is not None and state is not None and state is not before:
                changes.append(float(np.abs(before.cells - state.cells).max()))
        found[f"{per_s} a second"] = {
            "left_out": asdict(Proportion.of(left_out, looks)),
            "change_least": round(min(changes, default=math.nan), 1),
            "change_median": round(statistics.median(changes), 1),
        }
    return found


def _drawn(route: str) -> Iterator[tuple[float, Picture]]:
    walk, per_s = walk_from_name(route, duration_s=DRAWN_S), math.lcm(*LOOKS_PER_S)
    for number in range(round(DRAWN_S * per_s)):
        if any(number % (per_s // each) == 0 for each in LOOKS_PER_S):
            yield number / per_s, render_frame(walk, number / per_s, *SIZE_PX).image


# --- standing ---


@dataclass(slots=True)
class Stood:
    """All streets with each look, or without those that may be left out."""

    first_s: list[float | None] = field(default_factory=list)
    """When what comes was first seen, street by street."""
    looks: int = 0
    cpu_ms: float = 0.0

    def add(self, model: GuidanceModel, course: Course, name: str, *, skips: bool) -> None:
        """Look at one street. name: of what comes there"""
        began = time.process_time()
        settings = DriveSettings(pictures=False, skip_unchanged=skips)
        moments = drive(model, course, PolicySettings(), settings).moments
        self.cpu_ms += (time.process_time() - began) * 1e3
        self.looks += len(moments)
        sightings = (at.t_s for at in moments if name in {thing for thing, _ in at.sure})
        self.first_s.append(next(sightings, None))

    @property
    def seen(self) -> dict[str, Any]:
        return asdict(Proportion.of(len(self.first_s) - self.first_s.count(None), len(self.first_s)))


def stood(model: GuidanceModel, sway_px: float, *, streets: int) -> dict[str, Any]:
    """Each street once with all looks and once with those left out that may be."""
    each, fewer = Stood(), Stood()
    for number in range(streets):
        name, frames = street(number, sway_px)
        course = Course(f"{name} {number}", "standing", SECONDS, (), partial(iter, frames))
        each.add(model, course, name, skips=False)
        fewer.add(model, course, name, skips=True)
    both = zip(each.first_s, fewer.first_s, strict=True)
    later = [b - a for a, b in both if a is not None and b is not None]
    return {
        "left_out": asdict(Proportion.of(each.looks - fewer.looks, each.looks)),
        "seen_with_each_look": each.seen,
        "seen": fewer.seen,
        "later_s": {"median": statistics.median(later), "most": max(later)} if later else None,
        "cpu_ms_a_due_look": {
            "with_each_look": round(each.cpu_ms / each.looks, 2),
            "left_out": round(fewer.cpu_ms / each.looks, 2),
        },
    }


def street(number: int, sway_px: float) -> tuple[str, list[Frame]]:
    """(what comes, the pictures of a camera that stands there)"""
    rng = np.random.default_rng([number, 0x57A])
    name, kind = tuple(OBJECTS)[number % len(OBJECTS)], KINDS[number // len(OBJECTS) % len(KINDS)]
    leg = Leg(0.0, SECONDS, "street", wide(rng), light("day", rng), (mover(name, kind, rng),))
    walk = Walk("standing", number, SECONDS, (leg,), Weather(noise=2.5))
    start, sway, frames = scene_at(walk, 0.0).pose, sway_px * RADIANS_PER_PX, list[Frame]()
    for look in range(round(SECONDS * LOOKS_PER_S[0])):
        t_s = look / LOOKS_PER_S[0]
        breath = 2 * math.pi * BREATHS_HZ * t_s
        pose = replace(start, yaw=start.yaw + sway * math.sin(breath / 2), pitch=start.pitch + sway * math.sin(breath))
        shot = render(replace(scene_at(walk, t_s), pose=pose), width_px=SIZE_PX[0], height_px=SIZE_PX[1])
        frames.append(Frame(t_s, shot.image, None, False))
    return name, frames


def tables(found: dict[str, Any]) -> list[Table]:
    """For the terminal."""
    title = f"walking: grey levels of the cell that changed most; below {found['alike_below']:g} a look is left out"
    walking = Table("", "looks", "left out", "least change", "median", title=title)
    for name, by_pace in found["walking"].items():
        for pace, of in by_pace.items():
            out = of["left_out"]
            row = (f"{out['hits']} of {out['count']}", str(of["change_least"]), str(of["change_median"]))
            walking.add_row(name, pace, *row)
    standing = Table("sway, px of 640", "left out", "seen", "with each look", "later (s)", "cpu ms a look", "before")
    for sway, of in found["standing"].items():
        cpu, later = of["cpu_ms_a_due_look"], of["later_s"]
        late = "–" if later is None else f"{later['median']:.2f}, at most {later['most']:.2f}"
        seen = (f"{of[key]['hits']} of {of[key]['count']}" for key in ("seen", "seen_with_each_look"))
        cost = (str(cpu["left_out"]), str(cpu["with_each_look"]))
        standing.add_row(sway, f"{of['left_out']['share']:.0%}", *seen, late, *cost)
    return [walking, standing]


if __name__ == "__main__":
    main()
