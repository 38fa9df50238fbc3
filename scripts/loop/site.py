"""The server of the loop: its home, what is brought into it, what people decide there, by its own functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from scripts.loop import caregiver
from scripts.loop.worn import Taken
from server import config
from server.database import store as db
from server.database.store import Store
from server.dataset import row_log
from server.dataset.came import Came, FileCame, RecordCame
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.sample_row import SampleRow, Split
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import atomic
from shared.clock import Clock
from shared.errors import WaycueError


@contextmanager
def opened(home: Path) -> Iterator[tuple[Store, Dataset]]:
    with closing(db.open_store(home)) as store:
        yield store, Dataset(home / "dataset")


def make(home: Path) -> None:
    """Settings, database and dataset; safe to repeat. Raises: OSError."""
    config.init(home)
    with opened(home) as (_store, dataset):
        dataset.create()


def bring(home: Path, taken: Sequence[Taken], split: Split, clock: Clock) -> None:
    """Merge moments as they come from a device. Safe to repeat. Raises: OSError, WaycueError where one is refused."""
    with opened(home) as (store, dataset):
        with store.writing() as connection:
            for walk_id in dict.fromkeys(one.record.walk_id for one in taken):
                row_log.propose_split(connection, walk_id, split, now_s=clock.utc_s())
        entries = [entry for one in taken for entry in _entries(home / "incoming", one)]
        refused = [merged.reason for merged in Merge(store, dataset, clock).put(entries) if merged.state == "refused"]
    if refused:
        raise WaycueError(
            f"{len(refused)} of {len(entries)} parts were refused: {refused[0]}", hint="Begin anew: --fresh"
        )


def _entries(incoming: Path, one: Taken) -> Iterator[Came]:
    record = one.record
    yield RecordCame(record.device, "chunk", record)
    for part in record.parts:
        path = incoming / f"{record.chunk_id}.{part.kind}"
        atomic.write_bytes(path, one.files[part.kind])
        yield FileCame(record.device, record.chunk_id, part, path)


def confirm(home: Path, labels: Mapping[str, str], *, by: str, clock: Clock) -> None:
    """Decide about moments that wait. Safe to repeat. Raises: OSError."""
    with opened(home) as (store, dataset):
        for sample_id, text in labels.items():
            row = decisions.get(store, sample_id)
            assert row is not None
            decision = caregiver.decision(text, decisions.proposal(row), by=by)
            decisions.review(store, dataset, sample_id, decision, now_s=clock.utc_s())


def throw_away(home: Path, sample_ids: Iterable[str], clock: Clock) -> None:
    """None of these teaches any more. Safe to repeat."""
    with opened(home) as (store, dataset):
        rejected = ReviewDecision("reject", caregiver.NAME)
        decisions.review_all(store, dataset, list(sample_ids), rejected, now_s=clock.utc_s())


def rows(home: Path) -> list[SampleRow]:
    """Newest rows of all moments."""
    dataset = Dataset(home / "dataset")
    return dataset.rows()
