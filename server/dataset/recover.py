"""What a start does first: the database and the dataset folder are brought to say the same, each from the other.

A crash leaves at most a few lines apart, and the remembered lengths of the logs tell which: a start reads these and
nothing else, and holds nobody up. Where a log is shorter than remembered, or the database is new, all is read. Whether
the parts that are not read are as they were is for `check`. Idempotent, and safe beside other processes on one home.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from sqlalchemy import Connection

from server.database.store import Store
from server.dataset import line_log, record_log, row_log
from server.dataset.folder import RECORDS_NAME, Dataset
from server.dataset.line_index import LineIndex
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
    appended, taken_in = row_log.reconcile(store, dataset, now_s=clock.utc_s(), thoroughly=thoroughly)
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
        size = line_log.size(dataset.records)
        known_size = row_log.remembered_size(connection, RECORDS_NAME)
        if size == known_size != 0 and not thoroughly:
            return 0, 0, set()
        if size > known_size > 0 and not thoroughly:
            lines = record_log.newest(record_log.read(dataset.records, from_byte=known_size))
            appended, (taken_in, about) = 0, record_log.take_in(connection, lines)
        else:  # the file may lack what the database has
            appended, taken_in, about = _all_facts(connection, dataset)
        row_log.remember_size(connection, RECORDS_NAME, line_log.size(dataset.records))
    return appended, taken_in, about


def _all_facts(connection: Connection, dataset: Dataset) -> tuple[int, int, set[tuple[str, str]]]:
    """Both sides in full, line by line."""
    with record_log.index_of(dataset.records) as index:
        taken_in, about = record_log.take_in(connection, record_log.in_order(index))
        missing = (fact for fact in record_log.facts(connection) if not _has(index, fact))
        appended = 0
        for some in row_log.in_batches(missing, row_log.AT_ONCE):
            dataset.append_records(some)
            appended += len(some)
    return appended, taken_in, about


def _has(index: LineIndex, fact: record_log.Line) -> bool:
    line = index.take(record_log.name_of(fact))
    known = None if line is None else json.loads(line)
    return known is not None and known["what"] not in record_log.NO_FACTS and record_log.same(fact, known)
