"""How often a draft is right, walk by walk: what the runtime benchmark's fastest row takes for granted.

The starter looks at a walk LOOKS_PER_S times a second and words every look, or one in eight: the middle of each chunk
of 2 s, as a device does that has nothing to warn of. Both are answered under the grammar, with the runtime's own
drafts. A hit is an answer that took one pass of the decoder. No picture is answered twice.

    drawn    ROUTES of server.walks
    real     the recordings in ../shared/data: a walk towards a crosswalk, and drives of a car, whose pictures are up to
             a second apart. The starter has only ever seen drawings: what it says there is noise, which is the hardest
             to draft. Where they are absent they are skipped, with the reason
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._runtime_sides import Picture
from server.evaluation import annotated
from server.evaluation.drive import looks
from server.evaluation.facts import Course
from server.evaluation.measures import Proportion
from server.walks import render_frame, walk_from_name
from shared.chunk_format import CHUNK_S
from shared.runtime import GuidanceModel

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL = ("walks/crosswalk_02.mp4", "streets/sequence", "streets/train")
ROUTES = ("market", "works", "town", "night")
DRAWN_S, SIZE_PX = 15.0, (320, 240)
LOOKS_PER_S = 4.0
EVERY_LOOK = "every look"
STRIDES = {EVERY_LOOK: 1, "one look in eight": round(CHUNK_S * LOOKS_PER_S)}


def rates(model: GuidanceModel) -> dict[str, Any]:
    """The hit rate of each kind of walk, and the walks it was measured on; of what is absent, why."""
    drawn = {f"drawn/{route}": _drawn(route) for route in ROUTES}
    found: dict[str, Any] = {"drawn": _over(model, drawn)}
    if missing := [name for name in REAL if not (DATA / name).exists()]:
        return found | {"real": {"missing": f"not in ../shared/data: {', '.join(missing)}"}}
    courses = [course for name in REAL for course in annotated.courses(DATA / name, looks_per_s=LOOKS_PER_S)]
    return found | {"real": _over(model, {course.name: _recorded(course) for course in courses})}


def _drawn(route: str) -> Iterator[Picture]:
    walk = walk_from_name(route, duration_s=DRAWN_S)
    for number in range(round(DRAWN_S * LOOKS_PER_S)):
        yield render_frame(walk, number / LOOKS_PER_S, *SIZE_PX).image


def _recorded(course: Course) -> Iterator[Picture]:
    """What a device would look at, each picture once."""
    last = -1
    for _, number, frame, steers in looks(course, LOOKS_PER_S):
        if steers and number != last:
            last = number
            yield frame.image


def _over(model: GuidanceModel, walks: Mapping[str, Iterable[Picture]]) -> dict[str, Any]:
    passes: dict[str, list[int]] = {name: [] for name in STRIDES}
    tokens: list[int] = []
    for pictures in walks.values():
        seen = [model.look(picture) for picture in pictures]
        for name, stride in STRIDES.items():
            model.language.forget()
            said = [model.word(observation) for observation in seen[stride // 2 :: stride]]
            passes[name] += [each.passes for each in said]
            tokens += [1 + len(each.token_ids) for each in said]
    rates_ = {
        name: {
            "one_pass": asdict(Proportion.of(sum(count == 1 for count in of), len(of))),
            "passes": round(float(np.mean(of)), 3),
        }
        for name, of in passes.items()
    }
    return {"walks": list(walks), **rates_, "tokens": round(float(np.mean(tokens)), 2)}
