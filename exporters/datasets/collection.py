"""Samples of the training-data collection layout: one line of `samples.jsonl`, or one row of `training_samples`.

    training_data/
    ├── videos/training_{milliseconds}.avi
    ├── samples.jsonl           one JSON object a line, or
    └── samples.sqlite          the table training_samples

    {"id", "video_path", "raw_output", "llm_correction", "ground_truth", "timestamp", "was_correct",
     "metadata": {"speaker", "context"}}

The table has exactly the columns of that layout. What it has no column for, an id that is no number and fields of other
tools, stands beside it in `training_samples_more`, so that a sample that goes through either form comes back equal.
`ground_truth` and `was_correct` are null where nobody has decided yet.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import DatasetError

FOLDER = "training_data"
JSONL_NAME = "samples.jsonl"
SQLITE_NAME = "samples.sqlite"
_FIELDS = ("id", "video_path", "raw_output", "llm_correction", "ground_truth", "timestamp", "was_correct", "metadata")
_COLUMNS = (
    "id", "video_path", "raw_output", "llm_correction", "ground_truth", "timestamp", "speaker_id", "context",
    "was_correct",
)  # fmt: skip
_SCHEMA = """\
CREATE TABLE training_samples (
    id INTEGER PRIMARY KEY,
    video_path TEXT,
    raw_output TEXT,
    llm_correction TEXT,
    ground_truth TEXT,
    timestamp REAL,
    speaker_id TEXT,
    context TEXT,
    was_correct BOOLEAN
);
"""
_MORE = "CREATE TABLE training_samples_more (id INTEGER PRIMARY KEY, sample_id TEXT NOT NULL, more TEXT NOT NULL);"
_INSERT = "INSERT INTO training_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = (
    "SELECT id, video_path, raw_output, llm_correction, ground_truth, timestamp, speaker_id, context, was_correct"
    " FROM training_samples ORDER BY id"
)
_PLAIN_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
_LARGEST_ID = 2**63 - 1
_LATEST_S = 253_402_300_799.0
"""The end of the year 9999, the last second that a date can be made of."""
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedSample:
    """One utterance: what was worded, what it was corrected to, and what was right."""

    id: str
    video_path: str
    """As written; only `Collection.video` makes a file of it."""
    raw_output: str
    llm_correction: str
    ground_truth: str | None
    """None = nobody has decided."""
    timestamp: float
    """Seconds since 1970 in UTC."""
    was_correct: bool | None
    speaker: str = ""
    context: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Fields of other tools; "metadata" holds those inside of it."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Samples and the folder that their videos lie in."""

    file: Path
    samples: tuple[tuple[str, CollectedSample], ...]
    """(where it stands, such as "samples.jsonl, line 3", sample), each id once: the newest."""
    notes: tuple[str, ...] = ()

    def video(self, sample: CollectedSample) -> Path:
        """The sample's film: from the file's folder, or from where that lies. Raises: DatasetError where it is missing
        or lies outside of the folder."""
        root = self.file.resolve().parent
        for base in (root, root.parent):
            try:
                path = (base / sample.video_path).resolve()
                if path.is_file() and path.is_relative_to(root):
                    return path
            except (OSError, ValueError):
                continue  # a name that no file can have
        raise DatasetError(f"its video {sample.video_path!r:.120} is missing, or lies outside of {root}.")


def find(path: Path) -> Path | None:
    """The file with the samples that a person means by a file or folder; None where it is no such collection."""
    if path.is_file():
        return path if path.suffix in (".jsonl", ".sqlite", ".sqlite3", ".db") else None
    names = (folder / name for folder in (path, path / FOLDER) for name in (JSONL_NAME, SQLITE_NAME))
    return next((file for file in names if file.is_file()), None)


def read(file: Path) -> Collection:
    """All samples of a `samples.jsonl` or a SQLite file.

    raises: DatasetError naming every line that is none, up to ten; OSError
    """
    source = _json_lines(file) if file.suffix == ".jsonl" else _table_rows(file)
    newest: dict[str, tuple[str, CollectedSample]] = {}
    bad, notes = list[str](), list[str]()
    for where, make in source:
        try:
            sample = make()
        except _BadError as error:
            bad.append(f"{where}: {error}.")
            continue
        if sample.id in newest:
            notes.append(
                f"{where}: the id {sample.id!r:.60} stands at {newest.pop(sample.id)[0]} too; this one counts."
            )
        newest[sample.id] = (where, sample)
    if bad:
        rest = [f"and {len(bad) - _MOST_TOLD} more."] if len(bad) > _MOST_TOLD else []
        hint = "Mend these or take them out; nothing was brought in."
        raise DatasetError("\n".join((*bad[:_MOST_TOLD], *rest)), hint=hint)
    return Collection(file, tuple(newest.values()), tuple(notes))


def to_dict(sample: CollectedSample) -> dict[str, Any]:
    """A sample as the JSON object of its line. Pure."""
    more = dict(sample.more)
    inside = more.pop("metadata", {})
    return {
        "id": sample.id,
        "video_path": sample.video_path,
        "raw_output": sample.raw_output,
        "llm_correction": sample.llm_correction,
        "ground_truth": sample.ground_truth,
        "timestamp": sample.timestamp,
        "was_correct": sample.was_correct,
        "metadata": {"speaker": sample.speaker, "context": sample.context, **inside},
        **more,
    }


def from_dict(value: Any) -> CollectedSample:
    """The sample of a JSON object. Pure. Raises: DatasetError naming the field."""
    try:
        return _from_json(value)
    except _BadError as error:
        raise DatasetError(f"{error}.") from None


def write_table(path: Path, samples: Sequence[CollectedSample]) -> None:
    """A new SQLite file with these samples. Raises: OSError."""
    numbers = _numbers(samples)
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA synchronous = OFF")  # the folder under construction is synced as one
            database.executescript(_SCHEMA)
            database.executemany(_INSERT, map(_row_of, numbers, samples))
            besides = [
                (number, sample.id, json.dumps(sample.more))
                for number, sample in zip(numbers, samples, strict=True)
                if str(number) != sample.id or sample.more
            ]
            if besides:
                database.execute(_MORE)
                database.executemany("INSERT INTO training_samples_more VALUES (?, ?, ?)", besides)
    except sqlite3.Error as error:
        raise OSError(f"{path} could not be written ({error}).") from error


def _numbers(samples: Sequence[CollectedSample]) -> list[int]:
    """The ids themselves where all are numbers, else 1, 2, ..."""
    ids = [sample.id for sample in samples]
    if all(map(_PLAIN_NUMBER.match, ids)):
        numbers = list(map(int, ids))
        if len(set(numbers)) == len(ids) and max(numbers, default=0) <= _LARGEST_ID:
            return numbers
    return list(range(1, len(ids) + 1))


def _row_of(number: int, sample: CollectedSample) -> tuple[Any, ...]:
    return (
        number,
        sample.video_path,
        sample.raw_output,
        sample.llm_correction,
        sample.ground_truth,
        sample.timestamp,
        sample.speaker,
        sample.context,
        sample.was_correct,
    )


Source = Iterator[tuple[str, Callable[[], CollectedSample]]]


def _json_lines(file: Path) -> Source:
    """Also a last line without its end: where it was cut off, it is no JSON, and named."""
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{file}, line {number}", lambda line=line: _from_json(_parsed(line))  # type: ignore[misc]


def _parsed(text: bytes | str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _BadError(f"it is not JSON ({error})") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _table_rows(file: Path) -> Source:
    uri = f"{file.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            lacking = set(_COLUMNS) - {column[1] for column in database.execute("PRAGMA table_info(training_samples)")}
            if lacking:
                raise DatasetError(
                    f"{file} has no table training_samples with the columns {', '.join(sorted(lacking))}.",
                    hint="Name a file that a collection of training samples was stored in.",
                )
            more = _besides(database)
            for row in database.execute(_SELECT):
                where = f"{file}, training_samples, id {row[0]}"
                yield where, lambda row=row: _from_row(row, more.get(row[0]))  # type: ignore[misc]
    except sqlite3.Error as error:
        raise DatasetError(f"{file} cannot be read as a SQLite database ({error}).", hint="Copy it again.") from None


def _besides(database: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    query = "SELECT name FROM sqlite_master WHERE name = 'training_samples_more'"
    if database.execute(query).fetchone() is None:
        return {}
    rows = database.execute("SELECT id, sample_id, more FROM training_samples_more")
    return {number: (sample_id, more) for number, sample_id, more in rows}


def _from_row(row: Sequence[Any], besides: tuple[str, str] | None) -> CollectedSample:
    named = dict(zip(_COLUMNS, row, strict=True))
    sample_id, more = besides or (str(named["id"]), "{}")
    mark = named["was_correct"]
    if mark not in (None, 0, 1):
        raise _BadError("was_correct is neither true nor false")
    return _sample(
        {**named, "id": sample_id, "was_correct": None if mark is None else bool(mark)},
        speaker=named["speaker_id"],
        context=named["context"],
        more=_table(_parsed(_text(more, "more")), "more"),
    )


def _from_json(value: Any) -> CollectedSample:
    value = _table(value, "it")
    lacking = [name for name in _FIELDS[:-1] if name not in value]
    if lacking:
        raise _BadError(f"it has no {', '.join(lacking)}")
    inside = dict(_table(value.get("metadata") or {}, "metadata"))
    speaker, context = inside.pop("speaker", ""), inside.pop("context", "")
    more = {name: other for name, other in value.items() if name not in _FIELDS}
    return _sample(value, speaker=speaker, context=context, more={**more, "metadata": inside} if inside else more)


def _sample(value: Mapping[str, Any], *, speaker: Any, context: Any, more: Mapping[str, Any]) -> CollectedSample:
    number = value["id"]
    sample_id = str(number) if isinstance(number, int) and not isinstance(number, bool) else _text(number, "id")
    truth, mark = value["ground_truth"], value["was_correct"]
    if not sample_id:
        raise _BadError("its id is empty")
    if not (mark is None or isinstance(mark, bool)):
        raise _BadError("was_correct is neither true nor false")
    _text(json.dumps(more, ensure_ascii=False), "a field of another tool")
    return CollectedSample(
        id=sample_id,
        video_path=_text(value["video_path"], "video_path"),
        raw_output=_text(value["raw_output"], "raw_output"),
        llm_correction=_text(value["llm_correction"], "llm_correction"),
        ground_truth=None if truth is None else _text(truth, "ground_truth"),
        timestamp=_seconds(value["timestamp"]),
        was_correct=mark,
        speaker=_text(speaker, "speaker"),
        context=_text(context, "context"),
        more=more,
    )


def _text(value: Any, name: str) -> str:
    """Null is an empty text: columns of a table may be null."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _BadError(f"{name} is no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _BadError(f"{name} holds half a character") from None
    return value


def _seconds(value: Any) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LATEST_S
    if not fits or not math.isfinite(value) or value < 0:
        raise _BadError("timestamp is no time in seconds since 1970")
    return float(value)


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _BadError(f"{name} is no JSON object")
    return value


class _BadError(Exception):
    """A line is no sample, and why."""


def named_videos(samples: Iterable[CollectedSample]) -> list[str]:
    """training_{milliseconds}.avi for each, of its own where two are of one moment. Pure."""
    taken, names = set[int](), list[str]()
    for sample in samples:
        number = round(sample.timestamp * 1000)
        while number in taken:
            number += 1
        taken.add(number)
        names.append(f"training_{number}.avi")
    return names
