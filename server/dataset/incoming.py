"""What a folder from elsewhere holds: its moments, each with where it stands, checked before anything is taken in.

    lines      metadata.jsonl in the folder, or in each of train/, validation/, test/: made by `label`, by `export
               --format jsonl`, `imagefolder` or `audiofolder`, or by hand
    parquet    *.parquet with the picture and the sound inside (`server.dataset.packed`)
    webdataset *.tar with {name}.jpg, {name}.wav and {name}.json (the same)

A line names its picture by `frame_path`, or by `file_name` where that is a picture; its sound by `audio_path`, or by
`file_name` where that is a sound; its words by `instruction`, else `text`. Other fields are kept,
but for those that only the server says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from server.dataset import line_log, pictures
from server.dataset.sample_row import CONDITION_FIELDS, SampleRow, Split
from server.labelling import lines
from server.labelling.folder import LOG_NAME, inside, named
from shared import vocabulary
from shared.errors import DatasetError, MediaError
from shared.jpeg import decode_picture
from shared.messages import ChunkRecord
from shared.wav import decode_sound

Duplicates = Literal["last", "first", "refuse"]
DUPLICATES: tuple[str, ...] = get_args(Duplicates)
SPLITS: Mapping[str, Split] = {"train": "train", "validation": "golden", "test": "held_out"}
"""Name of a split elsewhere → what its walks are good for here."""
_OURS = (
    "frame_path", "audio_path", "instruction", "text", "file_name", "context", "consent", "extra", *CONDITION_FIELDS
)  # fmt: skip
_SERVER_SAYS = frozenset(item.name for kind in (SampleRow, ChunkRecord) for item in fields(kind)) - set(_OURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One moment, its files read. `fault` says why it cannot be taken; "" = it can."""

    key: str
    """Two moments of one key are one moment that stands there twice."""
    where: str
    """File and line."""
    video: str = ""
    number: int = 0
    frame: bytes = b""
    audio: bytes = b""
    captured_at_utc: float = 0.0
    instruction: str = ""
    split: Split | None = None
    context: str = ""
    consent: str | None = None
    surroundings: Mapping[str, str] = field(default_factory=dict)
    """Where and in what light it was, and who says so."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    not_taken: tuple[str, ...] = ()
    """Fields that only the server says."""
    fault: str = ""


def from_lines(root: Path) -> Iterator[Incoming]:
    """The moments of every metadata.jsonl of a folder, as `lines` above. Raises: OSError."""
    for folder, split in folders(root):
        for order, (number, line) in enumerate(_numbered(folder / LOG_NAME)):
            where = f"{folder / LOG_NAME}, line {number}"
            try:
                yield _of_line(folder, lines.parsed(line), split=split, where=where, order=order)
            except (DatasetError, ValueError) as error:
                yield Incoming(key=where, where=where, fault=str(error).removeprefix(f"{where}: "))


def _numbered(log: Path) -> Iterator[tuple[int, bytes]]:
    """Of a server's own log the closed lines, too."""
    closed = 0
    for closed, line in enumerate(line_log.closed_lines(log), start=1):
        yield closed, line
    for number, line in lines.numbered(log):
        yield closed + number, line


def folders(root: Path) -> list[tuple[Path, Split | None]]:
    """Folders with lines, and the split that each stands for."""
    if (root / LOG_NAME).is_file():
        return [(root, None)]
    return [(root / name, split) for name, split in SPLITS.items() if (root / name / LOG_NAME).is_file()]


def _of_line(folder: Path, value: Mapping[str, Any], *, split: Split | None, where: str, order: int) -> Incoming:
    """Raises: DatasetError, ValueError saying what is wrong."""
    file_name = _text(value, "file_name", default="")
    is_sound = file_name.lower().endswith(".wav")
    frame_path = _text(value, "frame_path", default="" if is_sound else file_name)
    audio_path = _text(value, "audio_path", default=file_name if is_sound else "")
    if not frame_path or not audio_path:
        raise ValueError(f"it names no {'sound (audio_path)' if frame_path else 'picture (frame_path)'}")
    frame, audio = inside(folder, frame_path, where=where), inside(folder, audio_path, where=where)
    video, number = named(frame.stem, folder=folder, order=order)
    return checked(
        Incoming(key=str(frame), where=where, video=video, number=number, split=split),
        value,
        frame=_read(frame),
        audio=_read(audio),
        captured_at_utc=frame.stat().st_mtime,
    )


def _read(path: Path) -> bytes:
    if path.stat().st_size > pictures.MOST_BYTES:
        raise ValueError(f"{path.name} has more than {pictures.MOST_BYTES} bytes")
    return path.read_bytes()


def checked(
    place: Incoming, value: Mapping[str, Any], *, frame: bytes, audio: bytes, captured_at_utc: float
) -> Incoming:
    """The moment at `place` with what its fields say. Raises: ValueError saying what is wrong with it."""
    instruction = _text(value, "instruction", default=_text(value, "text", default="")).strip()
    if not instruction:  # not labelled is not the same as silence, which teaches that nothing is there
        raise ValueError(f"it has no words. Where nothing should be said, write: {vocabulary.CLEAR}")
    if wrong := fault_of_picture(frame) or fault_of_sound(audio):
        raise ValueError(wrong)
    extra = _of_other_tools(value)
    return Incoming(
        key=place.key,
        where=place.where,
        video=place.video,
        number=place.number,
        split=place.split,
        frame=frame,
        audio=audio,
        captured_at_utc=captured_at_utc,
        instruction=instruction,
        context=_text(value, "context", default=""),
        consent=_text(value, "consent", default="") or None,
        surroundings={name: value[name] for name in CONDITION_FIELDS if isinstance(value.get(name), str)},
        extra={name: entry for name, entry in extra.items() if name not in _SERVER_SAYS},
        not_taken=tuple(sorted(_SERVER_SAYS & extra.keys())),
    )


def _of_other_tools(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are none of ours, without those that are empty. Raises: ValueError."""
    theirs = {**lines.packed(value), **{name: entry for name, entry in value.items() if name not in _OURS}}
    return {name: entry for name, entry in theirs.items() if entry not in (None, "") or name in _SERVER_SAYS}


def fault_of_picture(data: bytes) -> str:
    """What is wrong with a picture's bytes, "" = it is a whole JPEG."""
    if not data.startswith(b"\xff\xd8\xff"):
        return "the frame is not a JPEG picture"
    if wrong := pictures.fault(data):
        return f"the picture cannot be taken: {wrong}"
    return "" if decode_picture(data) is not None else "the picture cannot be decoded"


def fault_of_sound(data: bytes) -> str:
    """What is wrong with a sound's bytes, "" = it is a WAV file with sound in it."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return "the audio is not a WAV sound"
    try:
        return "" if decode_sound(data).size else "the sound is empty"
    except MediaError as error:
        return f"the sound cannot be taken: {error}"


def _text(value: Mapping[str, Any], name: str, *, default: str) -> str:
    entry = value.get(name)
    if entry is not None and not isinstance(entry, str):
        raise ValueError(f"{name} is not text")
    return entry or default
