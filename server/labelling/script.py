"""Answers from a file, instead of from a person. Two forms, told apart by the first sign of the file:

    sentences     line n answers the n-th chunk of all videos together, counted from their beginnings: a sentence,
                  "nothing", "skip", or nothing at all, which leaves the chunk without an answer
    JSON lines    {"chunk": 0, "instruction": "Stop, curb ahead."} in any order; "video" names the file where there are
                  several; {"chunk": 1, "skip": true}; every other field that is text goes into the label's line

Because a line stands for a place, not for a turn, the same file may be run again, also after a part of it was taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.labelling.footage import Footage
from shared.errors import Refused

SKIP = "skip"
_OWN = ("video", "chunk", "instruction", "skip", "frame_path", "audio_path")
_HINT = 'Write one sentence a line, or {"video": "walk.mp4", "chunk": 0, "instruction": "Stop, curb ahead."}.'


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """The answer to one chunk."""

    line: int
    """Where it stands in the file, from 1."""
    text: str
    """What should be said, or "skip"."""
    fields: Mapping[str, str] = field(default_factory=dict)


Script = Mapping[tuple[int, int], ScriptLine]
"""(which video from 0, number of the chunk) → its answer."""


def read(path: Path, videos: Sequence[Footage]) -> Script:
    """A whole script, before any of it is taken. Raises: Refused naming file and line; OSError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 text ({error}).", hint=_HINT) from None
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    first = next((line for _, line in numbered if line), "")
    return _objects(path, numbered, videos) if first.startswith("{") else _sentences(path, numbered, videos)


def _sentences(path: Path, lines: Sequence[tuple[int, str]], videos: Sequence[Footage]) -> Script:
    places = [(index, number) for index, video in enumerate(videos) for number in range(video.chunks)]
    for number, line in lines[len(places) :]:
        if line:
            raise Refused(f"{path}, line {number}: there are only {len(places)} chunks.", hint=_HINT)
    pairs = zip(places, lines, strict=False)
    return {place: ScriptLine(number, line) for place, (number, line) in pairs if line}


def _objects(path: Path, lines: Sequence[tuple[int, str]], videos: Sequence[Footage]) -> Script:
    script: dict[tuple[int, int], ScriptLine] = {}
    for number, line in lines:
        if not line:
            continue
        try:
            value = json.loads(line)
            place, answer = _place(value, videos), _answer(number, value)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise Refused(f"{path}, line {number}: {why}.", hint=_HINT) from None
        if place in script:
            raise Refused(f"{path}, line {number}: line {script[place].line} answers this chunk.", hint=_HINT)
        script[place] = answer
    return script


def _place(value: dict[str, Any], videos: Sequence[Footage]) -> tuple[int, int]:
    if not isinstance(value, dict):
        raise TypeError("it is no JSON object")
    number, wanted = value["chunk"], str(value.get("video", ""))
    if not wanted and len(videos) > 1:
        raise ValueError('"video" is missing, and there are several')
    found = [n for n, video in enumerate(videos) if not wanted or wanted in _names(video.path)]
    if len(found) != 1:
        raise ValueError(f"{wanted!r:.80} is {'none' if not found else 'more than one'} of the videos")
    return found[0], _chunk(number, videos[found[0]].chunks)


def _chunk(number: object, chunks: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < chunks:
        raise ValueError(f'"chunk" is {number!r:.40}, not a number from 0 to {chunks - 1}')
    return number


def _names(path: Path) -> tuple[str, ...]:
    return str(path), path.name, path.stem


def _answer(number: int, value: dict[str, Any]) -> ScriptLine:
    if value.get("skip") is True:
        return ScriptLine(number, SKIP)
    text = value["instruction"]
    if not isinstance(text, str) or not text.strip():
        raise ValueError('"instruction" has no words')
    more = {key: item for key, item in value.items() if key not in _OWN and isinstance(item, str)}
    return ScriptLine(number, text.strip(), more)
