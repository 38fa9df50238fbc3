"""Bodies in the database: small, whole, and never read wrongly."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, type_coerce

from benchmarks import _large_home
from server.database import bodies
from server.database import store as db
from server.database.bodies import BodyText, pack, to_text, unpack
from shared.errors import DatasetError
from tests.server.dataset.moments import House, moment

MOMENTS = 600
MOST_BYTES = 4_000
"""Of database for a moment, with its decisions and indexes: 3,790 with these, and 8,170 before."""
SIZE = """
SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name IN
    ('records', 'parts', 'dataset_rows', 'samples', 'reviews', 'review_acts', 'sought',
     'search_terms', 'search_postings'))
"""
DICTIONARIES = {"dictionary-1.txt": "ba92eb2b1e7b4b890ff48bf630310b51e47515c0ea37510aec59ac2f69f51320"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_body_comes_back_as_it_was(value: Any) -> None:
    assert json.loads(unpack(pack(to_text(value)))) == value


def test_half_a_character_is_kept() -> None:
    assert json.loads(unpack(pack(to_text({"spoken": "\ud800"})))) == {"spoken": "\ud800"}


def test_plain_json_of_an_older_database_is_read() -> None:
    assert unpack('{"spoken": ""}') == '{"spoken": ""}'


SAID = to_text({"spoken": "Caution, cone on the left.", "walk_id": "walk-7", "more": "x" * 40})


@given(st.integers(0, len(pack(SAID)) - 1), st.integers(1, 255))
def test_one_wrong_byte_is_told_and_never_read_as_something_else(at: int, bits: int) -> None:
    stored = bytearray(pack(SAID))
    stored[at] ^= bits
    try:
        read = unpack(bytes(stored))
    except DatasetError:
        return
    assert read == SAID, "equal words may stand at two places of the dictionary"


def test_most_wrong_bytes_are_told() -> None:
    stored, told = pack(SAID), 0
    for at in range(len(stored)):
        try:
            unpack(stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])
        except DatasetError:
            told += 1
    assert told > 0.9 * len(stored)


@pytest.mark.parametrize("stored", [b"", b"\x00", pack("{}")[:-1], b'{"spoken": ""}'])
def test_what_is_no_body_is_told(stored: bytes) -> None:
    with pytest.raises(DatasetError, match="body"):
        unpack(stored)


def test_a_dictionary_never_changes_or_what_is_stored_cannot_be_read() -> None:
    folder = Path(bodies.__file__).parent
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("dictionary-*")}
    assert found == DICTIONARIES


def test_sql_that_would_look_into_a_body_is_refused_before_it_runs() -> None:
    with pytest.raises(NotImplementedError, match="a column of its own"):
        db.samples.c.body["speaker_id"]


def test_what_is_selected_by_is_a_column_with_what_the_body_says(house: House) -> None:
    house.send_all(
        [
            moment(0, wearer="Ada", context="the market", walk_id="walk-1"),
            moment(1, wearer="", context="the park", walk_id="walk-2"),
        ]
    )
    r, s = db.records.c, db.samples.c
    with house.store.reading() as connection:
        records = connection.execute(select(r.walk_id, r.wearer, r.context).order_by(r.record_id)).all()
        owners = dict(connection.execute(select(s.sample_id, s.wearer)).all())
        body = connection.execute(select(type_coerce(s.body, BodyText)).where(s.wearer == "Ada")).scalar_one()
    assert records == [("walk-1", "Ada", "the market"), ("walk-2", "", "the park")]
    assert owners == {moment(0).record.chunk_id: "Ada", moment(1).record.chunk_id: "pi-1"}
    assert json.loads(body)["speaker_id"] == "Ada"


def test_a_moment_takes_less_than_4_kb_of_database(tmp_path: Path) -> None:
    _large_home.build(tmp_path, MOMENTS, own_files=True)
    with closing(sqlite3.connect(tmp_path / db.DATABASE_NAME)) as connection:
        (size,) = connection.execute(SIZE).fetchone()
        assert connection.execute("SELECT count(*) FROM sought").fetchone() == (MOMENTS,)
    assert size / MOMENTS < MOST_BYTES
