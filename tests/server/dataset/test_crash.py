"""The power may go at any moment: the dataset is repaired, complete, and says everything once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from server.database import review_tables as tables
from server.database import store as db
from server.dataset import row_log
from server.dataset.folder import Dataset
from server.dataset.recover import Recovered, recover
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.errors import DatasetError
from tests.server.dataset.moments import House, moment


def test_killed_at_every_durable_step_it_is_repaired_and_complete(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.dataset.crash_driver", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    labels = [one["label"] for one in tries]
    for call, function in (("replace", "FolderBlobs.adopt"), ("fsync", "Dataset.sync_log"), ("commit", "")):
        assert any(label.startswith(f"{call} in ") and label.endswith(function) for label in labels), call
    assert "half a row written" in labels
    assert len(tries) > 30
    assert [one for one in tries if one["faults"]] == []


def test_a_torn_last_line_is_left_out_by_readers_and_dropped_by_the_next_writer(house: House) -> None:
    house.send(moment(0))
    with open(house.dataset.log, "ab") as file:
        file.write(b'{"frame_path": "frames/')
    assert len(house.dataset.rows()) == 1
    house.send(moment(1))
    assert len(house.dataset.rows()) == 2
    assert b'frames/{"' not in house.dataset.log.read_bytes()


def test_a_database_that_was_lost_is_rebuilt_from_the_file(house: House, tmp_path: Path) -> None:
    house.send_all([moment(n, walk_id=f"walk-{n}") for n in range(12)])
    decisions.review(house.store, house.dataset, "pi-1-b00t-000003", ReviewDecision("nothing", "Eve"), now_s=1.0)
    rows, before = house.dataset.rows(), house.dataset.log.read_bytes()
    fresh = db.open_store(tmp_path / "fresh")
    appended, taken = row_log.reconcile(fresh, house.dataset, now_s=2.0)
    assert (appended, taken) == (0, 13)
    assert {row.sample_id: row for row in decisions.listing(fresh, state="all")} == {row.sample_id: row for row in rows}
    with fresh.reading() as connection:
        kept = {walk: split for walk, split, _ in connection.execute(db.walks.select())}
    assert kept == {row.walk_id: row.split for row in rows}
    assert house.dataset.log.read_bytes() == before
    fresh.close()


def test_a_file_put_back_from_a_backup_gets_its_missing_rows_again(house: House) -> None:
    house.send(moment(0))
    backup = house.dataset.log.read_bytes()
    house.send_all([moment(1), moment(2)])
    newest = house.dataset.rows()
    house.dataset.log.write_bytes(backup)
    assert row_log.reconcile(house.store, house.dataset, now_s=1.0) == (2, 0)
    assert house.dataset.rows() == newest


def test_an_older_row_that_is_taken_in_again_changes_nothing_of_what_the_newest_says(house: House) -> None:
    """Its priority stayed that of the older row."""
    house.send(moment(0, flags=("audit",)))
    (first,) = house.dataset.rows()
    later = replace(first, row_id=first.row_id.replace("#1", "#2"), flags=("correction",))
    with house.store.writing() as connection:
        row_log.insert_row(connection, later, now_s=house.clock.utc_s())
    row_log.flush(house.store, house.dataset, now_s=house.clock.utc_s())
    narrow = [column for column in tables.sought.c if column.name != "terms"]  # numbers of terms are given anew
    with house.store.reading() as connection:
        before = [connection.execute(query).all() for query in (select(db.samples), select(*narrow))]
    with house.store.writing() as connection:
        connection.execute(delete(db.dataset_rows).where(db.dataset_rows.c.row_id == first.row_id))
    now_s = before[0][0].changed_at
    assert row_log.reconcile(house.store, house.dataset, now_s=now_s) == (0, 1)
    with house.store.reading() as connection:
        assert [connection.execute(query).all() for query in (select(db.samples), select(*narrow))] == before


def test_rows_wait_in_the_database_while_the_file_can_not_be_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Dataset, _log: Path, _values: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "append_soon", full)
        with pytest.raises(OSError, match="No space"):
            house.send(moment(0))
    assert house.dataset.rows() == []
    house.send(moment(0))
    assert len(house.dataset.rows()) == 1


def test_a_start_reads_what_the_lengths_tell_of_and_a_thorough_look_all(house: House) -> None:
    house.send_all([moment(n) for n in range(3)])
    log = house.dataset.log
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"x" * (len(lines[0]) - 1) + b"\n" + b"".join(lines[1:]))  # nobody reads it at a start
    assert recover(house.store, house.dataset, house.merge, house.clock) == Recovered()
    later = lines[2].replace(b"000002", b"000009")
    log.write_bytes(log.read_bytes() + later + b'{"torn')
    assert recover(house.store, house.dataset, house.merge, house.clock) == Recovered(rows_taken_in=1)
    assert decisions.counts(house.store)["pending"] == 4
    assert log.read_bytes().endswith(later)
    log.write_bytes(b"".join(lines[:2]))  # an older file was put in its place
    assert recover(house.store, house.dataset, house.merge, house.clock) == Recovered(rows_appended=2)
    assert {row.sample_id[-1] for row in house.dataset.rows()} == {"0", "1", "2", "9"}
    assert [row.sample_id[-1] for row in house.dataset.newest()] == ["0", "1", "2", "9"]


def test_a_line_changed_by_hand_is_named(house: House) -> None:
    house.send(moment(0))
    house.dataset.log.write_text("{broken}\n")
    with pytest.raises(DatasetError, match="line 1"):
        house.dataset.rows()
    house.dataset.log.write_text('{"row_id": "x"}\n')
    with pytest.raises(DatasetError, match=r"line 1: .*missing required field"):
        house.dataset.rows()


def test_the_version_names_the_bytes_of_the_whole_lines(house: House) -> None:
    assert house.dataset.version()[0] == 0
    house.send(moment(0))
    size, root = house.dataset.version()
    with open(house.dataset.log, "ab") as file:
        file.write(b"torn")
    assert house.dataset.version() == (size, root)
    house.send(moment(1))
    assert house.dataset.version() != (size, root)


def test_rows_marked_wrongly_are_put_right(house: House) -> None:
    house.send(moment(0))
    with house.store.writing() as connection:
        connection.execute(update(db.dataset_rows).values(logged=False))
        connection.execute(delete(db.log_state))
    before = house.dataset.log.read_bytes()
    assert row_log.reconcile(house.store, house.dataset, now_s=0.0) == (0, 0)
    assert house.dataset.log.read_bytes() == before
