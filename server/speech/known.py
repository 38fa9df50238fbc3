"""What is known of a correction beside its sound: its picture, what the device said there, what was corrected before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset import sample_row
from server.dataset.folder import Dataset
from server.dataset.merge import UnheardCorrection
from server.dataset.sample_row import SampleRow
from server.speech.choosing import NOTHING_KNOWN, Circumstances, thing_of
from server.speech.requests import Seen, SightQuestion

MOST_TAUGHT = 200
"""The newest decisions: what was corrected a year ago says little about today's walk."""


@dataclass(frozen=True, slots=True)
class Known:
    """Of one correction."""

    about: Circumstances = NOTHING_KNOWN
    sight: SightQuestion | None = None
    """Its picture, and the model to look with; None where there is none yet."""


class Knowing:
    """Finds it in a server's home.

    champion: folder of the model that guides, None = there is none
    """

    def __init__(self, store: Store, dataset: Dataset, champion: Callable[[], Path | None]) -> None:
        self._store, self._dataset, self._champion = store, dataset, champion

    def __call__(self, waiting: UnheardCorrection) -> Known:
        record = waiting.record
        about = Circumstances(said=record.spoken, taught=taught(self._decided(), record.wearer))
        row = self._row(record.chunk_id)
        if row is None or row.device != waiting.device:
            return Known(about)
        bundle = self._champion()
        frame = self._dataset.folder / row.frame_path
        sight = SightQuestion(str(frame), str(bundle)) if bundle is not None and row.frame_path else None
        return Known(replace(about, seen=with_teacher(about.seen, row)), sight)

    def _row(self, sample_id: str) -> SampleRow | None:
        with self._store.reading() as connection:
            body = connection.execute(select(db.samples.c.body).where(db.samples.c.sample_id == sample_id)).scalar()
        return None if body is None else sample_row.from_dict(body)

    def _decided(self) -> list[SampleRow]:
        table = db.samples
        newest = select(table.c.body).where(table.c.state == "reviewed").order_by(table.c.changed_at.desc())
        with self._store.reading() as connection:
            bodies = connection.execute(newest.limit(MOST_TAUGHT)).scalars().all()
        return [sample_row.from_dict(body) for body in bodies]


def taught(decided: Iterable[SampleRow], wearer: str) -> dict[str, int]:
    """Thing → how often people confirmed it as what a wearer's correction meant. Pure."""
    own = [row for row in decided if row.correction_id and row.ground_truth and row.speaker_id == wearer]
    return dict(Counter(thing_of(row.ground_truth) for row in own))


def with_teacher(seen: Seen, row: SampleRow) -> Seen:
    """With what a teacher on the server would have warned of. Pure."""
    thing = thing_of(row.teacher_wording)
    if not thing:
        return seen
    score = max(row.teacher_score, seen.scores.get(thing, 0.0))
    return Seen(tuple(dict.fromkeys((*seen.objects, thing))), {**seen.scores, thing: score})


def together(seen: Seen, other: Seen) -> Seen:
    """What either of two sees, as sure as the surer one. Pure."""
    things = {*seen.scores, *other.scores}
    scores = {thing: max(seen.scores.get(thing, 0.0), other.scores.get(thing, 0.0)) for thing in things}
    return Seen(tuple(dict.fromkeys((*seen.objects, *other.objects))), scores)
