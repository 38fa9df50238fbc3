"""Closed lines of a log are compressed, and read, blanked and mended as if they were plain."""

from __future__ import annotations

import errno
import gzip
import json
import random
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import delete

from server.database import store as db
from server.dataset import gzip_members, incoming, line_log, row_log, sample_row, view
from server.dataset.folder import Dataset
from server.dataset.line_index import LineIndex
from server.dataset.line_log import LineReader
from server.dataset.recover import Recovered, recover
from server.maintenance import check_logs
from server.maintenance.check import check
from server.privacy import deletion, plans
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import atomic
from shared.errors import DatasetError
from shared.messages import EraseRecord
from tests import crash
from tests.crash import Killer
from tests.server.database.stored import readable
from tests.server.dataset.moments import House, moment

LINES = [
    json.dumps({"record_id": f"r-{n % 90}", "word": random.Random(n).randbytes(9).hex()}) + "\n" for n in range(400)
]
TEXT = "".join(LINES).encode()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens after hundreds of bytes."""
    monkeypatch.setattr(line_log, "CUT_BYTES", 2_000)
    monkeypatch.setattr(line_log, "PIECE_BYTES", 6_000)
    monkeypatch.setattr(line_log, "BLOCK_BYTES", 500)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of three compressed files, one that waits, and an end."""
    dataset = Dataset(tmp_path)
    for start in range(0, len(LINES), 7):
        with dataset.appending():
            dataset.append_records(json.loads(line) for line in LINES[start : start + 7])
    line_log._cut(dataset.records, lambda _step: None)
    with dataset.still():
        dataset.append_records([{"what": "tail"}])
    return dataset.records


def text_of(log: Path, from_byte: int = 0) -> bytes:
    return b"".join(line for _, line in line_log.lines(log, from_byte=from_byte))


END = b'{"what": "tail"}\n'


def test_all_of_it_is_read_in_order_from_any_line_and_by_any_tool(log: Path) -> None:
    kinds = [path.suffix for path in line_log.files_of(log)]
    assert kinds.count(".gz") >= 2
    assert kinds[-2:] == [".jsonl", ".jsonl"]
    assert text_of(log) == TEXT + END
    assert line_log.size(log) == len(TEXT) + len(END)
    places = [at for at, _ in line_log.lines(log)]
    for at in places[::11]:
        assert text_of(log, at) == (TEXT + END)[at:]
    with LineReader(log) as reader:
        for at, line in random.Random(1).sample(list(line_log.lines(log)), 60):
            assert reader.read(at, len(line)) == line
    unpacked = [
        gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in line_log.files_of(log)
    ]
    assert b"".join(unpacked) == TEXT + END
    assert sum(path.stat().st_size for path in line_log.files_of(log)) < 0.8 * len(TEXT)


def test_a_reader_goes_on_while_lines_are_added_cut_and_compressed(log: Path) -> None:
    dataset = Dataset(log.parent)
    held, before = line_log.lines(log), list(line_log.lines(log))
    seen = [next(held) for _ in range(3)]
    with LineReader(log) as reader:
        for n in range(60):
            with dataset.appending():
                dataset.append_records([{"record_id": f"new-{n}", "more": "x" * 200}])
        dataset.pack()
        assert [path.suffix for path in line_log.files_of(log)].count(".jsonl") == 1
        assert [reader.read(at, len(line)) for at, line in before] == [line for _, line in before]
    assert [*seen, *held] == list(line_log.lines(log))


def test_all_moments_are_read_as_they_were_though_the_log_is_cut_meanwhile(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, add = list(filled.dataset.newest()), LineIndex.add

    def in_vain(self: LineIndex, lines: Iterable[tuple[str, int, int, int]]) -> None:
        for context in ("the market", "the bridge"):
            later = [sample_row.next_version(row, row, context=context) for row in before]
            with filled.dataset.appending():
                filled.dataset.append(map(sample_row.to_dict, later))
        add(self, lines)

    begins = line_log.begins_at(filled.dataset.log)
    monkeypatch.setattr(LineIndex, "add", in_vain)
    assert list(filled.dataset.newest()) == before
    assert line_log.begins_at(filled.dataset.log) > begins


def test_a_disk_that_has_no_room_to_compress_fails_nobody_who_has_merged(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = atomic.write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.parent.name == line_log.FOLDER:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    logs = (filled.dataset.log, filled.dataset.records)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_bytes", full)
        for n in range(8, 14):
            assert {merged.state for merged in filled.send(moment(n))} == {"merged"}
        with pytest.raises(OSError, match="No space left"):
            filled.dataset.pack()
    assert any(path.suffix == ".jsonl" for log in logs for path in line_log.files_of(log)[:-1])
    filled.dataset.pack()
    assert not any(path.suffix == ".jsonl" for log in logs for path in line_log.files_of(log)[:-1])
    assert len(filled.dataset.rows()) == 14
    assert check(filled.home, filled.clock).findings == ()


def test_half_a_line_of_a_process_that_was_killed_is_never_closed(log: Path) -> None:
    whole = text_of(log)
    with open(log, "ab") as end:
        end.write(TEXT[:2500].rpartition(b"\n")[0] + b'\n{"half')
    Dataset(log.parent).pack()
    assert line_log.begins_at(log) > len(TEXT)
    assert text_of(log).startswith(whole)
    assert b"half" not in text_of(log)


def life(folder: Path, killer: Killer) -> None:
    """Cut, compressed and joined, as its steps and each call that makes something durable."""
    killer.watch()
    Dataset(folder, step=killer).pack()


def test_killed_at_any_step_it_says_the_same_and_is_gone_on_with(
    log: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open(log, "ab") as end:
        end.write(TEXT[: TEXT.rindex(b"\n", 0, 2500) + 1])
    whole = text_of(log)

    def verdict(folder: Path) -> list[str]:
        own, faults = folder / log.name, []
        if text_of(own) != whole or line_log.size(own) != len(whole):
            faults.append(f"after the kill: {len(text_of(own))} of {len(whole)} bytes")
        Dataset(folder).pack()
        if text_of(own) != whole or [p.suffix for p in line_log.files_of(own)].count(".jsonl") != 1:
            faults.append("it is not gone on with")
        pieces = line_log._files(own)
        if [(one.end, two.start) for one, two in pairwise(pieces) if one.end != two.start]:
            faults.append("files that others hold already are left")
        return faults

    tries = list(crash.tries(tmp_path_factory.mktemp("kills"), log.parent, life, verdict, chosen=crash.first_and_last))
    assert {one.label for one in tries} >= set(line_log.STEPS)
    assert [one for one in tries if one.problems] == []


@pytest.fixture
def filled(house: House) -> House:
    """Eight moments, of which the words lie in closed files."""
    for n in range(8):
        house.send(moment(n, spoken=f"Mind number{n} here."))
        edit = ReviewDecision("edit", "Ben", "Caution, pole ahead.")
        decisions.review(house.store, house.dataset, f"pi-1-b00t-{n:06d}", edit, now_s=1.0)
    assert line_log.begins_at(house.dataset.log) > 0
    assert line_log.begins_at(house.dataset.records) > 0
    return house


def places_of(house: House, words: bytes) -> list[str]:
    """Files of which a byte says them."""
    return [path.name for path in sorted(house.home.rglob("*")) if path.is_file() and words in readable(path)]


def erase(house: House) -> None:
    wish = EraseRecord("pi-1-b00t-e001", "pi-1", 1_700_000_200.0, ("pi-1-b00t-000001",))
    assert house.merge.put_record("pi-1", "erase", wish).state == "merged"


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_erased_is_in_no_byte_of_closed_files_and_places_stay(
    filled: House, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:  # it was killed before it was compressed
        monkeypatch.setattr(line_log, "_pack", lambda *_: False)
        for log in (filled.dataset.log, filled.dataset.records):
            line_log._cut(log, lambda _step: None)
    logs = (filled.dataset.log, filled.dataset.records)
    leftover = filled.dataset.folder / line_log.FOLDER / "metadata-0-0.jsonl.gz.part"
    leftover.write_bytes(gzip.compress(b"Mind number1 here."))
    before = [[(at, len(line)) for at, line in line_log.lines(log)] for log in logs]
    assert [name for name in places_of(filled, b"number1 here") if name.startswith(("metadata-", "records-"))]
    erase(filled)
    assert places_of(filled, b"number1 here") == []
    assert places_of(filled, b"number2 here") != []
    for log, places in zip(logs, before, strict=True):
        assert [(at, len(line)) for at, line in line_log.lines(log)][: len(places)] == places
    assert check(filled.home, filled.clock).findings == ()


def test_words_that_were_left_in_closed_files_would_be_found(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_members, "changed", lambda *_, **__: None)
    erase(filled)
    assert {name[:9] for name in places_of(filled, b"number1 here")} == {"metadata-", "records-0"}
    with filled.store.reading() as connection:
        plan = plans.of_moments(connection, ["pi-1-b00t-000002"])
    proof = deletion.carry_out(
        deletion.port_of(filled.home, filled.store, filled.dataset, filled.clock), plan, by="Ana"
    )
    assert not proof.checked


def test_a_member_that_does_not_name_what_it_is_about_is_looked_into() -> None:
    """A line without ids, as a damaged one."""
    text = b'no json\n{"record_id": "r-1"}\n'
    data = gzip_members.made(text)
    after = gzip_members.changed(data, ["r-1"], lambda line: line.replace(b"r-1", b"gon"), start=0, end=len(text))
    assert after is not None
    assert gzip.decompress(after) == text.replace(b"r-1", b"gon")


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    at = {"head": 0, "body": 200, "cut": len(data) - 40}[how]
    data[at] ^= 0x5A
    atomic.write_bytes(path, bytes(data[:at] if how == "cut" else data))


@pytest.mark.parametrize("how", ["head", "body", "cut", "gone"])
@pytest.mark.parametrize("name", ["metadata", "records"])
def test_a_damaged_file_is_found_and_mended_from_the_database(filled: House, name: str, how: str) -> None:
    log = filled.dataset.folder / f"{name}.jsonl"
    rows = {row.row_id: row for row in filled.dataset.history()}
    damaged(line_log.files_of(log)[0], how)
    with pytest.raises(DatasetError, match=r"bytes [0-9]+ to [0-9]+: "):
        list(line_log.lines(log))
    found = check(filled.home, filled.clock)
    assert {finding.what for finding in found.findings} == {"line damaged"}
    filled.close()
    mended = check(filled.home, filled.clock, repair=True)
    assert mended.well, mended.findings
    assert check(filled.home, filled.clock).findings == ()
    assert {row.row_id: row for row in Dataset(filled.home / "dataset").history()} == rows


@pytest.mark.parametrize("by", ["the wearer", "Ana"])
def test_closed_lines_that_a_repair_took_out_keep_nothing_of_what_is_erased_later(filled: House, by: str) -> None:
    damaged(line_log.files_of(filled.dataset.records)[-2], "cut")
    filled.close()
    assert check(filled.home, filled.clock, repair=True).well
    again = House(filled.home)
    (again.home / "quarantine" / "records-1.r-1.frame.0").touch()  # of a device with that name
    again.dataset.records.with_name("records.jsonl.mended").write_bytes(b"Mind number1 here.")  # of one that was killed
    assert any(name.startswith("records-0") for name in places_of(again, b"number1 here"))
    if by == "the wearer":
        erase(again)
    else:
        with again.store.reading() as connection:
            plan = plans.of_moments(connection, ["pi-1-b00t-000001"])
        deletion.carry_out(deletion.port_of(again.home, again.store, again.dataset, again.clock), plan, by=by)
    assert places_of(again, b"number1 here") == []
    assert [path.name for path in (again.home / "quarantine").iterdir()] == ["records-1.r-1.frame.0"]
    again.close()


def test_what_a_damaged_member_says_of_a_deleted_moment_goes_with_the_repair(filled: House) -> None:
    """It cannot be blanked: the deletion waits for the repair, and then deletes what that took out."""
    damaged(line_log.files_of(filled.dataset.records)[0], "body")
    with filled.store.reading() as connection:
        plan = plans.of_moments(connection, ["pi-1-b00t-000001"])
    with pytest.raises(DatasetError, match="check --repair"):
        deletion.carry_out(deletion.port_of(filled.home, filled.store, filled.dataset, filled.clock), plan, by="Ana")
    filled.close()
    assert check(filled.home, filled.clock, repair=True).well
    again = House(filled.home)
    (proof,) = deletion.finish(deletion.port_of(again.home, again.store, again.dataset, again.clock))
    assert proof.checked
    assert places_of(again, b"number1 here") == []
    assert list((again.home / "quarantine").iterdir()) == []
    again.close()


def test_lines_that_were_cut_before_the_database_knew_them_are_taken_in(filled: House) -> None:
    """The power went between the log and the commit, and the next writer of the other log was first."""
    row = filled.dataset.rows()[0]
    later = sample_row.to_dict(sample_row.next_version(row, row, context="the market"))
    with filled.dataset.appending():
        filled.dataset.append([later, *({**later, "row_id": f"{row.sample_id}#{n}"} for n in range(20, 26))])
    with filled.store.reading() as connection:
        assert row_log.remembered_size(connection, "metadata.jsonl") < line_log.begins_at(filled.dataset.log)
    row_log.flush(filled.store, filled.dataset, now_s=2.0)
    with filled.store.reading() as connection:
        assert row_log.current(connection, row.sample_id) == filled.dataset.rows()[0]
        assert row_log.remembered_size(connection, "metadata.jsonl") == line_log.size(filled.dataset.log)
    assert check(filled.home, filled.clock).findings == ()


def test_a_start_reads_no_closed_line(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_members.Member, "text", None)
    assert recover(filled.store, filled.dataset, filled.merge, filled.clock) == Recovered()
    filled.send(moment(9))


def test_who_brings_a_servers_own_folder_in_or_judges_by_it_reads_closed_lines_too(filled: House) -> None:
    assert len({one.key for one in incoming.from_lines(filled.dataset.folder)}) == 8
    assert len(list(line_log.lines(filled.dataset.log))) == len(list(incoming.from_lines(filled.dataset.folder)))
    assert view.write(filled.dataset).total() == 8


def test_a_lost_database_is_made_again_from_closed_lines(filled: House) -> None:
    rows = filled.dataset.rows()
    if filled.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL looks after its own files")
    filled.close()
    (filled.home / "waycue.sqlite").unlink()
    again = House(filled.home)
    assert check(filled.home, filled.clock).findings != ()
    again.close()
    check(filled.home, filled.clock, repair=True)
    assert check(filled.home, filled.clock).findings == ()
    assert Dataset(filled.home / "dataset").rows() == rows


def test_a_hash_that_is_none_is_a_damaged_line_and_keeps_no_database_from_being_made_again(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit of it flipped on the disk; the database has a column for 32 bytes."""
    if filled.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL looks after its own files")
    log = filled.dataset.records
    monkeypatch.setattr(line_log, "CUT_BYTES", 100_000)
    filled.send(moment(9))
    filled.close()
    text = log.read_bytes()
    at = text.index(b'"sha256": "', text.index(b'"what": "part"')) + len(b'"sha256": "')
    log.write_bytes(text[:at] + b"q" + text[at + 1 :])
    (filled.home / "waycue.sqlite").unlink()
    found = check(filled.home, filled.clock, repair=True).findings
    assert ["sha256" in one.why for one in found if one.what == "line damaged"] == [True]
    again = House(filled.home)
    assert len(again.dataset.rows()) == 9
    again.close()
    assert check(filled.home, filled.clock).findings == ()


@pytest.mark.parametrize("before", ["_row_places", "_row_differences", "_fact_differences"])
def test_what_is_erased_while_a_look_compares_is_no_difference_and_the_rest_is(
    filled: House, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(check_logs, before)

    def after_an_erasure(*given: object) -> object:
        monkeypatch.setattr(check_logs, before, real)
        erase(filled)
        return real(*given)

    with filled.store.writing() as connection:
        gone = db.records.c.record_id == "pi-1-b00t-000002"
        connection.execute(delete(db.records).where(gone))
    monkeypatch.setattr(check_logs, before, after_an_erasure)
    found = list(check_logs.differences(filled.store, filled.dataset))
    assert [(one.what, one.name) for one in found] == [("record only in records.jsonl", "pi-1 pi-1-b00t-000002")]
