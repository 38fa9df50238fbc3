"""records.jsonl: everything that devices sent and the server took, beside the dataset's rows, as an append-only log.

The database's tables of records and parts are what makes a repeated message harmless. This file holds the same facts in
the dataset folder, so that a lost database can be built again and still knows what it had taken:

    {"what": "record", "device", "kind", "record_id", "chunk_id", "received_at", "body"}     a sidecar
    {"what": "part", "device", "record_id", "kind", "sha256", "size_bytes", "path", "received_at"}
    {"what": "heard", "device", "record_id", "transcript", "heard_confidence", "proposal", "choices"?}   of a correction
    {"what": "lost", "device", "record_id", "kind", "sha256"}                                its bytes are gone
    {"what": "erasure", "device", "record_id", "received_at", "body"}      a wearer's wish; record_id: its erase_id
    {"what": "erased", "device", "record_id"}                              in the place of a line that it blanked

Rules that it keeps:

1. A line is on disk before the transaction that says the same is committed, and so before anything is acknowledged.
   A crash between the two leaves lines that the database lacks: `server.dataset.recover` takes them in at the next
   start.
2. A line may be there twice; reading it again changes nothing. A later line wins over an earlier one of the same key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, delete, insert, select, update

from server.database import store as db
from server.dataset import line_log, part_paths, row_log, wishes
from server.dataset.folder import RECORDS_NAME, Dataset, log_lines
from server.dataset.line_index import LineIndex
from shared import topics
from shared.errors import DatasetError

_RECORD = ("device", "kind", "record_id", "chunk_id", "received_at", "body")
_PART = ("device", "record_id", "kind", "sha256", "size_bytes", "path", "received_at")
_HEARD = ("device", "record_id", "transcript", "heard_confidence", "proposal")
CHOICES = "choices"
"""Of a line about what was heard, beside its fields: lines from before have none."""
_LOST = ("device", "record_id", "kind", "sha256")
_ERASURE = ("device", "record_id", "received_at", "body")
ERASED = ("device", "record_id")
FIELDS = {
    "record": _RECORD, "part": _PART, "heard": _HEARD, "lost": _LOST, "erasure": _ERASURE, "erased": ERASED,
}  # fmt: skip
NO_FACTS = ("lost", "erased")
"""Lines that say that something is not there any more."""
_MEND = "Mend it: waycue-server check --repair"
_NUMBERS = ("received_at", "heard_confidence", "size_bytes")

Line = Mapping[str, Any]


def line_about(what: str, row: Mapping[str, Any] | RowMapping) -> dict[str, Any]:
    """A line about a row of the database's table of the same facts."""
    more = {CHOICES: row[CHOICES]} if what == "heard" and row.get(CHOICES) else {}
    return {"what": what, **_values(row, FIELDS[what]), **more}


def key_of(line: Line) -> tuple[str, ...]:
    """What a line is about: a later line of the same key says how it is now."""
    own = (str(line["device"]), str(line["record_id"]))
    return ("part", *own, str(line["kind"])) if line["what"] in ("part", "lost") else (str(line["what"]), *own)


def same(line: Line, other: Line | None) -> bool:
    """Whether two lines about one thing say the same of it."""
    return other is not None and all(line[n] == other[n] for n in FIELDS[line["what"]] if n != "received_at")


def read(path: Path, *, from_byte: int = 0) -> Iterator[dict[str, Any]]:
    """The whole lines of the log. Raises: DatasetError naming one that cannot be read."""
    for where, text in log_lines(path, from_byte=from_byte):
        yield parse(text, where=where)


def parse(text: bytes, *, where: str) -> dict[str, Any]:
    """One line, strictly. Raises: DatasetError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is not JSON ({error}).", hint=_MEND) from None
    if not isinstance(value, dict) or value.get("what") not in tuple(FIELDS):
        raise DatasetError(f"{where} says nothing that is known.", hint=_MEND)
    for name in FIELDS[value["what"]]:
        if not _is_valid(name, value.get(name)):
            raise DatasetError(f"{where} has no valid {name}.", hint=_MEND)
    if not (topics.DEVICE_NAME.match(value["device"]) and topics.NAME.match(value["record_id"])):
        raise DatasetError(f"{where} names no device and record.", hint=_MEND)
    return value


def _is_valid(name: str, value: object) -> bool:
    """Whether a field may have this value."""
    if name == "sha256":
        return isinstance(value, str) and topics.SHA256.match(value) is not None
    return isinstance(value, dict if name == "body" else (int, float) if name in _NUMBERS else str)


def facts(connection: Connection) -> Iterator[dict[str, Any]]:
    """What the database knows, as the lines that say so, roughly in the order received: that of the tables, which no
    sorting holds up."""
    r = db.records
    for row in _streamed(connection, select(r)):
        yield line_about("record", row)
    for row in _streamed(connection, part_paths.rows()):
        yield line_about("part", row)
    for row in connection.execute(select(db.erasures).order_by(db.erasures.c.received_at)).mappings():
        yield line_about("erasure", {**row, "record_id": row["erase_id"]})
    for row in _streamed(connection, select(r).where(r.c.transcript.is_not(None))):
        sure, proposal = row["heard_confidence"] or 0.0, row["proposal"] or ""
        yield line_about("heard", {**row, "heard_confidence": sure, "proposal": proposal})


def _streamed(connection: Connection, query: Select[Any]) -> Iterable[RowMapping]:
    return connection.execute(query.execution_options(yield_per=1000)).mappings()


def take_in(connection: Connection, lines: Iterable[Line]) -> tuple[int, set[tuple[str, str]]]:
    """Write into the database what it lacks of `lines`, of which there is one about each thing, in the order of
    `newest`.

    Returns how many changed something, and the (device, record id) that they are about.
    """
    changed, about = 0, set[tuple[str, str]]()
    for line in lines:
        if _taken(connection, line):
            changed += 1
            about.add((line["device"], line["record_id"]))
    return changed, about


def catch_up(connection: Connection, dataset: Dataset, known_size: int) -> set[tuple[str, str]]:
    """Inside a transaction, and inside `dataset.appending()`: take in what an interrupted writer left in the log.

    Returns the (device, record id) that it is about. Only the tail is read; a file that is shorter than remembered is
    for `server.dataset.recover`.
    """
    size = line_log.size(dataset.records)
    if size <= known_size:
        return set()
    _, about = take_in(connection, newest(read(dataset.records, from_byte=known_size)))
    row_log.remember_size(connection, RECORDS_NAME, size)
    return about


def newest(lines: Iterable[Line]) -> Sequence[Line]:
    """The last line about everything, in the order of the log."""
    last: dict[tuple[str, ...], Line] = {}
    for line in lines:
        last.pop(key_of(line), None)
        last[key_of(line)] = line
    # What was heard in a correction is written into its record's row, so that must be there first.
    return sorted(last.values(), key=lambda line: line["what"] == "heard")


def name_of(line: Line) -> str:
    """`key_of` as one text."""
    return " ".join(key_of(line))  # no name has a blank in it


def index_of(path: Path, *, up_to: int | None = None) -> LineIndex:
    """Where the newest line about each thing stands, with flat memory. up_to: bytes of the log that are looked at

    raises: DatasetError naming a line that cannot be read
    """
    index = LineIndex(path)
    index.add(_places(path, up_to))
    return index


def _places(path: Path, up_to: int | None) -> Iterator[tuple[str, int, int, int]]:
    for number, (at, text) in enumerate(line_log.lines(path), start=1):
        if up_to is not None and at >= up_to:
            return
        yield name_of(parse(text, where=f"{path}, line {number}")), 0, at, len(text)


def in_order(index: LineIndex) -> Iterator[Line]:
    """The newest line about everything, as `newest` orders them."""
    for heard in (False, True):
        for text in index.newest():
            line = json.loads(text)
            if (line["what"] == "heard") == heard:
                yield line


def _taken(connection: Connection, line: Line) -> bool:
    """Whether it changed something."""
    match line["what"]:
        case "erased":
            return False
        case "erasure":
            return wishes.remember(connection, line)
        case _:
            return _take(connection, line)


def _take(connection: Connection, line: Line) -> bool:
    """The same for a line about a record or a file."""
    what = line["what"]
    table = db.parts if what in ("part", "lost") else db.records
    key = [table.c.device == line["device"], table.c.record_id == line["record_id"]]
    if table is db.parts:
        key.append(table.c.kind == line["kind"])
    known = connection.execute(select(table).where(*key)).mappings().first()
    if known is None:
        if what in ("record", "part"):
            own = part_paths.stored(line) if what == "part" else _values(line, FIELDS[what])
            connection.execute(insert(table).values(**own))
        return what in ("record", "part")
    if what == "lost" and known["sha256"] == line["sha256"]:
        return bool(connection.execute(delete(table).where(*key)).rowcount)
    if what == "heard" and known["transcript"] is None:
        values = _values(line, ("transcript", "heard_confidence", "proposal")) | {CHOICES: line.get(CHOICES)}
        return bool(connection.execute(update(table).where(*key).values(**values)).rowcount)
    return False


def _values(row: Line | RowMapping, names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}
