"""What an evaluation is judged on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from server.evaluation import annotated, rendered
from server.evaluation.annotated import Span, events
from server.evaluation.facts import Truth
from server.labelling import folder as label
from server.labelling.footage import Chunk
from server.walks import plan_walk, write_video
from shared import vocabulary
from shared.errors import DatasetError
from tests.paths import DATA
from tests.server.evaluation.stage import BIN, CURB, event

CLEAR = vocabulary.CLEAR


def test_rendered_walks_are_the_same_for_the_same_numbers() -> None:
    one, two = (list(rendered.courses(2, minutes=0.1, seed=4)) for _ in range(2))
    assert [(c.name, c.events) for c in one] == [(c.name, c.events) for c in two]
    assert [c.group for c in one] == list(rendered.SCENES)[:2]
    assert next(iter(rendered.courses(1, minutes=0.1, seed=5))).events != one[0].events


def test_each_rendered_picture_has_its_truth_and_chunk_middles_are_judged() -> None:
    frames = list(rendered.course("rain", seed=1, duration_s=4.0).frames())
    assert len(frames) == 16
    assert [frame.t_s for frame in frames if frame.sampled] == [1.0, 3.0]
    for frame in frames:
        assert frame.truth is not None
        assert frame.truth.silent == (not frame.truth.there)


def test_a_thing_in_consecutive_spans_is_one_event() -> None:
    def span(start: float, *things: tuple[str, str]) -> Span:
        return Span(start, start + 2, Truth((CLEAR,), frozenset(things)))

    found = events([span(0, CURB, BIN), span(2, CURB), span(4), span(6, CURB)])
    assert found == (event(CURB, 0, 4), event(BIN, 0, 2), event(CURB, 6, 8))


def test_a_video_with_references_is_a_course(tmp_path: Path) -> None:
    walk = plan_walk(7, duration_s=4.0)
    write_video(walk, tmp_path / "w.mp4", fps=10, width_px=160, height_px=120)
    lines = [
        {
            "chunk": 0,
            "start_s": 0.0,
            "end_s": 2.0,
            "references": ["Stop, curb ahead."],
            "objects": [{"object": "curb", "side": "ahead", "tier": 1}, {"object": "bin", "side": "left", "tier": 2}],
        },
        {"chunk": 1, "start_s": 2.0, "end_s": 4.0, "references": [], "objects": []},
    ]
    (tmp_path / "w.references.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    [course] = annotated.courses(tmp_path, looks_per_s=4.0)
    assert course.events == (event(CURB, 0, 2), event(BIN, 0, 2))
    frames = list(course.frames())
    assert 15 <= len(frames) <= 17
    judged = [frame for frame in frames if frame.sampled]
    assert [frame.truth.silent for frame in judged if frame.truth] == [False, True]
    assert [round(frame.t_s) for frame in judged] == [1, 3]


def test_labelled_pictures_are_walks_of_stills(tmp_path: Path) -> None:
    rows = []
    for number, (walk, text, things) in enumerate(
        [
            ("a", "Caution, bin on the left.", [{"object": "bin", "side": "left", "bottom": 0.8}]),
            ("a", "Continue straight.", []),
            ("b", "Stop, curb ahead.", [{"object": "curb", "side": "ahead"}]),
        ]
    ):
        name = f"{walk}_{30 * number:04d}.jpg"
        cv2.imwrite(str(tmp_path / name), np.full((6, 8, 3), 9, np.uint8))
        rows.append({"frame_path": name, "walk_id": walk, "instruction": text, "objects": things})
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = annotated.courses(tmp_path, looks_per_s=4.0)
    assert (first.group, second.group) == ("a", "b")
    assert first.duration_s == 1.0 + annotated.STILL_S
    truths = [frame.truth for frame in first.frames()]
    assert [truth.silent for truth in truths if truth] == [False, True]
    assert first.events == (event(BIN, 0, 1),)


def test_a_sentence_without_an_object_is_no_truth_about_things(tmp_path: Path) -> None:
    rows = []
    for number, text in enumerate(["Turn right.", "Continue straight.", "Stop, curb ahead."]):
        cv2.imwrite(str(tmp_path / f"a_{30 * number:04d}.jpg"), np.full((6, 8, 3), 9, np.uint8))
        there = [{"object": "curb", "side": "ahead"}]
        rows.append({"frame_path": f"a_{30 * number:04d}.jpg", "walk_id": "a", "instruction": text, "objects": there})
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    [course] = annotated.courses(tmp_path, looks_per_s=4.0)
    turn, silent, stop = course.frames()
    assert (turn.truth, turn.sampled) == (None, False), "whether the curb is in reach, nobody said"
    assert silent.truth is not None
    assert silent.truth.silent
    assert stop.truth is not None
    assert stop.truth.there == {("curb", "ahead")}
    assert course.events == (event(CURB, 2, 4),)


def test_a_folder_made_by_label_is_judged_by_its_sentences(tmp_path: Path) -> None:
    for part in ("frames", "audio"):
        (tmp_path / part).mkdir()
    rows = []
    for number, text in enumerate(["Watch out, kerb in front", ""]):
        name = f"walk_chunk{number:04d}"
        cv2.imwrite(str(tmp_path / "frames" / f"{name}.jpg"), np.full((6, 8, 3), 9, np.uint8))
        (tmp_path / "audio" / f"{name}.wav").write_bytes(b"RIFF")
        rows.append({"frame_path": f"frames/{name}.jpg", "audio_path": f"audio/{name}.wav", "instruction": text})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    [course] = annotated.courses(tmp_path, looks_per_s=4.0)
    assert course.duration_s == 4.0
    assert course.events == (event(CURB, 0, 2),)


def test_a_folder_with_nothing_says_what_could_be_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing to evaluate on.*labels\.jsonl"):
        annotated.courses(tmp_path, looks_per_s=4.0)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("do not cross, car coming", "say what to do"),
        ("mind the unicorn", "'unicorn' is not in the vocabulary"),
        ("cone left, bollard right", "neither may be left out"),
        ("Cross, vehicle ahead.", "walker's own to decide"),
    ],
)
def test_a_sentence_that_cannot_be_read_is_never_taken_for_silence(text: str, because: str, tmp_path: Path) -> None:
    picture = np.full((6, 8, 3), 9, np.uint8)
    for part in ("street", "made", "film"):
        (tmp_path / part).mkdir()
    good = {"frame_path": "a.jpg", "walk_id": "a", "instruction": "Turn right.", "objects": []}
    lines = [good, good | {"instruction": text}]
    (tmp_path / "street" / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with label.opened(tmp_path / "made") as folder:
        for number, said in enumerate(("Stop, curb ahead.", text)):
            folder.show("walk", number, Chunk(cv2.imencode(".jpg", picture)[1].tobytes(), b"RIFF"))
            folder.save("walk", number, said)
    write_video(plan_walk(7, duration_s=2.0), tmp_path / "film" / "w.mp4", fps=10, width_px=160, height_px=120)
    chunk = {"start_s": 0.0, "end_s": 1.0, "objects": []}
    spans = [chunk | {"references": ["Stop, curb ahead."]}, chunk | {"references": ["Stop, curb ahead.", text]}]
    (tmp_path / "film" / "w.references.jsonl").write_text("".join(json.dumps(span) + "\n" for span in spans))
    for part, file in (("street", "labels.jsonl"), ("made", "metadata.jsonl"), ("film", "w.references.jsonl")):
        with pytest.raises(DatasetError) as found:
            annotated.courses(tmp_path / part, looks_per_s=4.0)
        assert f"{tmp_path / part / file}, line 2: {text!r} cannot be read" in str(found.value)
        assert because in str(found.value)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) is not here")
def test_the_real_walk_and_the_streets_are_read_whole() -> None:
    [walk] = annotated.courses(DATA / "walks", looks_per_s=4.0)
    assert {(one.object, one.side) for one in walk.events} >= {("vehicle", "ahead"), ("street edge", "ahead")}
    streets = annotated.courses(DATA / "streets", looks_per_s=4.0)
    truths = [frame.truth for walk in streets for frame in walk.frames() if frame.truth]
    assert 0 < sum(truth.silent for truth in truths) < len(truths)  # "Continue straight." asks for silence


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text('{"objects": []}\nnonsense\n')
    with pytest.raises(DatasetError, match="line 2"):
        annotated.courses(tmp_path, looks_per_s=4.0)
