"""Homes of a server with many moments, made in minutes: database, logs and files say the same.

Rows are made by the server's own rules (compose, decide, the cells of statistics) for a few hundred kinds of moments;
each of the others is one of these under its own ids, walk and time. They are written as the merge writes them: records,
parts, rows, folds, decisions; what a night or a device would say of them is the same as of moments that came by MQTT.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from server import config
from server.database import bodies
from server.database import store as db
from server.database.bodies import said_by, to_text
from server.database.store import open_store
from server.dataset import judged, part_paths, record_log, rollups, row_log, sample_row, search_index, sought
from server.dataset.compose import KnownCorrection, compose
from server.dataset.folder import FOLDERS, Dataset
from server.dataset.sample_row import SampleRow
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import messages, vocabulary
from shared.messages import ChunkRecord, CorrectionRecord, Part

KINDS = 600
"""Moments that the rules are asked about."""
A_WALK = 400
"""Moments of one walk."""
DEVICES, WEARERS, MODELS = 40, 25, 30
REVIEWED, REJECTED, CORRECTED = 0.3, 0.03, 0.15
FIRST_S = 1_760_000_000.0
_STEM = "KIND-STEM-0000000"
_WALK = "KIND-WALK"
_BATCH = 5_000
_BETWEEN = "\x1e"
_AT_S, _RECEIVED_S, _DECIDED_S = 1234567890.125, 1234567950.125, 1234654290.125
_SIZES = {kind: 987_654_001 + number for number, kind in enumerate(FOLDERS)}
"""Marks of sizes."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A moment by the rules, with marks in the place of its ids, times, sizes and hashes."""

    records: tuple[dict[str, Any], ...]
    heard: dict[str, Any] | None
    rows: tuple[SampleRow, ...]
    decision: str


def build(home: Path, moments: int, *, own_files: bool, seed: int = 1) -> None:
    """Make a home. own_files: every moment has files of its own, of some bytes each; else 60 pictures and sounds serve
    for all of them."""
    config.init(home)
    open_store(home).close()
    dataset = Dataset(home / "dataset")
    dataset.create()
    draw = random.Random(seed)
    scripts = [_Script(_kind(draw)) for _ in range(KINDS)]
    files = _Files(dataset.folder, own=own_files)
    # Without a sync for every batch: what a crash would leave is deleted and made anew.
    with (
        closing(sqlite3.connect(home / db.DATABASE_NAME, isolation_level=None)) as connection,
        open(dataset.log, "wb") as log,
        open(dataset.records, "wb") as facts,
    ):
        for pragma in ("synchronous=OFF", "journal_mode=WAL", "cache_size=-400000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for start in range(0, moments, _BATCH):
            connection.execute("BEGIN")
            for number in range(start, min(start + _BATCH, moments)):
                script = scripts[draw.randrange(KINDS)]
                script.write(_Moment(number, script.kinds, files), connection, log, facts)
            connection.execute("COMMIT")
        walks = [(walk_name(number), "train", FIRST_S + number * 31.0) for number in range(0, moments, A_WALK)]
        connection.executemany("INSERT INTO walks VALUES (?, ?, ?)", walks)
        sizes = [(dataset.log.name, log.tell()), (dataset.records.name, facts.tell())]
        connection.executemany("INSERT INTO log_state VALUES (?, ?)", sizes)
        for _, statement in triggers:
            connection.execute(statement)
    _finish(home)


def _finish(home: Path) -> None:
    with closing(open_store(home)) as store:
        with store.writing() as connection:
            rollups.sum_again(connection)
            search_index.make_again(connection)
        rollups.fill(store)
    Dataset(home / "dataset").pack()  # as a running server does


def _kind(draw: random.Random) -> _Kind:
    """One moment as a wearer might have had it, from its record to a decision."""
    sentences = sorted(vocabulary.sayable())
    said = draw.choice((draw.choice(sentences), draw.choice(sentences), ""))
    model = f"2026-{draw.randrange(MODELS):02d}-night-starter"
    record = ChunkRecord(
        chunk_id=_STEM,
        device="KIND-DEVICE",
        boot_id="b00t",
        sequence=0,
        walk_id=_WALK,
        started_at_s=1.5,
        duration_s=2.0,
        captured_at_utc=_AT_S,
        clock_synced=True,
        flags=draw.choice((("low_confidence",), ("audit",), ("wearer",), ("low_confidence", "audit"))),
        raw_output=said,
        spoken=said if draw.random() < 0.7 else "",
        confidence=round(draw.random(), 3),
        model_version=model,
        parts=tuple(_part(kind) for kind in ("frame", "audio", "clip")),
        wearer=f"Wearer {draw.randrange(WEARERS)}",
        context=draw.choice(("", "to the market", "way to work")),
        width_px=640,
        height_px=360,
        fov_deg=78.0,
    )
    corrections = _corrections(draw, record, sentences)
    paths = {part.kind: _path(part.kind) for part in record.parts}
    first = compose(record, paths, corrections, current=None, split="train")
    assert first is not None
    decision = _decision(draw, sentences)
    rows = (first,) if decision is None else (first, decisions.decide(first, decision))
    return _Kind(
        records=tuple(messages.to_dict(one) for one in (record, *(known.record for known in corrections))),
        heard={"transcript": corrections[0].transcript, "proposal": corrections[0].proposal} if corrections else None,
        rows=rows,
        decision=decision.action if decision else "",
    )


def _corrections(draw: random.Random, about: ChunkRecord, sentences: list[str]) -> list[KnownCorrection]:
    """What the wearer said of some moments."""
    if draw.random() >= CORRECTED:
        return []
    own = CorrectionRecord(
        correction_id=f"{_STEM}-c",
        device="KIND-DEVICE",
        chunk_id=_STEM,
        wearer=about.wearer,
        started_at_s=3.0,
        duration_s=2.0,
        captured_at_utc=_AT_S,
        spoken=about.raw_output,
        model_version=about.model_version,
        parts=(_part("correction_audio"),),
    )
    proposal = draw.choice(sentences)
    return [KnownCorrection(own, _path("correction_audio"), proposal.lower(), 0.8, proposal)]


def _decision(draw: random.Random, sentences: list[str]) -> ReviewDecision | None:
    lot, who = draw.random(), f"caregiver {draw.randrange(4)}"
    if lot < REJECTED:
        return ReviewDecision("reject", who)
    if lot < REJECTED + REVIEWED:
        return ReviewDecision("edit", who, draw.choice(sentences))
    return None


def _part(kind: str) -> Part:
    return Part(kind, f"{kind}.bin", _SIZES[kind], hashlib.sha256(f"mark of {kind}".encode()).hexdigest())


def _path(kind: str) -> str:
    folder, suffix = FOLDERS[kind]
    return f"{folder}/{_part(kind).sha256}{suffix}"


class _Files:
    """Payload files, by their content's hash."""

    def __init__(self, folder: Path, *, own: bool) -> None:
        self._folder, self._own = folder, own
        self._known: dict[tuple[str, int], tuple[str, int]] = {}

    def of(self, kind: str, number: int) -> tuple[str, int]:
        """(hash, bytes) of the file of a moment, which lies in its place afterwards."""
        key = (kind, number if self._own and kind != "frame" else number % 60)
        if key not in self._known:
            data = _picture(key[1]) if kind == "frame" else f"{kind} {key[1]} ".encode() * 20
            if self._own and kind == "frame":
                data += str(number).encode()  # behind the end of the picture: readers pass over it
            known = hashlib.sha256(data).hexdigest(), len(data)
            folder, suffix = FOLDERS[kind]
            (self._folder / folder / f"{known[0]}{suffix}").write_bytes(data)
            if self._own:
                return known
            self._known[key] = known
        return self._known[key]


def _picture(number: int) -> bytes:
    """A small picture of its own."""
    noise = np.random.default_rng(number).integers(40, 220, (9, 16, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(noise, (160, 90), interpolation=cv2.INTER_CUBIC))[1].tobytes())


class _Body(str):
    """JSON that is compressed when it is written."""

    __slots__ = ()


class _Digest(str):
    """A hash that is written as its bytes."""

    __slots__ = ()


class _FileKey(str):
    """A path of which the key of the index is written."""

    __slots__ = ()


def _own(value: str, text: str) -> str | bytes | int:
    if isinstance(value, _FileKey):
        return part_paths.key_of(text)
    if isinstance(value, _Digest):
        return bytes.fromhex(text)
    return bodies.pack(text) if isinstance(value, _Body) else text


class _Taken:
    """Stands for the database while the statements about a kind are taken down."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []

    def execute(self, statement: str, values: list[Any]) -> None:
        self.calls.append((statement, values))


class _Script:
    """All that is written for a moment of one kind, with marks for what is its own."""

    def __init__(self, kind: _Kind) -> None:
        taken, rows = _Taken(), [{**sample_row.to_dict(row), "timestamp": _AT_S} for row in kind.rows]
        facts = list(_facts(kind))
        _insert_facts(taken, facts)
        _insert_rows(taken, kind, rows)
        self._statements = taken.calls
        texts = [value for _, values in taken.calls for value in values if isinstance(value, str)]
        self._blob = _BETWEEN.join([*map(_line, rows), *map(_line, facts), *texts])
        self._lines = len(rows), len(facts)
        self.kinds = [part["kind"] for record in kind.records for part in record["parts"]]

    def write(self, one: _Moment, connection: sqlite3.Connection, log: Any, facts: Any) -> None:
        """Write it under a moment's names."""
        texts = iter(one.named(self._blob).split(_BETWEEN))
        rows, lines = self._lines
        log.writelines(next(texts).encode() for _ in range(rows))
        facts.writelines(next(texts).encode() for _ in range(lines))
        for statement, values in self._statements:
            own = [_own(it, next(texts)) if isinstance(it, str) else one.numbers.get(it, it) for it in values]
            connection.execute(statement, own)


class _Moment:
    """The names of one moment."""

    def __init__(self, number: int, kinds: Sequence[str], files: _Files) -> None:
        walk = number // A_WALK
        device = f"device-{walk % DEVICES:03d}"
        at_s = FIRST_S + number * 31.0
        self.numbers: dict[Any, Any] = {_AT_S: at_s, _RECEIVED_S: at_s + 60.0, _DECIDED_S: at_s + 86_400.0}
        self._names = {
            _STEM: f"{device}-b00t{walk % 97:02d}-{number:07d}",
            _WALK: walk_name(number),
            "KIND-DEVICE": device,
            judged.span_of(_AT_S, by="day"): judged.span_of(at_s, by="day"),
            **{str(old): str(new) for old, new in self.numbers.items()},
        }
        for kind in kinds:
            sha256, size = files.of(kind, number)
            self._names |= {_part(kind).sha256: sha256, str(_SIZES[kind]): str(size)}
            self.numbers[_SIZES[kind]] = size

    def named(self, text: str) -> str:
        """A kind's text under this moment's names."""
        for old, new in self._names.items():
            text = text.replace(old, new)
        return text


def walk_name(number: int) -> str:
    """The walk of a moment."""
    return f"walk-{number // A_WALK:06d}"


def _facts(kind: _Kind) -> Iterator[dict[str, Any]]:
    """What records.jsonl says of it."""
    received = {"device": "KIND-DEVICE", "received_at": _RECEIVED_S}
    for body in kind.records:
        record_id = body.get("correction_id") or body["chunk_id"]
        sort = "correction" if "correction_id" in body else "chunk"
        named = {**received, "record_id": record_id}
        yield record_log.line_about("record", {**named, "kind": sort, "chunk_id": _STEM, "body": body})
        for part in body["parts"]:
            values = {name: part[name] for name in ("kind", "sha256", "size_bytes")}
            yield record_log.line_about("part", {**named, **values, "path": _path(part["kind"])})
    if kind.heard is not None:
        about = {"device": "KIND-DEVICE", "record_id": f"{_STEM}-c", "heard_confidence": 0.8}
        yield record_log.line_about("heard", {**about, **kind.heard})


def _insert_facts(taken: _Taken, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["what"] == "record":
            names: tuple[str, ...] = ("device", "record_id", "kind", "chunk_id", "body", "received_at")
        elif line["what"] == "part":
            own = {"what": "part", "sha256": _Digest(line["sha256"]), "file": _FileKey(line["path"])}
            line = part_paths.stored(line) | own
            names = tuple(column.name for column in db.parts.columns)
        else:
            heard = [line[name] for name in ("transcript", "heard_confidence", "proposal", "device", "record_id")]
            taken.execute(_HEARD, heard)
            continue
        values = [_Body(to_text(line[name])) if name == "body" else line[name] for name in names]
        if line["what"] == "record":
            said = ("walk_id", "wearer", "context")
            names, values = (*names, *said), [*values, *(said_by(line["body"], name) for name in said)]
        _insert(taken, f"{line['what']}s", names, values)


def _insert_rows(taken: _Taken, kind: _Kind, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        values = [row["row_id"], row["sample_id"], _Body(to_text(row)), 1]
        _insert(taken, "dataset_rows", ("row_id", "sample_id", "body", "logged"), values)
    newest = sample_row.from_dict(rows[-1])
    fold = row_log.fold_of(newest, rows[-1], now_s=_DECIDED_S if len(rows) > 1 else _RECEIVED_S)
    own = fold | {"body": _Body(to_text(fold["body"])), "cells": json.dumps(fold["cells"])}
    _insert(taken, "samples", tuple(own), list(own.values()))
    found_by = sought.row_of(newest) | {name: fold[name] for name in sought.PLACE}
    _insert(taken, "sought", tuple(found_by), list(found_by.values()))
    if len(rows) > 1:
        names = ("sample_id", "at", "reviewer", "action", "before", "after")
        wordings = [_Body(to_text(row)) for row in rows]
        _insert(taken, "reviews", names, [_STEM, _DECIDED_S, newest.author, kind.decision, *wordings])
        taken.execute("INSERT INTO review_acts VALUES (last_insert_rowid(), last_insert_rowid(), NULL)", [])


def _insert(taken: _Taken, table: str, names: tuple[str, ...], values: list[Any]) -> None:
    marks = ", ".join("?" * len(names))
    listed = ", ".join(f'"{name}"' for name in names)
    taken.execute(f'INSERT INTO "{table}" ({listed}) VALUES ({marks})', values)  # noqa: S608  names of ours


_HEARD = "UPDATE records SET transcript = ?, heard_confidence = ?, proposal = ? WHERE device = ? AND record_id = ?"


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
