"""What a start does first: the database and the dataset folder are brought to say the same, each from the other.

A crash leaves at most a few lines apart; a lost database or an older file may be all of them. Idempotent, and safe
beside other processes on the same home.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from server.database.store import Store
from server.dataset import record_log, row_log
from server.dataset.folder import RECORDS_NAME, Dataset
from server.dataset.merge import Merge
from shared.clock import Clock

RECOMPOSED_AT_ONCE = 500  # SQLite takes a bounded number of values in one statement
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much was apart."""

    rows_appended: int = 0
    """Rows that only the database had, now in metadata.jsonl."""
    rows_taken_in: int = 0
    """Rows that only metadata.jsonl had."""
    facts_appended: int = 0
    """Records and parts that only the database had, now in records.jsonl."""
    facts_taken_in: int = 0
    """Records and parts that only records.jsonl had."""


def recover(store: Store, dataset: Dataset, merge: Merge, clock: Clock, *, thoroughly: bool = False) -> Recovered:
    """Bring both sides together. thoroughly: also where the remembered length says that nothing is apart.

    raises: DatasetError where a log holds a line that cannot be read, OSError
    """
    appended, taken_in = row_log.reconcile(store, dataset, now_s=clock.utc_s())
    facts_appended, facts_taken_in, about = _facts(store, dataset, thoroughly=thoroughly)
    keys = sorted(about)
    for start in range(0, len(keys), RECOMPOSED_AT_ONCE):
        merge.recompose(keys[start : start + RECOMPOSED_AT_ONCE])
    recovered = Recovered(appended, taken_in, facts_appended, facts_taken_in)
    if recovered != Recovered():
        logger.info("Put right after an interruption: %s", recovered)
    return recovered


def _facts(store: Store, dataset: Dataset, *, thoroughly: bool) -> tuple[int, int, set[tuple[str, str]]]:
    with dataset.appending(), store.writing() as connection:
        size = dataset.records.stat().st_size if dataset.records.exists() else 0
        known_size = row_log.remembered_size(connection, RECORDS_NAME)
        if size == known_size != 0 and not thoroughly:
            return 0, 0, set()
        behind = size < known_size or size == 0 or thoroughly  # the file may lack what the database has
        lines = list(record_log.read(dataset.records, from_byte=0 if behind else known_size))
        taken_in, about = record_log.take_in(connection, lines)
        missing = _lacking(lines, list(record_log.facts(connection))) if behind else []
        if missing:
            size = dataset.append_records(missing)
        row_log.remember_size(connection, RECORDS_NAME, size)
    return len(missing), taken_in, about


def _lacking(lines: list[dict[str, object]], facts: list[dict[str, object]]) -> list[dict[str, object]]:
    newest = (line for line in record_log.newest(lines) if line["what"] not in record_log.NO_FACTS)
    there = {record_log.key_of(line): line for line in newest}
    return [fact for fact in facts if not record_log.same(fact, there.get(record_log.key_of(fact)))]
