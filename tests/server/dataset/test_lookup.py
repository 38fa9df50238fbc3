"""Records are found by the chunk that they are, or were said about."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.dialects import sqlite

from server.database import store as db
from server.dataset import lookup
from tests.server.dataset.moments import House, moment, sound, spoken


@pytest.mark.both_databases
def test_the_records_of_a_chunk_are_itself_and_what_was_said_about_it(house: House) -> None:
    sent = [moment(n) for n in range(3)]
    ids = [one.record.chunk_id for one in sent]
    said = spoken(ids[1], sound(9))
    house.send_all([*sent, said])
    with house.store.reading() as connection:
        assert found(connection, [ids[1]]) == {ids[1], said.record.correction_id}
        assert found(connection, [ids[0], "none"]) == {ids[0]}
        assert found(connection, [said.record.correction_id]) == found(connection, []) == set()


def found(connection: Connection, ids: list[str]) -> set[str]:
    query = select(db.records.c.record_id).where(lookup.of_chunks(ids))
    return set(connection.execute(query).scalars())


def test_both_are_looked_for_in_an_index(house: House) -> None:
    query = select(db.records.c.record_id).where(lookup.of_chunks(["a", "b"]))
    literal = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with house.store.reading() as connection:
        steps = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {literal}")]
    assert any("ix_records_about (chunk_id=?)" in step for step in steps), steps
    assert any("ix_records_record_id (record_id=?)" in step for step in steps), steps
    assert not [step for step in steps if "SCAN" in step], steps
