"""Rendered first-person walks: pictures and videos made of code only, with exact truth for every frame.

    random_frame(rng)        one picture to train on, with its mask, what is seen and the instruction it should give
    walk_from_name("works")  a whole walk along a named route; plan_walk(seed, ...) makes any other
    render_frame(walk, t)    its picture then; chunk_truths(walk) its labels; write_video(walk, path) a file

`truth` says what is named and why; `scene` is the data; the rest draws.
`python -m server.walks --help` does it by hand.
"""

from server.walks.chunks import ChunkTruth, Event, chunk_truths
from server.walks.frames import random_frame
from server.walks.ground import cells as ground_cells
from server.walks.route import ROUTES, plan_walk, walk_along, walk_from_name
from server.walks.sound import SpokenLine, soundtrack
from server.walks.truth import DRAWN, HELD_BACK, KNOWN, Rendered, Seen
from server.walks.video import write_video
from server.walks.walk import Walk, render_frame

__all__ = [
    "DRAWN", "HELD_BACK", "KNOWN", "ROUTES", "ChunkTruth", "Event", "Rendered", "Seen", "SpokenLine",
    "Walk", "chunk_truths", "ground_cells", "plan_walk", "random_frame", "render_frame", "soundtrack", "walk_along",
    "walk_from_name", "write_video",
]  # fmt: skip
