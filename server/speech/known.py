"""What a home knows of a correction beside its sound: its picture, what was said there, what was corrected before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset import sample_row
from server.dataset.folder import Dataset
from server.dataset.merge import UnheardCorrection
from server.dataset.sample_row import SampleRow
from server.speech.beside import Known, taught, with_teacher
from server.speech.choosing import Circumstances
from server.speech.requests import SightQuestion

MOST_TAUGHT = 200
"""The newest decisions: what was corrected a year ago says little about today's walk."""


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
        sight = None
        if bundle is not None and row.frame_path:
            sight = SightQuestion(str(self._dataset.blobs.local(row.frame_path)), str(bundle))
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
