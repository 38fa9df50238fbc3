"""QVED: exercise videos with labels → `qved_train.json`, as Mobile-VideoGPT's third stage is fine-tuned on.

    fine_grained_labels.json   one list of {"video_path", "exercise"?, "metadata"?, "labels_descriptive"?, "labels"?}
        → what cannot be used is named and left out: no label, no video on disk, a video outside the video root
        → of each exercise at most so many videos, by a draw that is the same every time
        → videos/… and qved_train.json, one list of {"id", "video", "exercise", "split", "conversations"}

Nothing outside the video root is read: an absolute path, one with "..", and one through a symbolic link are followed
to their end first. Mobile-VideoGPT's own loader looks the first turn up among "human" and "gpt" and fails on any other
(KeyError: 'system'), so by default the system prompt stands at the beginning of the human turn.

source: docs/seeds.md, "Exercise feedback"; preprocess_qwen in Mobile-VideoGPT's train.py
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exporters.datasets import fine_labels
from exporters.datasets.folder import ExportFolder
from shared.errors import DatasetError

FILE = "qved_train.json"
PER_CLASS, SEED = 100, 1337
SYSTEM = "You are an exercise coach. Say what is done wrong and how to correct it."
USER = "The exercise is: {exercise}. What should be corrected?"
EXERCISE = "{exercise}"
VIDEOS = "videos"
Turns = Literal["mobile-videogpt", "sharegpt", "chat"]
TURNS: tuple[Turns, ...] = ("mobile-videogpt", "sharegpt", "chat")


@dataclass(frozen=True, slots=True)
class Wording:
    """What stands around a label."""

    system: str = SYSTEM
    """\"\" = none"""
    user: str = USER
    """{exercise} in it becomes the exercise's name."""
    turns: Turns = "mobile-videogpt"


@dataclass(frozen=True, slots=True)
class Video:
    """One label of a video that is there."""

    number: int
    """Its place in the file of labels, from 0."""
    path: Path
    """Where it lies, without symbolic links."""
    inside: str
    """Its path inside the video root, with "/"."""
    exercise: str
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A record that was not taken."""

    number: int
    video: str
    """As the record has it; "" = it names none."""
    reason: str


def read(file: Path, *, videos: Path) -> tuple[list[Video], list[LeftOut]]:
    """The records whose video is there, and the others, both in the file's order.

    videos: the video root
    raises: DatasetError where the file is no such list or the root no folder; OSError
    """
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error}).", hint="Name a fine_grained_labels.json.") from None
    if not isinstance(records, list):
        raise DatasetError(f"{file} is not a list of labels.", hint="Name a fine_grained_labels.json.")
    if not videos.is_dir():
        raise DatasetError(f"The video root {videos} is not a folder.", hint="Name it with --videos.")
    root, taken, left_out = videos.resolve(), list[Video](), list[LeftOut]()
    for number, record in enumerate(records):
        found = _one(number, record if isinstance(record, Mapping) else {}, root)
        if isinstance(found, Video):
            taken.append(found)
        else:
            left_out.append(found)
    return taken, left_out


def draw(videos: Sequence[Video], *, most: int = PER_CLASS, seed: int = SEED) -> tuple[list[Video], list[LeftOut]]:
    """At most `most` videos of each exercise (0 = all), in the order given, and those beyond. Pure.

    Drawn by hash, so that neither the order of the file nor other exercises change which of one exercise are drawn. A
    video with several labels counts once and keeps them.
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for video in videos:
        groups[video.exercise].add(video.inside)
    drawn: set[tuple[str, str]] = set()
    for exercise, names in groups.items():
        ordered = sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))
        drawn.update((exercise, name) for name in ordered[: most or len(ordered)])
    kept = [video for video in videos if (video.exercise, video.inside) in drawn]
    reason = f"more than {most} of one exercise"
    rest = [video for video in videos if (video.exercise, video.inside) not in drawn]
    return kept, [LeftOut(video.number, video.inside, reason) for video in rest]


def write(videos: Iterable[Video], folder: ExportFolder, *, wording: Wording = Wording()) -> int:
    """qved_train.json and its videos; returns how many entries it has. Raises: OSError."""
    entries, placed = [], dict[str, str]()
    for video in videos:
        if video.inside not in placed:
            placed[video.inside] = folder.place(video.path, f"{VIDEOS}/{video.inside}")
        entries.append(entry(video, placed[video.inside], wording=wording))
    folder.write_json(FILE, entries)
    return len(entries)


def entry(video: Video, path: str, *, wording: Wording) -> dict[str, Any]:
    """One conversation about a video. Pure.

    path: of the video, from the folder of qved_train.json
    """
    return {
        "id": f"{video.number:05d}_{Path(video.inside).stem}",
        "video": path,
        "exercise": video.exercise,
        "split": "train",
        "conversations": _turns(video, wording),
    }


def _turns(video: Video, wording: Wording) -> list[dict[str, str]]:
    question = wording.user.replace(EXERCISE, video.exercise)
    if wording.turns == "mobile-videogpt":
        told = "\n".join(text for text in (wording.system, question) if text)
        return [{"from": "human", "value": f"<video>\n{told}"}, {"from": "gpt", "value": video.text}]
    said = (("system", wording.system), ("user", f"<video>\n{question}"), ("assistant", video.text))
    if wording.turns == "chat":
        return [{"role": role, "content": text} for role, text in said if text]
    called = {"system": "system", "user": "human", "assistant": "gpt"}
    return [{"from": called[role], "value": text} for role, text in said if text]


def _one(number: int, record: Mapping[str, Any], root: Path) -> Video | LeftOut:
    named = record.get("video_path")
    if not isinstance(named, str) or not named.strip():
        return LeftOut(number, "", "no video_path")
    text = fine_labels.label(record).strip()
    if not text or not _is_text(text):
        return LeftOut(number, named, "no label")
    path = _found(named, root)
    if isinstance(path, str):
        return LeftOut(number, named, path)
    return Video(number, path, path.relative_to(root).as_posix(), exercise(record, path, root), text)


def exercise(record: Mapping[str, Any], path: Path, root: Path) -> str:
    """What is done in a video: the record's `exercise`, its metadata's, else the folder that the video lies in. Pure.

    path: the video, inside root
    """
    metadata = record.get("metadata")
    for value in (record.get("exercise"), metadata.get("exercise") if isinstance(metadata, Mapping) else None):
        if isinstance(value, str) and value.strip() and _is_text(value):
            return value.strip().replace("_", " ")
    return "unknown" if path.parent == root else path.parent.name.replace("_", " ")


def _found(named: str, root: Path) -> Path | str:
    """The video without symbolic links, or why there is none. Relative paths start from the root, else from here."""
    reason = "its video is missing on disk"
    for start in (root, Path.cwd()):
        try:
            path = (start / named).resolve()
            if not path.is_relative_to(root):
                reason = "its video lies outside the video root" if start == root else reason
            elif path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have
            return "its video is missing on disk"
    return reason


def _is_text(text: str) -> bool:
    """Half of a surrogate pair, which JSON allows, is none: no file can hold it."""
    return text.encode("utf-8", errors="ignore").decode("utf-8") == text
