"""What is followed from look to look, and what follows from it for the walker. Pure.

    follow(sight, thumb, boxes, view, at_s)    → sight        tracks, and how far the camera turned
    followed(sight)                            → (Followed, …) each thing: where, how sure, how it moves, how often seen

A thing that comes is judged by its time to contact where it is not yet within its class's reach: a car is 3 s away long
before it is 8 m away. One that leaves, beside the path, is none. What flickers out for one look stays where it should
be by now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from shared.sight import motion, turning
from shared.sight.boxes import Box
from shared.sight.camera import Camera
from shared.sight.hazards import BoxScoring, certainty, standing
from shared.sight.mount import Mount, follow_pitch, mounted
from shared.sight.tracks import Track, Tracks, expected, step

CONTACT_S = 3.0
"""To hear a warning takes 1.5 s, to stop another one: what is this far away in time is on the edge of its reach."""
SPARSE_S = 0.55
"""Looks farther apart than this cannot be followed: at 1.1 m/s with a bicycle coming, nothing overlaps any more."""
_USED_LEAST = 0.05


@dataclass(frozen=True, slots=True)
class View:
    """How one picture was looked at."""

    camera: Camera
    scoring: BoxScoring
    aspect: float
    """Width / height of the picture."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One thing of the newest look."""

    object: str
    side: str
    """ahead, on the left or on the right"""
    score: float
    """How sure it is that it is within reach, 0..1."""
    state: str
    """One of the states of shared.sight.motion, or ""."""
    looks: tuple[bool, ...] | None
    """Whether it was seen in each of the last looks; None where they are too far apart to follow anything."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """All that is remembered of what was seen. Start with Sight()."""

    tracks: Tracks = field(default_factory=Tracks)
    at_s: float = -math.inf
    """When the newest picture was taken."""
    apart_s: float = math.inf
    """How long after the one before."""
    view: View | None = None
    """Of the newest picture, with the camera as it hangs."""
    thumb: turning.Thumb | None = None
    turned_rad: float = 0.0
    """To the right since `steady_since_s`, and before on another scale."""
    nodded_rad: float = 0.0
    """Down, likewise."""
    steady_since_s: float = -math.inf
    mount: Mount = field(default_factory=Mount)


def follow(sight: Sight, thumb: turning.Thumb, boxes: tuple[Box, ...], view: View, at_s: float) -> Sight:
    """One look more; the same picture again changes nothing.

    thumb: of the picture, as shared.sight.turning makes it; at_s: when it was taken
    """
    apart_s = at_s - sight.at_s
    if apart_s <= 0.0:
        return sight
    turn = (
        None
        if sight.thumb is None or apart_s > SPARSE_S
        else turning.turned(sight.thumb, thumb, view.camera, aspect=view.aspect)
    )
    steady_s = at_s if turn is None else sight.steady_since_s
    right, down = turn or (0.0, 0.0)
    turned_rad, nodded_rad = sight.turned_rad + right, sight.nodded_rad + down
    tracks = step(sight.tracks, boxes, at_s, turned_rad=turned_rad, nodded_rad=nodded_rad)
    people = ((track.number, track.last.box) for track in tracks.tracks if track.looks[-1])
    mount = follow_pitch(sight.mount, people, view.camera, at_s, aspect=view.aspect)
    view = replace(view, camera=mounted(view.camera, mount))
    return Sight(tracks, at_s, apart_s, view, thumb, turned_rad, nodded_rad, steady_s, mount)


def followed(sight: Sight) -> tuple[Followed, ...]:
    """What the newest look shows, and what was missing in it alone."""
    if sight.view is None:
        return ()
    here = [track for track in sight.tracks.tracks if track.held or track.looks[-1]]
    found = (_followed(track, sight, sight.view) for track in here)
    return tuple(thing for thing in found if thing is not None)


def _followed(track: Track, sight: Sight, view: View) -> Followed | None:
    box = track.last.box if track.looks[-1] else _inside(expected(track, sight.at_s))
    at = standing(box, view.camera, aspect=view.aspect, corridor_m=view.scoring.corridor_m)
    if at is None:
        return None
    moving = motion.motion_of(track, view.camera, aspect=view.aspect, steady_since_s=sight.steady_since_s)
    state = "" if moving is None else motion.state_of(track.object, moving)
    if moving is not None and state == motion.LEAVING and at.side == _side(moving.lateral_m):
        return None
    used = at.used if moving is None else min(at.used, _in_time(state, moving))
    looks = None if sight.apart_s > SPARSE_S and sight.apart_s < math.inf else track.looks
    return Followed(track.object, at.side, certainty(box.score, used, view.scoring), state, looks)


def _side(lateral_m: float) -> str:
    return "on the right" if lateral_m > 0.0 else "on the left"


def _in_time(state: str, moving: motion.Motion) -> float:
    """Time until it is here as a share of CONTACT_S; inf for what does not come."""
    if state == motion.CROSSING:
        return max(moving.in_path_s / CONTACT_S, _USED_LEAST)
    return max(moving.contact_s / CONTACT_S, _USED_LEAST) if state in motion.COMES else math.inf


def _inside(box: Box) -> Box:
    """What of an expected box is in the picture."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in (box.left, box.top, box.right, box.bottom))
    return replace(box, left=left, top=top, right=right, bottom=bottom)
