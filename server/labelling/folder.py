"""A labelled folder as the dataset's layout has it, made by a person from recorded videos:

    dataset/
    ├── frames/{video}_chunk{NNNN}.jpg
    ├── audio/{video}_chunk{NNNN}.wav
    ├── metadata.jsonl      {"frame_path", "audio_path", "instruction", "file_name", …}, paths inside the folder
    ├── videos.json         which video is which, and which of its chunks were skipped
    └── README.md           how Hugging Face `load_dataset(folder)` reads it

Rules that it keeps:

1. An answer is on disk when `save` or `skip` returns, its files before its line. Nothing else is ever lost.
2. A chunk has at most one line. Changing an answer replaces the whole file atomically; other lines stay as they are.
3. Two videos never share names: the second one of a name gets part of its SHA-256.
4. One person labels a folder at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporters.datasets import card
from server.labelling import lines
from server.labelling.footage import Chunk
from shared import atomic, file_lock
from shared.errors import DatasetError, Refused

LOG_NAME = "metadata.jsonl"
VIDEOS_NAME = "videos.json"
MAX_NAME = 60  # leaves room for _chunkNNNN, and for the ids made from it
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_OWN = ("frame_path", "audio_path", "instruction", "file_name")
_NAMED = re.compile(r"(?P<video>.+)_chunk(?P<number>[0-9]+)$")


@dataclass(frozen=True, slots=True)
class LabelledChunk:
    """One line of metadata.jsonl, its files found."""

    video: str
    number: int
    frame: Path
    audio: Path
    instruction: str
    line: int
    """Where it stands in metadata.jsonl, from 1."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What the line says besides, as far as it is text."""


@dataclass(slots=True)
class LabelFolder:
    """An open folder. Get one from `opened`."""

    root: Path
    _skipped: dict[str, set[int]] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)
    _instructions: dict[str, str] = field(default_factory=dict)
    """Stem of the frame → instruction."""
    _fields: dict[str, dict[str, str]] = field(default_factory=dict)
    """Stem of the frame → the line's other fields that are text."""

    def name_of(self, video: Path) -> str:
        """The name of a video's chunks in this folder; remembered for the next time. Raises: OSError."""
        sha256 = atomic.sha256_file(video)
        if named := next((name for name, known in self._hashes.items() if known == sha256), None):
            return named
        name = plain_name(video.stem)
        if self._hashes.get(name):  # labels without videos.json are taken for this video's own
            name = f"{name[: MAX_NAME - 7]}-{sha256[:6]}"
        self._hashes[name] = sha256
        self._write_videos()
        return name

    def files(self, name: str, number: int) -> tuple[Path, Path]:
        """Where the picture and the sound of a chunk lie."""
        stem = f"{name}_chunk{number:04d}"
        return self.root / "frames" / f"{stem}.jpg", self.root / "audio" / f"{stem}.wav"

    def answer(self, name: str, number: int) -> str | None:
        """The instruction of a chunk, "skip", or None where there is no answer yet."""
        known = self._instructions.get(f"{name}_chunk{number:04d}")
        if known is None and number in self._skipped.get(name, ()):
            return "skip"
        return known

    def fields(self, name: str, number: int) -> dict[str, str]:
        """What the line of a chunk says besides its files and instruction, as far as it is text."""
        return dict(self._fields.get(f"{name}_chunk{number:04d}", {}))

    def show(self, name: str, number: int, chunk: Chunk) -> Path:
        """Write a chunk's files for a person to look at; returns the picture's path. Raises: OSError."""
        frame, audio = self.files(name, number)
        atomic.write_bytes(frame, chunk.jpeg)
        atomic.write_bytes(audio, chunk.wav)
        return frame

    def save(self, name: str, number: int, instruction: str, fields: Mapping[str, str] | None = None) -> None:
        """Write an answer down; the chunk's files are there from `show`.

        fields: more of its line, by name
        raises: OSError
        """
        frame, audio = self.files(name, number)
        line = lines.line_of(f"frames/{frame.name}", f"audio/{audio.name}", instruction)
        more = {key: value for key, value in (fields or {}).items() if key not in line}
        line |= more
        if frame.stem in self._instructions:
            self._rewrite(frame.stem, line)
        else:
            with open(self.root / LOG_NAME, "ab") as file:
                atomic.append_line(file, line)
            atomic.fsync_dir(self.root)
        self._instructions[frame.stem], self._fields[frame.stem] = instruction, more
        if number in self._skipped.get(name, ()):
            self._skipped[name].discard(number)
            self._write_videos()

    def skip(self, name: str, number: int) -> None:
        """Write down that a chunk gets no label, and remove its files. Raises: OSError."""
        self._skipped.setdefault(name, set()).add(number)
        self._write_videos()
        self._drop(name, number)

    def clear(self, name: str, number: int) -> None:
        """Take the answer of a chunk back: it has none then, and no files. Raises: OSError."""
        if number in self._skipped.get(name, ()):
            self._skipped[name].discard(number)
            self._write_videos()
        self._drop(name, number)

    def _drop(self, name: str, number: int) -> None:
        stem = f"{name}_chunk{number:04d}"
        self._fields.pop(stem, None)
        if self._instructions.pop(stem, None) is not None:
            self._rewrite(stem, None)
        self.forget(name, number)

    def forget(self, name: str, number: int) -> None:
        """Remove the files of a chunk that has no line. Raises: OSError."""
        if f"{name}_chunk{number:04d}" not in self._instructions:
            for path in self.files(name, number):
                path.unlink(missing_ok=True)

    def counts(self, name: str) -> tuple[int, int]:
        """(labelled, skipped) chunks of a video."""
        matches = map(_NAMED.match, self._instructions)
        return sum(bool(match and match["video"] == name) for match in matches), len(self._skipped.get(name, ()))

    def _rewrite(self, stem: str, line: dict[str, Any] | None) -> None:
        out = b""
        for old in (self.root / LOG_NAME).read_bytes().splitlines(keepends=True):
            if _stem_of(old) != stem:
                out += old
            elif line is not None:
                out += json.dumps(line, ensure_ascii=False).encode() + b"\n"
        atomic.write_bytes(self.root / LOG_NAME, out)

    def _write_videos(self) -> None:
        videos = {
            name: {"sha256": self._hashes.get(name, ""), "skipped": sorted(self._skipped.get(name, ()))}
            for name in sorted(self._hashes.keys() | self._skipped.keys())
        }
        atomic.write_json(self.root / VIDEOS_NAME, videos)


@contextmanager
def opened(root: Path) -> Iterator[LabelFolder]:
    """The folder, made where there is none. Raises: Refused while another labels it; DatasetError; OSError."""
    if root.exists() and not root.is_dir():
        raise Refused(f"{root} is not a folder.", hint="Name a folder with --dataset.")
    for part in ("frames", "audio"):
        atomic.make_dirs(root / part)
    busy = Refused(f"Somebody else is labelling {root}.", hint="Wait, or use another --dataset.")
    with file_lock.locked(root / ".lock", busy=busy):
        lines.mend_tail(root / LOG_NAME)
        if not (root / card.NAME).exists():
            atomic.write_bytes(root / card.NAME, card.pictures_card(root.name).encode())
        folder = LabelFolder(root)
        _read_videos(root / VIDEOS_NAME, folder)
        for _, value in lines.read(root / LOG_NAME):
            stem = Path(str(value["frame_path"])).stem
            folder._instructions[stem] = str(value["instruction"])
            folder._fields[stem] = _texts(value)
        yield folder


def _read_videos(path: Path, folder: LabelFolder) -> None:
    if not path.exists():
        return
    try:
        for name, known in json.loads(path.read_bytes()).items():
            folder._hashes[str(name)] = str(known["sha256"])
            folder._skipped[str(name)] = {int(number) for number in known["skipped"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path} can not be read ({error!r}).",
            hint="Restore it, or delete it: skipped chunks are then asked again.",
        ) from None


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name, text in value.items() if name not in _OWN and isinstance(text, str)}


def _stem_of(line: bytes) -> str:
    """The name of a line's frame without its ending, "" for a line that is not readable."""
    try:
        return Path(str(json.loads(line)["frame_path"])).stem
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def labelled(root: Path) -> list[LabelledChunk]:
    """Every line with its files, the newest of a frame only. Raises: DatasetError where one is missing; OSError."""
    if not (root / LOG_NAME).is_file():
        raise DatasetError(f"{root} has no {LOG_NAME}.", hint="Name a folder made by `label`, or one of its layout.")
    newest: dict[Path, LabelledChunk] = {}
    for order, (line, value) in enumerate(lines.read(root / LOG_NAME)):
        where = f"{root / LOG_NAME}, line {line}"
        frame, audio = (inside(root, value[name], where=where) for name in ("frame_path", "audio_path"))
        video, number = named(frame.stem, folder=root, order=order)
        instruction, more = value["instruction"].strip(), _texts(value)
        newest[frame] = LabelledChunk(video, number, frame, audio, instruction, line, more)
    return list(newest.values())


def named(stem: str, *, folder: Path, order: int) -> tuple[str, int]:
    """(video, chunk number) by the name of a picture; else the folder's name and `order`."""
    match = _NAMED.match(stem)
    video = match["video"] if match else (folder.resolve().name or "dataset")
    return plain_name(video), int(match["number"]) if match else order


def plain_name(text: str) -> str:
    """A name that may become part of ids and file names."""
    return _UNFIT.sub("-", text).strip("-._")[:MAX_NAME] or "video"


def inside(root: Path, written: str, *, where: str) -> Path:
    """The file that a line names: from the folder, or from where the folder lies ("dataset/frames/..."). Links are
    followed, and must not lead out of the folder. Raises: DatasetError naming `where` the line stands."""
    for base in (root, root.resolve().parent):
        try:
            path = (base / written).resolve()
            if path.is_file() and path.is_relative_to(root.resolve()):
                return path
        except (OSError, ValueError, RuntimeError):
            continue  # a name that no file can have
    raise DatasetError(f"{where}: {written!r:.200} is missing, or lies elsewhere.", hint="Copy the whole folder again.")
