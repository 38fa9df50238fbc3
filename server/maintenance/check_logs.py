"""The two logs of the dataset folder: whole lines, and the same facts as the database."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from server.database import store as db
from server.database.store import Store
from server.dataset import folder as data
from server.dataset import line_log, record_log, sample_row
from server.dataset.folder import Dataset
from server.dataset.line_index import LineIndex
from server.dataset.line_log import Block
from server.maintenance.findings import HomeFinding, set_aside
from server.maintenance.progress import EVERY, CheckPart, Told, nobody, told
from shared import atomic, strict, topics
from shared.errors import DatasetError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord

DAMAGED = "line damaged"
DIFFERENT = "row differs"
MOST_INTEGER = 2**63


def damage(dataset: Dataset, home: Path, *, repair: bool, to: Told = nobody) -> list[HomeFinding]:
    """Lines that cannot be read. A repair keeps the old file in quarantine and writes one of the others."""
    findings = []
    for log, size in _sizes(dataset).items():
        bad, end = _read(log, size, _row if log == dataset.log else _fact, to)
        findings += [_torn(log, repair=repair)] if end < size else []
        findings += _damaged(home, log, bad, repair=repair)
    return findings


def _sizes(dataset: Dataset) -> dict[Path, int]:
    """Log → its bytes, while nobody writes: whoever began a line has ended it, and what is torn now is torn for good.
    A home into which nothing was merged has no folder, and none is made."""
    if not dataset.folder.is_dir():
        return {}
    with dataset.still():
        return {log: line_log.size(log) for log in (dataset.log, dataset.records) if line_log.exists(log)}


def _torn(log: Path, *, repair: bool) -> HomeFinding:
    dropped = atomic.drop_torn_tail(log) if repair else 0
    done = f"{dropped} bytes cut off" if repair else ""
    return HomeFinding("line torn", log.name, "its last line was cut short", done)


@dataclass(frozen=True, slots=True)
class _BadLine:
    """A line, or a part of closed lines, that cannot be read."""

    at: int
    where: str
    why: str


def _damaged(home: Path, log: Path, bad: Sequence[_BadLine], *, repair: bool) -> list[HomeFinding]:
    if bad and repair:
        _take_out(home, log, {line.at for line in bad})
    done = "taken out; what the database has of it is written again" if repair else ""
    return [HomeFinding(DAMAGED, f"{log.name}, {line.where}", line.why, done) for line in bad]


def _take_out(home: Path, log: Path, bad: Collection[int]) -> None:
    """Write the log anew, all of it plain, without the lines at these places; the old files lie in quarantine. After a
    crash between the two what is missing is made again from the database."""
    new = log.with_name(f"{log.name}.mended")
    with atomic.writing(new) as out:
        for block in line_log.blocks(log):
            out.writelines(line for at, line in _placed(block) if at not in bad)
    line_log.tell_of_it(log)
    for path in line_log.files_of(log):
        set_aside(home, path)
    atomic.move(new, log)


def _placed(block: Block) -> Iterator[tuple[int, bytes]]:
    at = block.at
    for line in io.BytesIO(block.text):
        yield at, line
        at += len(line)


def _read(log: Path, size: int, read: Callable[[bytes, str], object], to: Told) -> tuple[list[_BadLine], int]:
    """(what is damaged, where the last whole line ends), of the first `size` bytes"""
    bad: list[_BadLine] = []
    number, end = 0, 0
    for block in line_log.blocks(log):
        if block.at >= size:
            break
        if block.damage:
            bad.append(_BadLine(block.at, line_log.place_of(block), block.damage))
        for at, line in _placed(block):
            number += 1
            why = _damage_of(line, f"line {number}", read) if at < size else ""
            if why:
                bad.append(_BadLine(at, f"line {number}", why))
        end = block.at + block.size
        to(CheckPart(f"reading {log.name}", min(end, size), size))
    return bad, end


def _damage_of(line: bytes, where: str, read: Callable[[bytes, str], object]) -> str:
    try:
        read(line, where)
        value = json.loads(line)
        _check_storable(value, where)
        _check_paths(value, where)
    except DatasetError as error:
        return str(error)
    return ""


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


def differences(store: Store, dataset: Dataset, *, to: Told = nobody) -> Iterator[HomeFinding]:
    """What only one side has, and what they say differently. Both are read as they were at one moment: the dataset is
    locked for that moment alone. Of the logs, lines that are blanked later are blank: what is erased by then is no
    difference."""
    with store.reading() as connection:
        with dataset.still():
            rows = connection.execute(select(func.count()).select_from(db.dataset_rows)).scalar() or 0
            sizes = [line_log.size(log) for log in (dataset.log, dataset.records)]
            rewritten = line_log.rewritten(dataset.log)
        for finding in _differences(connection, dataset, rows, sizes, to):
            if line_log.rewritten(dataset.log) == rewritten or not _is_erased(store, finding):
                yield finding


def _differences(
    connection: Connection, dataset: Dataset, rows: int, sizes: Sequence[int], to: Told
) -> Iterator[HomeFinding]:
    with LineIndex(dataset.log) as lines:
        lines.add(_row_places(dataset.log, sizes[0]))
        yield from _row_differences(lines, told(_rows(connection), "comparing rows", rows, to))
    with record_log.index_of(dataset.records, up_to=sizes[1]) as lines:
        facts = told(record_log.facts(connection), "comparing what devices sent", 0, to)
        yield from _fact_differences(lines, facts)


def _is_erased(store: Store, finding: HomeFinding) -> bool:
    """Whether what is different has been erased by now."""
    what, names = finding.what.partition(" ")[0], finding.name.split(" ")
    if what == "erasure" or not finding.what.endswith((DIFFERENT, "only in the database")):
        return False
    with store.reading() as connection:
        if what == "row":
            row = select(db.dataset_rows.c.body).where(db.dataset_rows.c.row_id == finding.name)
            return bool((connection.execute(row).scalar() or {}).get("erased"))
        table = db.parts if what == "part" else db.records
        own = table.c.device == names[0], table.c.record_id == names[1]
        return connection.execute(select(table.c.device).where(*own)).first() is None


def _rows(connection: Connection) -> Iterator[tuple[str, dict[str, Any], bool]]:
    table = db.dataset_rows
    query = select(table.c.row_id, table.c.body, table.c.logged).order_by(table.c.seq)
    for row_id, body, logged in connection.execute(query.execution_options(yield_per=EVERY)):
        yield str(row_id), body, bool(logged)


def _row_places(log: Path, size: int) -> Iterator[tuple[str, int, int, int]]:
    for head in data.heads(log, up_to=size):
        yield head.row_id, 0, head.at, head.size


def _row_differences(lines: LineIndex, known: Iterable[tuple[str, dict[str, Any], bool]]) -> Iterator[HomeFinding]:
    """lines: of metadata.jsonl, by row id; known: (row id, body, logged) of the database"""
    for row_id, body, logged in known:
        line = lines.take(row_id)
        if line is None:
            if logged:  # others wait for the file, and are written into it by the next writer
                yield HomeFinding("row only in the database", row_id, remedy="written into metadata.jsonl")
        elif not _same_row(json.loads(line), body):
            yield HomeFinding(DIFFERENT, row_id, remedy="the database has it as metadata.jsonl does")
    for line in lines.unseen():
        row_id = sample_row.from_dict(json.loads(line)).row_id
        yield HomeFinding("row only in metadata.jsonl", row_id, remedy="taken into the database")


def _same_row(line: dict[str, Any], body: dict[str, Any]) -> bool:
    return line == body or _plain(line) == _plain(body)


def _fact_differences(lines: LineIndex, facts: Iterable[record_log.Line]) -> Iterator[HomeFinding]:
    """lines: the newest of records.jsonl; facts: as the database has them"""
    for fact in facts:
        key, text = record_log.key_of(fact), lines.take(record_log.name_of(fact))
        line = None if text is None else json.loads(text)
        if line is None or line["what"] in record_log.NO_FACTS:
            yield HomeFinding(f"{key[0]} only in the database", " ".join(key[1:]), remedy="written into records.jsonl")
        elif not record_log.same(fact, line):
            yield HomeFinding(
                f"{key[0]} differs", " ".join(key[1:]), remedy="records.jsonl has it as the database does"
            )
    for text in lines.unseen():
        line = json.loads(text)
        if line["what"] not in record_log.NO_FACTS:
            key = record_log.key_of(line)
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
