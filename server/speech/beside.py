"""What is known of a correction beside its sound, and how that is put together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from server.dataset.sample_row import SampleRow
from server.speech.choosing import NOTHING_KNOWN, Circumstances, thing_of
from server.speech.requests import SeenThings, SightQuestion


@dataclass(frozen=True, slots=True)
class Known:
    """Of one correction."""

    about: Circumstances = NOTHING_KNOWN
    sight: SightQuestion | None = None
    """Its picture, and the model to look with; None where there is none yet."""


def taught(decided: Iterable[SampleRow], wearer: str) -> dict[str, int]:
    """Thing → how often people confirmed it as what a wearer's correction meant. Pure."""
    own = [row for row in decided if row.correction_id and row.ground_truth and row.speaker_id == wearer]
    return dict(Counter(thing_of(row.ground_truth) for row in own))


def with_teacher(seen: SeenThings, row: SampleRow) -> SeenThings:
    """With what a teacher on the server would have warned of. Pure."""
    thing = thing_of(row.teacher_wording)
    if not thing:
        return seen
    score = max(row.teacher_score, seen.scores.get(thing, 0.0))
    return SeenThings(tuple(dict.fromkeys((*seen.objects, thing))), {**seen.scores, thing: score})


def together(seen: SeenThings, other: SeenThings) -> SeenThings:
    """What either of two sees, as sure as the surer one. Pure."""
    things = {*seen.scores, *other.scores}
    scores = {thing: max(seen.scores.get(thing, 0.0), other.scores.get(thing, 0.0)) for thing in things}
    return SeenThings(tuple(dict.fromkeys((*seen.objects, *other.objects))), scores)
