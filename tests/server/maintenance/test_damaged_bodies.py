"""Bodies of the database with a wrong bit: named by a check, and made again from what else there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Table, func, select, type_coerce, update

from server.database import review_tables
from server.database import store as db
from server.maintenance.check import CheckReport, check
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.clock import ManualClock
from tests.server.dataset.moments import House, moment, sound, spoken


@pytest.fixture
def home(memory_path: Path) -> Path:
    house = House(memory_path / "home")
    sent = [moment(n) for n in range(3)]
    house.send_all([*sent, spoken(sent[0].record.chunk_id, sound(90), n=0)])
    house.merge.put_transcript("pi-1", "pi-1-b00t-c0000", transcript="bin left", confidence=0.9, proposal="")
    edit = ReviewDecision("edit", "Ben", "Caution, bin on the left.")
    decisions.review(house.store, house.dataset, sent[2].record.chunk_id, edit, now_s=5.0)
    house.close()
    return house.home


def look(home: Path, *, repair: bool = False) -> CheckReport:
    return check(home, ManualClock(), repair=repair)


def harm(home: Path, table: Table, name: str = "body") -> None:
    """One wrong bit in one row."""
    with closing(db.open_store(home)) as store, store.writing() as connection:
        column = table.c[name]
        key = next(iter(table.primary_key))
        first = connection.execute(select(func.max(key))).scalar_one()
        stored = connection.execute(select(type_coerce(column, LargeBinary)).where(key == first)).scalars().first()
        assert stored is not None
        wrong = stored[:40] + bytes([stored[40] ^ 4]) + stored[41:]
        connection.execute(update(table).where(key == first).values({column: type_coerce(wrong, LargeBinary)}))


def contents(home: Path) -> dict[str, Any]:
    with closing(db.open_store(home)) as store, store.reading() as connection:
        tables = (db.records, db.parts, db.dataset_rows, db.samples, review_tables.rollups)
        left_out = ("seq", "changed_at")
        return {
            table.name: sorted(
                str({name: value or None for name, value in row.items() if name not in left_out})
                for row in connection.execute(select(table)).mappings()
            )
            for table in tables
        }


@pytest.mark.parametrize("table", [db.dataset_rows, db.samples], ids=str)
def test_a_row_or_a_moment_is_made_again_from_the_dataset(home: Path, table: Table) -> None:
    before = contents(home)
    harm(home, table)
    [finding] = look(home).findings
    assert (finding.what, finding.name.split()[0], finding.done) == ("body damaged", table.name, "")
    assert look(home, repair=True).well
    assert contents(home) == before
    assert look(home).findings == ()


def test_a_record_is_made_again_with_what_was_heard(home: Path) -> None:
    before = contents(home)
    harm(home, db.records)
    assert not look(home).well
    assert look(home, repair=True).well
    assert contents(home) == before


@pytest.mark.parametrize("name", ["before", "after"])
def test_a_decision_stays_and_its_wordings_are_told_as_lost(home: Path, name: str) -> None:
    harm(home, review_tables.reviews, name)
    report = look(home, repair=True)
    assert [(finding.what, finding.lost) for finding in report.findings] == [("body damaged", True)]
    assert not report.well
    with closing(db.open_store(home)) as store:
        [past] = decisions.history(store, moment(2).record.chunk_id)
    assert (past.reviewer, past.action) == ("Ben", "edit")
    assert look(home).findings == ()
