"""The collection layout: samples.jsonl and the table training_samples."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.datasets import collection
from exporters.datasets.collection import CollectedSample
from shared.errors import DatasetError

SEED_LINE = {
    "id": "uuid-here",
    "video_path": "training_data/videos/sample_001.avi",
    "raw_output": "I HAVE READ MANY BOOKS",
    "llm_correction": "I have read many books.",
    "ground_truth": "I have read many books about this subject.",
    "timestamp": 1765076400.0,
    "was_correct": False,
    "metadata": {"speaker": "user_1", "context": "discussing reading habits"},
}
COLUMNS = [
    ("id", "INTEGER"), ("video_path", "TEXT"), ("raw_output", "TEXT"), ("llm_correction", "TEXT"),
    ("ground_truth", "TEXT"), ("timestamp", "REAL"), ("speaker_id", "TEXT"), ("context", "TEXT"),
    ("was_correct", "BOOLEAN"),
]  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
more = st.dictionaries(
    texts.filter(lambda name: name not in collection._FIELDS), st.none() | st.booleans() | st.integers() | texts
)
inside = st.dictionaries(
    texts.filter(lambda name: name not in ("speaker", "context")), st.integers() | texts, min_size=1, max_size=2
)
samples = st.builds(
    CollectedSample,
    id=st.one_of(texts.filter(bool), st.integers(0, 2**63 - 1).map(str)),
    video_path=texts,
    raw_output=texts,
    llm_correction=texts,
    ground_truth=st.none() | texts,
    timestamp=st.floats(0, 2e9),
    was_correct=st.none() | st.booleans(),
    speaker=texts,
    context=texts,
    more=st.builds(lambda outer, inner: {**outer, **({"metadata": inner} if inner else {})}, more, st.none() | inside),
)
many = st.lists(samples, max_size=4, unique_by=lambda sample: sample.id)
quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def through_json(path: Path, some: list[CollectedSample]) -> list[CollectedSample]:
    path.write_text("".join(json.dumps(collection.to_dict(sample)) + "\n" for sample in some), encoding="utf-8")
    return [sample for _, sample in collection.read(path).samples]


def through_table(path: Path, some: list[CollectedSample]) -> list[CollectedSample]:
    path.unlink(missing_ok=True)
    collection.write_table(path, some)
    read = [sample for _, sample in collection.read(path).samples]
    return sorted(read, key=lambda sample: [one.id for one in some].index(sample.id))


@quick
@given(many)
def test_samples_go_through_lines_and_table_in_both_directions_and_come_back_equal(
    tmp_path: Path, some: list[CollectedSample]
) -> None:
    lines, table = tmp_path / "samples.jsonl", tmp_path / "samples.sqlite"
    assert through_json(lines, some) == some
    assert through_table(table, some) == some
    assert through_table(table, through_json(lines, some)) == some
    assert through_json(lines, through_table(table, some)) == some


def test_the_line_of_the_layouts_own_example_is_written_back_to_the_same_object() -> None:
    assert collection.to_dict(collection.from_dict(SEED_LINE)) == SEED_LINE
    assert list(collection.to_dict(collection.from_dict(SEED_LINE))) == list(SEED_LINE)


def test_a_line_as_the_minimal_writer_appends_it_is_read_although_it_has_no_metadata() -> None:
    line = {name: value for name, value in SEED_LINE.items() if name != "metadata"}
    assert collection.from_dict(line).speaker == ""


def test_the_table_has_exactly_the_columns_of_the_layout(tmp_path: Path) -> None:
    collection.write_table(tmp_path / "samples.sqlite", [collection.from_dict({**SEED_LINE, "id": "7"})])
    with sqlite3.connect(tmp_path / "samples.sqlite") as database:
        assert [column[1:3] for column in database.execute("PRAGMA table_info(training_samples)")] == COLUMNS
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("training_samples",)]
        assert database.execute("SELECT id, was_correct FROM training_samples").fetchall() == [(7, 0)]


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in SEED_LINE.items() if key != name}).encode()


def changed(**values: Any) -> bytes:
    return json.dumps({**SEED_LINE, **values}).encode()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"id": "cut o', "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is no JSON object"),
        (without("ground_truth"), "it has no ground_truth"),
        (changed(raw_output=3), "raw_output is no text"),
        (changed(id=""), "its id is empty"),
        (changed(id=True), "id is no text"),
        (changed(timestamp="now"), "timestamp is no time"),
        (changed(timestamp=float("nan")), "it is not JSON (NaN is no number)"),
        (changed(timestamp=-1), "timestamp is no time"),
        (changed(timestamp=1e300), "timestamp is no time"),
        (changed(was_correct="no"), "was_correct is neither true nor false"),
        (changed(metadata=[1]), "metadata is no JSON object"),
        (changed(metadata={"speaker": 1}), "speaker is no text"),
        (changed(context_id="\ud800"), "a field of another tool holds half a character"),
        (changed(raw_output="\ud800"), "raw_output holds half a character"),
    ],
)
def test_a_line_that_is_no_sample_is_named_with_its_file_and_number(tmp_path: Path, line: bytes, why: str) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(json.dumps(SEED_LINE).encode() + b"\n\n" + line)
    with pytest.raises(DatasetError) as refused:
        collection.read(file)
    assert f"{file}, line 3: {why}" in str(refused.value)
    assert f"{file}, line 1" not in str(refused.value)


def test_a_whole_last_line_without_its_end_is_read(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(json.dumps(SEED_LINE).encode())
    assert len(collection.read(file).samples) == 1


def test_of_two_lines_with_one_id_the_later_counts_and_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(changed() + b"\n" + changed(ground_truth="Stop, curb ahead.") + b"\n")
    read = collection.read(file)
    assert [sample.ground_truth for _, sample in read.samples] == ["Stop, curb ahead."]
    assert "line 2: the id 'uuid-here' stands at" in read.notes[0]


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE training_samples SET was_correct = 'maybe'", "id 1: was_correct is neither"),
        ("UPDATE training_samples SET timestamp = 'soon'", "id 1: timestamp is no time"),
        ("UPDATE training_samples SET raw_output = x'00ff'", "id 1: raw_output is no text"),
        ("UPDATE training_samples_more SET more = 'x'", "id 1: it is not JSON"),
        ("UPDATE training_samples_more SET more = '[5]'", "id 1: more is no JSON object"),
        ("ALTER TABLE training_samples DROP COLUMN context", "with the columns context"),
        ("DROP TABLE training_samples", "no table training_samples"),
    ],
)
def test_a_row_of_the_table_that_is_no_sample_is_named(tmp_path: Path, statement: str, why: str) -> None:
    file = tmp_path / "samples.sqlite"
    collection.write_table(file, [collection.from_dict(SEED_LINE)])
    with sqlite3.connect(file) as database:
        database.execute(statement)
    with pytest.raises(DatasetError, match=why):
        collection.read(file)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(DatasetError, match="cannot be read as a SQLite database"):
        collection.read(tmp_path / "samples.sqlite")


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.avi", "videos/link.avi", "videos/none.avi", "a\0b", ""])
def test_a_video_outside_of_the_folder_is_never_opened(tmp_path: Path, path: str) -> None:
    root = tmp_path / "training_data"
    (root / "videos").mkdir(parents=True)
    (tmp_path / "outside.avi").write_bytes(b"x")
    (root / "videos" / "link.avi").symlink_to(tmp_path / "outside.avi")
    file = root / "samples.jsonl"
    file.write_bytes(changed(video_path=path))
    read = collection.read(file)
    with pytest.raises(DatasetError, match="missing, or lies outside"):
        read.video(read.samples[0][1])


def test_a_video_is_found_from_the_folder_and_from_where_that_lies(tmp_path: Path) -> None:
    root = tmp_path / "training_data"
    (root / "videos").mkdir(parents=True)
    (root / "videos" / "training_1.avi").write_bytes(b"x")
    (root / "samples.jsonl").write_bytes(changed())
    read = collection.read(root / "samples.jsonl")
    for path in ("videos/training_1.avi", "training_data/videos/training_1.avi"):
        sample = replace(read.samples[0][1], video_path=path)
        assert read.video(sample) == root / "videos" / "training_1.avi"


def test_videos_of_one_moment_are_named_apart() -> None:
    sample = collection.from_dict(SEED_LINE)
    names = collection.named_videos([sample, sample, replace(sample, timestamp=1765076400.001)])
    assert names == ["training_1765076400000.avi", "training_1765076400001.avi", "training_1765076400002.avi"]
