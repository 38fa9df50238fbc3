"""The two logs of the dataset folder: whole lines, and the same facts as the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset import folder as data
from server.dataset import record_log, sample_row
from server.dataset.folder import Dataset
from server.maintenance.findings import HomeFinding, set_aside
from shared import atomic, strict, topics
from shared.errors import DatasetError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord

DAMAGED = "line damaged"
DIFFERENT = "row differs"
MOST_INTEGER = 2**63
_Facts = Mapping[tuple[str, ...], record_log.Line]
"""record_log.key_of(line) → line"""


def damage(dataset: Dataset, home: Path, *, repair: bool) -> list[HomeFinding]:
    """Lines that cannot be read. A repair keeps the old file in quarantine and writes one of the others."""
    findings = []
    for log, read in ((dataset.log, _row), (dataset.records, _fact)):
        bad, good, torn = _read(log, read)
        if torn:
            dropped = atomic.drop_torn_tail(log) if repair else 0
            done = f"{dropped} bytes cut off" if repair else ""
            findings.append(HomeFinding("line torn", log.name, "its last line was cut short", done))
        if bad and repair:
            set_aside(home, log)
            atomic.write_bytes(log, b"".join(good))
        done = "taken out; what the database has of it is written again" if repair else ""
        findings += [HomeFinding(DAMAGED, f"{log.name}, line {number}", why, done) for number, why in bad]
    return findings


def _read(log: Path, read: Callable[[bytes, str], object]) -> tuple[list[tuple[int, str]], list[bytes], bool]:
    bad: list[tuple[int, str]] = []
    good: list[bytes] = []
    if not log.exists():
        return bad, good, False
    with open(log, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return bad, good, True
            try:
                read(line, f"line {number}")
                value = json.loads(line)
                _check_storable(value, f"line {number}")
                _check_paths(value, f"line {number}")
                good.append(line)
            except DatasetError as error:
                bad.append((number, str(error)))
    return bad, good, False


def _check_storable(value: dict[str, Any], where: str) -> None:
    """Raises: DatasetError for what a database cannot hold, so that a start could not take it in."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DatasetError(f"{where} holds half a character.") from None
    if any(isinstance(field, int) and abs(field) >= MOST_INTEGER for field in value.values()):
        raise DatasetError(f"{where} holds a number of more than 64 bits.")


def is_payload(path: str) -> bool:
    """Whether a payload file may have this path."""
    folder, _, name = path.partition("/")
    stem, dot, ending = name.partition(".")
    return (folder, dot + ending) in data.FOLDERS.values() and topics.SHA256.match(stem) is not None


def _check_paths(value: dict[str, Any], where: str) -> None:
    """Raises: DatasetError for a path that no payload file has: it may lead out of the folder, and a repair would move
    what lies there."""
    for name in ("path", *(f"{kind}_path" for kind in data.FOLDERS)):
        if value.get(name) and not is_payload(str(value[name])):
            raise DatasetError(f"{where} has a {name} that no file of the dataset has: {str(value[name])[:80]!r}.")


def _row(line: bytes, where: str) -> object:
    try:
        row = sample_row.from_dict(json.loads(line), where=where)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is not JSON ({error}).") from None
    moment, _, number = row.row_id.rpartition("#")
    if number.isdecimal() and moment != row.sample_id:
        raise DatasetError(f"{where} is a row of {moment[:80]!r} under the name of another moment.")
    return row


def _fact(line: bytes, where: str) -> object:
    fact = record_log.parse(line, where=where)
    if fact["what"] in ("record", "erasure"):
        kinds = {"chunk": ChunkRecord, "correction": CorrectionRecord}
        kind = EraseRecord if fact["what"] == "erasure" else kinds.get(fact["kind"], CorrectionRecord)
        try:
            strict.read(kind, fact["body"])
        except MessageError as error:
            raise DatasetError(f"{where} is no record ({error}).") from None
    return fact


def differences(store: Store, dataset: Dataset) -> Iterator[HomeFinding]:
    """What only one side has, and what they say differently."""
    with dataset.still(), store.reading() as connection:
        rows = select(db.dataset_rows.c.row_id, db.dataset_rows.c.body, db.dataset_rows.c.logged)
        known = {row_id: body for row_id, body, _ in connection.execute(rows)}
        in_file = {row.row_id: sample_row.to_dict(row) for row in dataset.history()}
        facts = {record_log.key_of(fact): fact for fact in record_log.facts(connection)}
        lines = {record_log.key_of(line): line for line in record_log.newest(record_log.read(dataset.records))}
    yield from _row_differences(known, in_file)
    yield from _fact_differences(facts, lines)


def _row_differences(known: Mapping[str, Any], in_file: Mapping[str, dict[str, Any]]) -> Iterator[HomeFinding]:
    """known: row id → body in the database; in_file: row id → body in metadata.jsonl"""
    for row_id in known.keys() - in_file.keys():
        yield HomeFinding("row only in the database", row_id, remedy="written into metadata.jsonl")
    for row_id in in_file.keys() - known.keys():
        yield HomeFinding("row only in metadata.jsonl", row_id, remedy="taken into the database")
    for row_id in in_file.keys() & known.keys():
        if in_file[row_id] != _plain(known[row_id]):
            yield HomeFinding(DIFFERENT, row_id, remedy="the database has it as metadata.jsonl does")


def _fact_differences(facts: _Facts, lines: _Facts) -> Iterator[HomeFinding]:
    """facts: as the database has them; lines: the newest of records.jsonl"""
    there = {key for key, line in lines.items() if line["what"] not in record_log.NO_FACTS}
    for key in facts.keys() - there:
        yield HomeFinding(f"{key[0]} only in the database", " ".join(key[1:]), remedy="written into records.jsonl")
    for key in facts.keys() & there:
        if not record_log.same(facts[key], lines[key]):
            yield HomeFinding(
                f"{key[0]} differs", " ".join(key[1:]), remedy="records.jsonl has it as the database does"
            )
    for key in there - facts.keys():
        yield HomeFinding(f"{key[0]} only in records.jsonl", " ".join(key[1:]), remedy="taken into the database")


def _plain(body: Any) -> dict[str, Any]:
    return sample_row.to_dict(sample_row.from_dict(body))


def announced(incoming: Path) -> set[str]:
    """Hashes of files that are still arriving: one of them may have been moved just before its row was written."""
    hashes = set()
    for ranges in incoming.glob("*/*.ranges"):
        try:
            hashes.add(str(json.loads(ranges.read_bytes().split(b"\n")[0])["begin"]["part"]["sha256"]))
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            continue  # unusable, as the next start of the server finds, too
    return hashes
