"""Data sets of clips and pictures with what should be said of them, as `finetune` reads them.

    qved_train.json        of `waycue-server qved convert`: exercises
    conversations.json     of `waycue-server export --format conversations`: walks
    metadata.jsonl         of `waycue-server label`, or `export --format jsonl`: walks, a picture of each moment

One folder holds one of them and its media. Each file is of one task, and what is taught together is of one task:
exercises never teach what guides a walk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from server.dataset import wording
from server.labelling import folder as label
from server.learn.tasks import EXERCISES, GUIDANCE
from shared.errors import DatasetError, Refused
from shared.prompt import REQUEST

DATASETS = "datasets"
"""Under a server's home: each data set in it is included by itself."""
LABELS = label.LOG_NAME
FILES = {"qved_train.json": EXERCISES, "conversations.json": GUIDANCE, LABELS: GUIDANCE}
"""File → its task."""
_MEDIA = re.compile(r"<(?:video|image)>\n?")
_ROLES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One thing to teach."""

    name: str
    media: Path
    """A video, or a picture."""
    question: str
    system: str
    """\"\" = none"""
    answer: str


@dataclass(frozen=True, slots=True)
class Clips:
    """A data set, and what of it cannot be used."""

    file: Path
    task: str
    rows: Sequence[ClipRow]
    left_out: Sequence[tuple[str, str]]
    """Name of an entry and why."""


def included(home: Path, task: str) -> list[Path]:
    """Files of the data sets of a task that lie under a server's home, by name."""
    names = [name for name, of in FILES.items() if of == task]
    return sorted(path for name in names for path in (home / DATASETS).glob(f"*/{name}"))


def read(path: Path) -> Clips:
    """A data set, by its folder or its file. Raises: DatasetError saying what it is instead; OSError."""
    known = path.name in FILES and not path.is_dir()
    file = path if known else next((path / name for name in FILES if (path / name).is_file()), None)
    if file is None:
        raise DatasetError(
            f"{path} holds no data set of clips ({' or '.join(FILES)}).",
            hint="Make one with `waycue-server label`, `qved convert` or `export --format conversations`.",
        )
    return _labelled(file) if file.name == LABELS else _conversations(file)


def _conversations(file: Path) -> Clips:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error}).") from None
    if not isinstance(entries, list):
        raise DatasetError(f"{file} is not a list of conversations.")
    rows, left_out = list[ClipRow](), list[tuple[str, str]]()
    for number, entry in enumerate(entries):
        found = _row(f"entry {number}", entry if isinstance(entry, Mapping) else {}, file.parent)
        if isinstance(found, ClipRow):
            rows.append(found)
        else:
            left_out.append((f"entry {number}", found))
    return Clips(file, FILES[file.name], rows, left_out)


def _labelled(file: Path) -> Clips:
    """Labelled pictures, asked as a night asks; of words that may not be said none teaches guidance."""
    if (file.parent / "records.jsonl").exists():
        raise DatasetError(
            f"{file.parent} is a server's own dataset: it holds what nobody confirmed, too.",
            hint="Export it first: waycue-server export --format conversations --out DIR",
        )
    rows, left_out = list[ClipRow](), list[tuple[str, str]]()
    for chunk in label.labelled(file.parent):
        try:
            rows.append(ClipRow(chunk.frame.stem, chunk.frame, REQUEST, "", wording.teachable(chunk.instruction)))
        except Refused as refused:
            left_out.append((chunk.frame.stem, str(refused)))
    return Clips(file, GUIDANCE, rows, left_out)


def one_task(sets: Iterable[Clips]) -> str:
    """The task of all of them. Raises: Refused where there are several."""
    tasks = {clips.task: clips.file for clips in sets}
    if len(tasks) > 1:
        listed = " and ".join(f"{file} ({task})" for task, file in sorted(tasks.items()))
        raise Refused(f"{listed} are of different tasks.", hint="Fine-tune on each of them alone.")
    return next(iter(tasks), GUIDANCE)


def _row(name: str, entry: Mapping[str, Any], folder: Path) -> ClipRow | str:
    media, turns = entry.get("video") or entry.get("image"), entry.get("conversations")
    turns = turns if isinstance(turns, list) else []
    said = dict(_turn(turn) for turn in reversed(turns) if isinstance(turn, Mapping))
    if not said.get("user") or not said.get("assistant"):
        return "no question or no answer"
    path = _inside(media, folder)
    if isinstance(path, str):
        return path
    return ClipRow(str(entry.get("id") or name), path, said["user"], said.get("system", ""), said["assistant"])


def _inside(media: object, folder: Path) -> Path | str:
    """The file of an entry, or why there is none."""
    if not isinstance(media, str) or not media:
        return "no video or image"
    written = PurePosixPath(media)
    if written.is_absolute() or ".." in written.parts:
        return f"{media} lies outside its data set"
    try:
        path = folder / media
        return path if path.is_file() else f"{media} is missing on disk"
    except (OSError, ValueError):  # a name that no file can have
        return "no video or image"


def _turn(turn: Mapping[str, Any]) -> tuple[str, str]:
    """Role and text, of either kind of turn; of several of one role the first counts."""
    role, text = str(turn.get("role") or turn.get("from")), turn.get("content", turn.get("value"))
    return _ROLES.get(role, role), _MEDIA.sub("", text).strip() if isinstance(text, str) else ""
