"""The lines of a labelled folder's metadata.jsonl, as people and other tools write them too.

A last line without its line feed is what an editor leaves behind, or what a power cut left of one that was being
written. Where it is whole JSON it counts; where it is not, it is named, never passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared import atomic
from shared.errors import DatasetError

_FIELDS = ("frame_path", "audio_path", "instruction")
_HINT = "Each line needs frame_path, audio_path and instruction."


def line_of(frame_path: str, audio_path: str, instruction: str) -> dict[str, str]:
    """A line: the three fields of the dataset's layout, and the one by which Hugging Face readers find the picture."""
    return {"frame_path": frame_path, "audio_path": audio_path, "instruction": instruction, "file_name": frame_path}


def read(log: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines with their numbers, from 1. Raises: DatasetError naming one that is none; OSError."""
    for number, line in numbered(log):
        try:
            value = parsed(line)
            if not all(isinstance(value[name], str) for name in _FIELDS):
                raise TypeError("a field is not text")
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{log}, line {number} can not be read ({error!r}).", hint=_HINT) from None
        yield number, value


def numbered(log: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of each line that is not blank, the last one also without its end; none where there is no
    file. Raises: OSError."""
    if not log.exists():
        return
    with open(log, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def parsed(line: bytes) -> dict[str, Any]:
    """A line as an object. Raises: ValueError saying what it is instead."""
    if not line.endswith(b"\n") and not _whole(line):
        raise ValueError("it is the last line and was cut off")
    try:
        value = json.loads(line)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()  # as it will be written: half a surrogate, NaN
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def mend_tail(log: Path) -> None:
    """End a last line that is whole JSON; drop one that a power cut left half. Raises: OSError."""
    if not log.exists():
        return
    tail = log.read_bytes().rpartition(b"\n")[2]
    if not _whole(tail):
        atomic.drop_torn_tail(log)
        return
    with open(log, "ab") as file:
        file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def packed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of other types that an export put into one, `extra`, as JSON text: a column has one type there.
    Raises: ValueError."""
    text = value.get("extra")
    if not isinstance(text, str):
        return dict(text) if isinstance(text, Mapping) else {}
    return parsed(text.encode() + b"\n") if text else {}
