"""Whatever is lost on one side of a server's home is made again from the other, and what nobody has is named."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from server import config
from server.commands import main
from server.database import review_tables as tables
from server.database import store as db
from server.database.store import DATABASE_NAME
from server.dataset import part_paths, rollups
from server.dataset.folder import Dataset
from server.maintenance import check_files, check_state, home_lock
from server.maintenance.check import CheckReport, check
from server.maintenance.check_display import line_of
from server.maintenance.progress import CheckPart
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.clock import SystemClock
from shared.errors import ConfigError
from tests.server.dataset.moments import House, moment, sound, spoken

CORRECTION = spoken("pi-1-b00t-000001", sound(9))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A server with three moments, a correction that was heard, a decision, and an enrolled device."""
    config.init(tmp_path / "home")
    house = House(tmp_path / "home", clock=SystemClock())
    house.send_all([moment(0, with_clip=True), moment(1), moment(2, walk_id="walk-2"), CORRECTION])
    house.merge.put_transcript(
        "pi-1", CORRECTION.record.correction_id, transcript="bin", confidence=0.9, proposal="Caution, bin ahead."
    )
    decisions.review(house.store, house.dataset, "pi-1-b00t-000000", ReviewDecision("nothing", "Eve"), now_s=1.0)
    with house.store.writing() as connection:
        connection.execute(db.enrolments.insert().values(device="pi-1", cohort="", added_at=1.0, why=""))
    house.close()
    return tmp_path / "home"


def _look(home: Path, *, repair: bool = False) -> CheckReport:
    return check(home, SystemClock(), repair=repair)


def _contents(home: Path) -> tuple[object, ...]:
    """All that is to survive."""
    store = db.open_store(home)
    r, p = db.records.c, db.parts.c
    with store.reading() as connection:
        records = select(r.device, r.record_id, r.kind, r.chunk_id, r.body, r.transcript, r.proposal)
        parts = select(p.device, p.record_id, p.kind, p.sha256, part_paths.PATH)
        found = (
            sorted(map(repr, connection.execute(records))),
            sorted(connection.execute(parts)),
            sorted(connection.execute(select(db.walks.c.walk_id, db.walks.c.split))),
            {row.sample_id: row for row in decisions.listing(store, state="all")},
        )
    store.close()
    return (*found, sorted(Dataset(home / "dataset").rows(), key=lambda row: row.sample_id))


def _kinds(found: CheckReport) -> set[str]:
    return {finding.what for finding in found.findings}


def test_a_sound_home_is_found_well_and_is_left_as_it_is(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "sqlite" not in path.name}
    found = _look(home)
    assert (found.well, found.findings, found.records, found.files) == (True, (), 4, 8)
    assert {path: path.read_bytes() for path in before} == before


def _lose_database(home: Path) -> None:
    for path in home.glob(f"{DATABASE_NAME}*"):
        path.unlink()


def _lose_records_of_database(home: Path) -> None:
    store = db.open_store(home)
    with store.writing() as connection:
        for table in (db.parts, db.records, db.samples, db.walks, db.dataset_rows, db.log_state):
            connection.execute(delete(table))
    store.close()


def _lose_metadata(home: Path) -> None:
    (home / "dataset" / "metadata.jsonl").unlink()


def _lose_records(home: Path) -> None:
    (home / "dataset" / "records.jsonl").unlink()


def _older_logs(home: Path) -> None:
    for name in ("metadata.jsonl", "records.jsonl"):
        log = home / "dataset" / name
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))


def _scratch_lines(home: Path) -> None:
    for name in ("metadata.jsonl", "records.jsonl"):
        log = home / "dataset" / name
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(lines[0][:30] + b"\xff\n" + b"".join(lines[1:]) + b'{"torn')


def _other_fold(home: Path) -> None:
    store = db.open_store(home)
    with store.writing() as connection:
        body = connection.execute(select(db.samples.c.body)).scalars().first()
        connection.execute(update(db.samples).where(db.samples.c.sample_id.like("%2")).values(body=body))
    store.close()


HARMS = (
    _lose_database, _lose_records_of_database, _lose_metadata, _lose_records, _older_logs, _scratch_lines, _other_fold,
)  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_each_side_is_made_again_from_the_other_and_what_was_done_is_named(
    home: Path, harm: Callable[[Path], None]
) -> None:
    before = _contents(home)
    harm(home)
    if harm is not _lose_database:
        assert not _look(home).well
    mended = _look(home, repair=True)
    assert mended.findings
    assert all(finding.done for finding in mended.findings), mended.findings
    assert mended.well == (harm is not _lose_database)  # who was enrolled is nowhere else
    assert _contents(home) == before
    assert _look(home).findings == ()


def test_a_rebuilt_database_still_knows_what_it_had_taken(home: Path) -> None:
    _lose_database(home)
    _look(home, repair=True)
    house = House(home, clock=SystemClock())
    again = house.send(moment(0, with_clip=True)) + house.send(CORRECTION)
    assert {(one.state, one.new) for one in again} == {("merged", False)}
    other = moment(0, with_clip=True, spoken="Stop, bin ahead.")
    assert house.send(other)[0].state == "refused"
    house.close()


@pytest.mark.parametrize("table", ["records", "sought", "search_terms"])
def test_a_damaged_database_is_put_aside_and_what_can_be_read_of_it_is_kept(home: Path, table: str) -> None:
    before = _contents(home)
    path = home / DATABASE_NAME
    store = db.open_store(home)
    with store.reading() as connection:
        where = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        root = connection.exec_driver_sql(where, (table,)).scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    store.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : root * size] = random.Random(1).randbytes(size)
    path.write_bytes(data)
    assert _kinds(_look(home)) == {"database damaged"}
    mended = _look(home, repair=True)
    assert mended.well, [f for f in mended.findings if f.lost or not f.done]
    assert _contents(home) == before
    assert (home / "quarantine" / DATABASE_NAME).exists()
    store = db.open_store(home)
    with store.reading() as connection:
        assert connection.execute(select(db.enrolments.c.device)).scalars().all() == ["pi-1"]
        assert connection.execute(select(tables.reviews.c.reviewer)).scalars().all() == ["Eve"]
    store.close()


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_lost_picture_is_named_its_moment_teaches_no_more_and_its_bytes_are_welcome_again(
    home: Path, harm: str
) -> None:
    row = next(row for row in Dataset(home / "dataset").rows() if row.sample_id.endswith("2"))
    frame = home / "dataset" / row.frame_path
    frame.unlink() if harm == "missing" else frame.write_bytes(b"\xff\xd8\xff nothing")
    looked = _look(home)
    assert (looked.well, _kinds(looked)) == (False, {f"file {harm}"})
    assert row.sample_id in looked.findings[0].why
    mended = _look(home, repair=True)
    assert [finding.lost for finding in mended.findings] == [True]
    assert not mended.well
    assert next(r for r in Dataset(home / "dataset").rows() if r.sample_id == row.sample_id).rejected
    assert _look(home).findings == ()
    assert _look(home, repair=True).findings == ()
    house = House(home, clock=SystemClock())
    again = house.send(moment(2, walk_id="walk-2"))
    assert [(one.state, one.new) for one in again] == [("merged", False), ("merged", True), ("merged", False)]
    house.close()
    assert _look(home).well


def test_a_lost_clip_leaves_its_moment_to_teach(home: Path) -> None:
    row = next(row for row in Dataset(home / "dataset").rows() if row.clip_path)
    (home / "dataset" / row.clip_path).unlink()
    _look(home, repair=True)
    after = next(r for r in Dataset(home / "dataset").rows() if r.sample_id == row.sample_id)
    assert (after.clip_path, after.reviewed, after.rejected) == ("", True, False)
    assert _look(home).well


def test_files_of_nobody_are_put_aside_and_those_still_arriving_are_not(home: Path) -> None:
    stray, arriving = "a" * 64, "b" * 64
    for digest in (stray, arriving):
        (home / "dataset" / "clips" / f"{digest}.mp4").write_bytes(b"x")
    ranges = home / "incoming" / "pi-1" / "x.clip.ranges"
    ranges.parent.mkdir(parents=True)
    ranges.write_text(json.dumps({"begin": {"part": {"sha256": arriving}}, "key": "k"}) + "\n")
    assert _look(home).well  # it may just be merged by a running server
    for path in (home / "dataset" / "clips").iterdir():
        os.utime(path, (1, 1))
    assert [finding.name for finding in _look(home).findings] == [f"clips/{stray}.mp4"]
    assert _look(home, repair=True).well
    assert (home / "quarantine" / f"{stray}.mp4").exists()
    assert (home / "dataset" / "clips" / f"{arriving}.mp4").exists()
    assert _look(home).findings == ()


def test_nothing_is_repaired_under_the_hands_of_a_running_server(home: Path) -> None:
    with home_lock.serving(home):
        assert _look(home).well
        with pytest.raises(ConfigError, match="Stop waycue-server"):
            _look(home, repair=True)
    with home_lock.alone(home), pytest.raises(ConfigError, match="being repaired"), home_lock.serving(home):
        pass


def test_the_command_says_what_it_found_and_its_status_tells_whether_all_is_well(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--home", str(home), "check"]) == 0
    assert "All is well" in capsys.readouterr().out
    _lose_metadata(home)
    assert main.main(["--home", str(home), "check"]) == 1
    assert "row only in the database, 8 of them (pi-1-b00t-000000#1, " in capsys.readouterr().out
    assert main.main(["--home", str(home), "check", "--repair", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["well"]
    assert {finding["done"] for finding in reported["findings"]} == {"written into metadata.jsonl"}
    assert all(finding["mended"] for finding in reported["findings"])


def test_a_row_that_was_changed_in_the_file_is_taken_over_everywhere_in_one_repair(home: Path) -> None:
    log = home / "dataset" / "metadata.jsonl"
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    changed = next(line for line in lines if line["sample_id"] == "pi-1-b00t-000002")
    changed["instruction"] = "Caution, bin ahead."
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert _look(home, repair=True).well
    assert _look(home).findings == ()
    store = db.open_store(home)
    shown = {row.sample_id: row.instruction for row in decisions.listing(store, state="all")}
    store.close()
    assert shown["pi-1-b00t-000002"] == "Caution, bin ahead."


def test_a_row_whose_name_has_no_number_does_not_end_the_check(home: Path) -> None:
    log = home / "dataset" / "metadata.jsonl"
    line = json.loads(log.read_bytes().splitlines()[0]) | {"row_id": "by hand"}
    with open(log, "a") as file:
        file.write(json.dumps(line) + "\n")
    assert all(finding.done for finding in _look(home, repair=True).findings)


def test_a_database_whose_own_description_is_no_text_is_put_aside(home: Path) -> None:
    before = _contents(home)
    path = home / DATABASE_NAME
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE records", b"CREATE TA\xa8\xffE records"))
    assert _kinds(_look(home)) == {"database damaged"}
    mended = _look(home, repair=True)
    assert all(finding.done for finding in mended.findings)
    assert _contents(home) == before


@pytest.mark.parametrize("changed", [{"instruction": "a\ud800b"}, {"\ud800": 1}, {"timestamp": 2**64}])
@pytest.mark.parametrize("log", ["metadata.jsonl", "records.jsonl"])
def test_a_line_that_no_database_can_hold_is_taken_out(home: Path, log: str, changed: dict[str, object]) -> None:
    before = _contents(home)
    path = home / "dataset" / log
    line = json.loads(path.read_bytes().splitlines()[0]) | changed
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
    assert _look(home, repair=True).well
    assert (_look(home).findings, _contents(home)) == ((), before)


def test_a_row_under_the_name_of_another_moment_is_taken_out(home: Path) -> None:
    before = _contents(home)
    log = home / "dataset" / "metadata.jsonl"
    line = json.loads(log.read_bytes().splitlines()[0]) | {"sample_id": "2026-11-20T00:00:00Z"}
    with open(log, "a") as file:
        file.write(json.dumps(line) + "\n")
    assert _kinds(_look(home)) == {"line damaged"}
    assert _look(home, repair=True).well
    assert (_look(home).findings, _contents(home)) == ((), before)


@pytest.mark.parametrize("where", ["the file", "the database"])
def test_a_path_that_leads_out_of_the_dataset_is_named_and_nothing_there_is_moved(home: Path, where: str) -> None:
    before = _contents(home)
    if where == "the file":
        log = home / "dataset" / "metadata.jsonl"
        lines = [json.loads(line) for line in log.read_bytes().splitlines()]
        lines[0]["frame_path"] = "../waycue.toml"
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        store = db.open_store(home)
        with store.writing() as connection:
            connection.execute(
                update(db.parts).where(db.parts.c.kind == "clip").values(**part_paths.lying_at("../waycue.toml"))
            )
        store.close()
    found = _look(home, repair=True)
    assert found.findings
    assert all(finding.done for finding in found.findings), found.findings
    assert where == "the file" or _look(home, repair=True).findings  # what the first one wrote into the log
    assert (home / "waycue.toml").exists()
    assert _look(home).well
    if where == "the file":
        assert _contents(home) == before


def test_a_look_that_was_cut_off_goes_on_and_remembers_what_it_had_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_files, "EVERY", 1)
    monkeypatch.setattr(check_state, "SAVED_EVERY", 1)
    payloads = sorted(path for path in (home / "dataset").glob("*/*") if path.is_file())
    payloads[0].write_bytes(b"damaged")
    read: list[str] = []

    def cut(part: CheckPart) -> None:
        if part.name == "reading files" and part.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(home, SystemClock(), to=cut)

    def tell(part: CheckPart) -> None:
        read.append(part.name)

    found = check(home, SystemClock(), resume=True, to=tell)
    assert [finding.what for finding in found.findings] == ["file damaged"]
    assert found.files == 8
    assert set(read) == {"reading files"}
    assert not (home / "cache" / "check.json").exists()
    again = check(home, SystemClock(), resume=True, to=tell)
    assert (len(again.findings), "comparing rows" in read) == (1, True), "nothing was cut off, so all is looked at"


def test_sums_and_cells_that_are_wrong_are_named_and_made_again(home: Path) -> None:
    store = db.open_store(home)
    rollups.fill(store)
    with store.writing() as connection:
        good = connection.execute(tables.rollups.select().order_by(tables.rollups.c.cell)).all()
        connection.execute(text("INSERT INTO rollups VALUES ('object:tree', 1, 0, 0, 0, 0, 0)"))
        connection.execute(update(db.samples).where(db.samples.c.sample_id.like("%2")).values(marks=8))
    store.close()
    assert _kinds(_look(home)) == {"sum out of date", "moment out of date"}
    assert _look(home, repair=True).well
    assert _look(home).findings == ()
    store = db.open_store(home)
    with store.reading() as connection:
        assert connection.execute(tables.rollups.select().order_by(tables.rollups.c.cell)).all() == good
    store.close()


@pytest.mark.parametrize("wrong", [{"priority": 4}, {"captured_at": 1.0}, {"state": "rejected"}])
def test_a_search_that_has_a_moment_in_the_wrong_place_is_named_and_mended(home: Path, wrong: dict[str, Any]) -> None:
    with closing(db.open_store(home)) as store, store.writing() as connection:
        right = sorted(connection.execute(tables.sought.select()).mappings(), key=lambda row: row["sample_id"])
        first = right[0]["number"]
        connection.execute(update(tables.sought).where(tables.sought.c.number == first).values(**wrong))
    assert "moment out of date" in _kinds(_look(home))
    assert _look(home, repair=True).well
    with closing(db.open_store(home)) as store, store.reading() as connection:
        mended = sorted(connection.execute(tables.sought.select()).mappings(), key=lambda row: row["sample_id"])
    assert mended == right


def test_what_is_left_to_do_is_said_in_words() -> None:
    assert line_of(CheckPart("reading files", 25, 100), 60.0) == "reading files: 25%, about 3 min left"
    assert line_of(CheckPart("reading the database", 0, 0), 60.0) == "reading the database"
