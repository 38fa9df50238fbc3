"""The truth of a walk, chunk by chunk: what should be said in the middle of each, and which hazards come up when.

An event is one thing coming within reach. It is visible from `t_visible_s`; to be of use, the warning has to be out
by `t_deadline_s`, when the walker is DEADLINE_M from it. Times are on the grid of EVENT_STEP_S; the swing between two
legs, when the camera looks elsewhere, starts no event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from server.walks import truth
from server.walks.paint import outlined
from server.walks.truth import Seen
from server.walks.walk import Walk, scene_at, seen_at, turning
from shared import vocabulary
from shared.chunk_format import CHUNK_S

DEADLINE_M = 1.2
EVENT_STEP_S = 0.2
_WIDTH_PX, _HEIGHT_PX = 160, 120


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that comes within reach."""

    object: str
    side: str
    tier: int
    t_visible_s: float
    t_deadline_s: float
    """From when on a warning is too late: the thing is in reach of the cane (or, unknown, out of the picture)."""

    @property
    def thing(self) -> tuple[str, str]:
        return self.object, self.side


@dataclass(frozen=True, slots=True)
class ChunkTruth:
    """What a chunk should make the device say. `events` are those that become visible in it."""

    index: int
    start_s: float
    end_s: float
    instruction: str
    """At the middle of the chunk; vocabulary.CLEAR where nothing is to be said."""
    seen: tuple[Seen, ...]
    events: tuple[Event, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        return asdict(self)


def chunk_truths(
    walk: Walk, *, chunk_s: float = CHUNK_S, progress: Callable[[float], None] | None = None
) -> tuple[ChunkTruth, ...]:
    """One truth per whole chunk, and one for the rest where it is at least half a second long."""
    events = hazard_events(walk, progress=progress)
    truths = []
    index, start = 0, 0.0
    while walk.duration_s - start >= min(0.5, chunk_s):
        end = min(start + chunk_s, walk.duration_s)
        seen = seen_at(walk, (start + end) / 2, _WIDTH_PX, _HEIGHT_PX)
        inside = tuple(e for e in events if start <= e.t_visible_s < end)
        truths.append(ChunkTruth(index, start, end, truth.instruction(seen), seen, inside))
        index, start = index + 1, round((index + 1) * chunk_s, 6)
    return tuple(truths)


def hazard_events(walk: Walk, *, progress: Callable[[float], None] | None = None) -> tuple[Event, ...]:
    """Every thing that comes within reach, in the order it does."""
    events: list[Event] = []
    for leg in walk.legs:
        first: dict[int, tuple[float, str]] = {}
        near: dict[int, float] = {}
        last: dict[int, float] = {}
        step = round(leg.start_s / EVENT_STEP_S)
        while (t := round(step * EVENT_STEP_S, 6)) < min(leg.end_s, walk.duration_s):
            step += 1
            if turning(leg, t):
                continue
            for i, side, distance in _in_reach(walk, t):
                first.setdefault(i, (t, side))
                last[i] = t
                if distance <= DEADLINE_M:
                    near.setdefault(i, t)
            if progress is not None:
                progress(t / walk.duration_s)
        for i, (t, side) in first.items():
            name = leg.things[i].object
            tier = vocabulary.tier(vocabulary.Slots("", name, side))
            events.append(Event(name, side, tier, t, max(t, near.get(i, last[i]))))
    return tuple(sorted(events, key=lambda e: (e.t_visible_s, e.tier, e.object)))


def _in_reach(walk: Walk, t_s: float) -> list[tuple[int, str, float]]:
    """(index of the thing in its leg, side, metres) of all that is seen within reach."""
    scene = scene_at(walk, t_s)
    ids, drawn_px = outlined(scene, width_px=_WIDTH_PX, height_px=_HEIGHT_PX)
    return [(i, seen.side, seen.distance_m) for i, seen in truth.judged(scene.things, scene.pose, ids, drawn_px)]
