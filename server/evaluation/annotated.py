"""Recordings that people (or a rule) annotated, as courses.

    walk.mp4 + walk.references.jsonl     a video, with references and things per chunk
    folder of such videos                each of them
    folder with labels.jsonl             street pictures with things in view: frame_path, walk_id, instruction, objects
    folder with metadata.jsonl           a server's dataset (held-out, confirmed rows) or a folder made by `label`

A sentence that cannot be read is an error that names its file and line: taken for silence, it would ask a model to say
nothing where a person wanted a warning. Stills stay in view until the next one. A thing annotated in consecutive chunks
or pictures is one event, whose time is over when it is no longer annotated: where it then was, nobody measured.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.dataset import line_log, pictures
from server.dataset.folder import LOG_NAME, Dataset
from server.dataset.teaching import may_teach
from server.evaluation.facts import Course, Frame, Thing, Truth, seen_side
from server.labelling import folder as label
from server.labelling import footage, lines
from server.walks import Event
from shared import vocabulary
from shared.chunk_format import CHUNK_S
from shared.errors import DatasetError

REFERENCES = ".references.jsonl"
LABELS = "labels.jsonl"
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".ts", ".mts", ".h264", ".264", ".hevc", ".mjpeg")
STILL_S = 2.0
"""A still stays in view this long at most."""
LABELS_FPS = 30.0
"""CamVid numbers its frames at this rate."""
GOING_ON = "Continue straight."
"""What the rule that labelled the street pictures writes where nothing is in the way."""
SILENT = Truth((vocabulary.CLEAR,))
_NUMBER = re.compile(r"_(\d+)$")


@dataclass(frozen=True, slots=True)
class Span:
    """What is right from one time to another."""

    start_s: float
    end_s: float
    truth: Truth | None
    """None where what was said tells nothing of what is there ("Turn right.")."""


def courses(path: Path, *, looks_per_s: float, untimed_fps: float = 0.0) -> list[Course]:
    """The courses of a video or folder.

    untimed_fps: pictures a second of videos that have no times in them; 0 = what they say
    raises: DatasetError, MediaError, OSError
    """
    if path.is_file():
        return [_video(path, looks_per_s, untimed_fps)]
    if (path / LOG_NAME).is_file():
        return _dataset(path)
    if tables := _tables(path):
        return [course for table in tables for course in _pictures(table)]
    videos = sorted(file for file in path.glob("*") if file.suffix.lower() in VIDEOS)
    if videos:
        return [_video(video, looks_per_s, untimed_fps) for video in videos]
    raise DatasetError(
        f"{path} holds nothing to evaluate on.", hint=f"Name a video, or a folder with videos, {LABELS} or {LOG_NAME}."
    )


def _tables(folder: Path) -> list[Path]:
    """A folder's table of street pictures, or those of the folders in it."""
    return [folder / LABELS] if (folder / LABELS).is_file() else sorted(folder.glob(f"*/{LABELS}"))


def events(spans: Sequence[Span]) -> tuple[Event, ...]:
    """One event per thing and unbroken run of spans that have it, in the order they begin."""
    open_, done = dict[Thing, tuple[float, float]](), list[tuple[Thing, float, float]]()
    for span in spans:
        there = span.truth.there if span.truth is not None else frozenset[Thing]()
        for thing in [t for t, (_, end) in open_.items() if t not in there or span.start_s > end + 1e-6]:
            done.append((thing, *open_.pop(thing)))
        for thing in there:
            open_[thing] = (open_.get(thing, (span.start_s, 0.0))[0], span.end_s)
    done += [(thing, *times) for thing, times in open_.items()]
    runs = [Event(*thing, vocabulary.tier(vocabulary.Slots("", *thing)), begin, end) for thing, begin, end in done]
    return tuple(sorted(runs, key=lambda event: (event.t_visible_s, event.tier, event.object, event.side)))


# --- videos -----------------------------------------------------------------------------------------------------------


def _video(path: Path, looks_per_s: float, untimed_fps: float) -> Course:
    film = footage.find(path, untimed_fps=untimed_fps)
    spans = list(_references(path.with_suffix(REFERENCES)))

    def frames() -> Iterator[Frame]:
        judged = -1
        for t_s, image in footage.play(film, every_s=1.0 / looks_per_s):
            truth = next((span.truth for span in spans if span.start_s <= t_s < span.end_s), None)
            chunk = int(t_s / CHUNK_S)
            middle = chunk > judged and t_s >= (chunk + 0.5) * CHUNK_S - 0.5 / looks_per_s
            judged = chunk if middle else judged
            yield Frame(t_s, image, truth, middle and truth is not None)

    return Course(path.stem, "video", film.duration_s, events(spans), frames, exact=False)


def _references(path: Path) -> Iterator[Span]:
    for number, value in _lines(path) if path.is_file() else ():
        given = [str(text) for text in value["references"]]
        for text in given:
            _said(text, f"{path}, line {number}")
        references = tuple(text or vocabulary.CLEAR for text in given) or (vocabulary.CLEAR,)
        yield Span(float(value["start_s"]), float(value["end_s"]), Truth(references, _things(value)))


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(table: Path) -> Iterator[Course]:
    rows = list(_lines(table))
    for walk in dict.fromkeys(str(row["walk_id"]) for _, row in rows):
        mine = [(number, row) for number, row in rows if row["walk_id"] == walk]
        files = [table.parent / str(row["frame_path"]) for _, row in mine]
        stills = [(file, _in_view(row, f"{table}, line {n}")) for file, (n, row) in zip(files, mine, strict=True)]
        yield _of_stills(f"{table.parent.name} {walk}", walk, stills, steps=[*_steps(files), STILL_S])


def _in_view(row: dict[str, Any], where: str) -> Truth | None:
    """Where nothing should be said, what is in view is out of reach. None where the sentence names no object and is not
    one of the two that a table of pictures uses for silence: which of the things in view it left out, nobody knows."""
    text = str(row["instruction"])
    truth = SILENT if text == GOING_ON else _said(text, where)
    return truth if truth is None or truth is SILENT else Truth(truth.references, _things(row))


def _things(row: dict[str, Any]) -> frozenset[Thing]:
    return frozenset((str(thing["object"]), seen_side(str(thing["side"]))) for thing in row["objects"])


def _steps(files: Sequence[Path]) -> Iterator[float]:
    """Seconds between pictures, by the frame numbers in their names where they have such."""
    numbers = [_NUMBER.search(file.stem) for file in files]
    for number, following in itertools.pairwise(numbers):
        apart_s = (int(following[1]) - int(number[1])) / LABELS_FPS if number and following else STILL_S
        yield apart_s if 0 < apart_s <= STILL_S else STILL_S


def _of_stills(name: str, group: str, stills: Sequence[tuple[Path, Truth | None]], *, steps: Sequence[float]) -> Course:
    """steps: for how many seconds each stays in view"""
    starts = [0.0, *itertools.accumulate(steps)]
    shown = zip(itertools.pairwise(starts), stills, strict=True)
    spans = [Span(start, end, truth) for (start, end), (_, truth) in shown]

    def frames() -> Iterator[Frame]:
        for span, (file, truth) in zip(spans, stills, strict=True):
            yield Frame(span.start_s, pictures.read(file), truth, truth is not None)

    return Course(name, group, starts[-1], events(spans), frames, stills=True, exact=False)


# --- datasets ---------------------------------------------------------------------------------------------------------


def _dataset(folder: Path) -> list[Course]:
    log = folder / LOG_NAME
    if line_log.begins_at(log) or any(b'"sample_id"' in line for _, line in itertools.islice(lines.numbered(log), 1)):
        return _confirmed(folder)
    where = f"{folder / LOG_NAME}, line"
    return _grouped((row.video, row.frame, row.instruction, f"{where} {row.line}") for row in label.labelled(folder))


def _confirmed(folder: Path) -> list[Course]:
    rows = [row for row in Dataset(folder).rows() if row.reviewed and may_teach(row.ground_truth)]
    held_out = [row for row in rows if row.split == "held_out"]
    if not held_out:
        raise DatasetError(
            f"{folder} has no confirmed rows in walks that are held out ({len(rows)} may teach).",
            hint="Review moments of more walks: about one walk in five is held out.",
        )
    walks = list(dict.fromkeys(row.walk_id for row in held_out))
    held_out.sort(key=lambda row: (walks.index(row.walk_id), row.timestamp))
    where = f"{folder / LOG_NAME}, row"
    return _grouped(
        (row.walk_id, folder / row.frame_path, row.ground_truth, f"{where} {row.row_id}") for row in held_out
    )


def _grouped(moments: Iterable[tuple[str, Path, str, str]]) -> list[Course]:
    """A course for each name. moments: (name, picture, sentence, where it stands)"""
    by_name: dict[str, list[tuple[Path, Truth | None]]] = {}
    for name, file, text, where in moments:
        by_name.setdefault(name, []).append((file, _said(text, where)))
    return [_of_stills(name, name, stills, steps=[STILL_S] * len(stills)) for name, stills in by_name.items()]


def moments(name: str, group: str, confirmed: Sequence[tuple[Path, str]], *, steps: Sequence[float]) -> Course:
    """Confirmed moments of a walk, (picture, what a person confirmed), as a course. steps: how long each stays in view,
    in seconds."""
    stills = [(file, _said(text, f"{name}, {file.name}")) for file, text in confirmed]
    return _of_stills(name, group, stills, steps=steps)


def _said(text: str, where: str) -> Truth | None:
    """A person's sentence says one thing that is there, their silence that nothing is, "Turn right." neither.

    raises: DatasetError where it cannot be read: taken for silence, it would make every warning a false alarm
    """
    if not text.strip() or text == vocabulary.CLEAR:
        return SILENT
    reading = vocabulary.read(text)
    if not reading.sayable or reading.slots is None:
        raise DatasetError(
            f"{where}: {text!r} cannot be read ({'; '.join(reading.problems)}).",
            hint="Write one sentence that may be said, or none where nothing should be.",
        )
    if not reading.slots.object:
        return None
    return Truth((text,), frozenset([(reading.slots.object, seen_side(reading.slots.side))]))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object)"""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
                value["objects"] = [dict(thing) for thing in value.get("objects", ())]
            except (ValueError, TypeError, AttributeError) as error:
                raise DatasetError(
                    f"{path}, line {number} cannot be read ({error!r}).", hint="Each line is a JSON object."
                ) from None
            yield number, value
