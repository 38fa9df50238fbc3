"""The same thing over several looks: boxes joined to tracks. Pure.

    step(tracks, boxes, now_s) -> tracks

Boxes of one object are joined by where a track should be by now (its last steps go on as they were), the surest boxes
first and the doubtful ones to what is left, so that a doubtful box never takes a track away from a sure one. At four
looks a second a near car moves by more than its own width between two of them: overlap is measured with both boxes
grown by GROW, and the best overlap wins.

What was seen in both looks before and is missing in this one is `held`: a box that flickers is still a thing. What has
been missing for LOST_S is forgotten; there is no second identity by looks alone.

source: ByteTrack, arXiv 2110.06864 (sure boxes first); C-BIoU, arXiv 2211.14317 (overlap of grown boxes)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.sight.boxes import Box

SURE = 0.35
"""Score from which a box may choose its track first."""
GROW = 0.35
"""Of its width and height, by which a box is grown to each side before two are compared."""
MATCH_LEAST = 0.12
"""Overlap of grown boxes, as a share of both together, below which they are two things."""
KEPT_S = 1.6
"""How long a sighting counts for motion: what turns or brakes is another motion after that."""
LOST_S = 0.8
"""Three looks at four a second. A box there after that is another thing."""
LOOKS = 8
"""How many looks back is remembered whether a thing was seen: a wearer may set up to so many."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A box of a track."""

    at_s: float
    box: Box
    turned_rad: float = 0.0
    """How far the camera had turned to the right by then, on any scale that is the same for all sightings."""
    nodded_rad: float = 0.0
    """How far down, likewise."""


@dataclass(frozen=True, slots=True)
class Track:
    """One thing, seen at least once."""

    number: int
    object: str
    sightings: tuple[Sighting, ...]
    """Of the last KEPT_S, the newest last; never empty."""
    looks: tuple[bool, ...] = (True,)
    """Whether it was seen in the last LOOKS looks, the newest last."""

    @property
    def last(self) -> Sighting:
        return self.sightings[-1]

    @property
    def times(self) -> int:
        """In how many of the last looks it was seen."""
        return sum(self.looks)

    @property
    def held(self) -> bool:
        """Missing in this look only, and seen in the two before."""
        return self.looks[-3:] == (True, True, False)


@dataclass(frozen=True, slots=True)
class Tracks:
    """All things that are followed."""

    tracks: tuple[Track, ...] = ()
    next_number: int = 1


def step(
    state: Tracks, boxes: Sequence[Box], now_s: float, *, turned_rad: float = 0.0, nodded_rad: float = 0.0
) -> Tracks:
    """One look more.

    now_s: when its picture was taken, later than the one before; turned_rad, nodded_rad: as in Sighting
    """
    tracks = [track for track in state.tracks if now_s - track.last.at_s <= LOST_S]
    where = [expected(track, now_s) for track in tracks]
    taken: dict[int, Box] = {}
    free = list(boxes)
    for sure in (True, False):
        asking = [box for box in free if (box.score >= SURE) is sure]
        left = [at for at in range(len(tracks)) if at not in taken]
        found = _pairs(where, left, asking)
        taken |= found
        used = {id(box) for box in found.values()}
        free = [box for box in free if id(box) not in used]
    sightings = {at: Sighting(now_s, box, turned_rad, nodded_rad) for at, box in taken.items()}
    seen = [_seen(track, sightings.get(at), now_s) for at, track in enumerate(tracks)]
    new = [
        Track(state.next_number + at, box.object, (Sighting(now_s, box, turned_rad, nodded_rad),))
        for at, box in enumerate(free)
    ]
    return Tracks((*seen, *new), state.next_number + len(new))


def expected(track: Track, now_s: float) -> Box:
    """Where a thing should be by now: its edges go on as in its last steps."""
    last = track.last
    earlier = [seen for seen in track.sightings[-3:-1] if last.at_s > seen.at_s]
    if not earlier:
        return last.box
    first = earlier[0]
    share = (now_s - last.at_s) / (last.at_s - first.at_s)
    old, new = first.box, last.box
    left, top, right, bottom = (
        getattr(new, edge) + share * (getattr(new, edge) - getattr(old, edge))
        for edge in ("left", "top", "right", "bottom")
    )
    if right <= left or bottom <= top:  # what shrinks is not turned over
        return new
    return replace(new, left=left, top=top, right=right, bottom=bottom)


def overlap(one: Box, other: Box, *, grow: float = GROW) -> float:
    """Common area of two boxes, each grown by a share of its size to each side, over the area of both together."""
    wide, high = _common(one, other, grow, "left", "right"), _common(one, other, grow, "top", "bottom")
    if wide <= 0.0 or high <= 0.0:
        return 0.0
    grown = (1.0 + 2.0 * grow) ** 2
    both = wide * high
    return both / ((_area(one) + _area(other)) * grown - both)


def _common(one: Box, other: Box, grow: float, low: str, high: str) -> float:
    ends = [(getattr(box, low), getattr(box, high)) for box in (one, other)]
    grown = [(a - grow * (b - a), b + grow * (b - a)) for a, b in ends]
    return float(min(b for _, b in grown) - max(a for a, _ in grown))


def _area(box: Box) -> float:
    """Of a box that may reach over the picture's edges, as an expected one does."""
    return (box.right - box.left) * (box.bottom - box.top)


def _pairs(where: Sequence[Box], left: Sequence[int], asking: Sequence[Box]) -> dict[int, Box]:
    """Index of a track → its box, the best overlap first."""
    likely = [
        (share, at, row)
        for at in left
        for row, box in enumerate(asking)
        if box.object == where[at].object and (share := overlap(where[at], box)) >= MATCH_LEAST
    ]
    found: dict[int, Box] = {}
    rows: set[int] = set()
    for _, at, row in sorted(likely, key=lambda item: (-item[0], item[1], item[2])):
        if at not in found and row not in rows:
            found[at] = asking[row]
            rows.add(row)
    return found


def _seen(track: Track, sighting: Sighting | None, now_s: float) -> Track:
    looks = (*track.looks, sighting is not None)[-LOOKS:]
    if sighting is None:
        return replace(track, looks=looks)
    kept = tuple(seen for seen in track.sightings if now_s - seen.at_s <= KEPT_S)
    return replace(track, sightings=(*kept, sighting), looks=looks)
