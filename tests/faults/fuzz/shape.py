"""Bytes of a fuzzer → input that gets past the first `if`: raw bytes, or an example altered where it hurts.

The first byte says which. Raw: the rest as it is. Altered: the rest is a list of edits (3 bytes each) to the JSON of an
example: replace a value by one that breaks things, take a field away, put one in, repeat one. So a fuzzer that only
knows bytes still finds the missing field, the number where a text belongs, the half surrogate, the deep nest.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RAW = b"\x00"
DEEP = RAW + b"[" * 5000
"""Nested deeper than Python's own reader goes: RecursionError, from a file that is one byte wide."""
SHAPED = bytes((64,))
"""From this first byte on, what follows is a list of edits."""
WHOLE = b"\x01"
"""A first byte that says to `replaced`: put what follows in place of all."""
MOST_EDITS = 12


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**64, -(2**63), 1.5, -0.0, 1e308, 9e15, "", "a", "..", "../x", "/",
    "\0",
    "\ud800", "é" * 30, "x" * 5000, "a" * 64, "0" * 64, "f" * 64, [], {}, [[]], [0, 1], [[0, 1]], [[5, 2]], {"": ""},
    {"a": {"b": {}}}, _deep(20), _deep(40), _deep(200), ["x"] * 5000, "merged", "refused", "unknown", "paused",
    "begin",
    "frame", "clip", "pi-1", "1.root.json", "timestamp.json", "2026-11-20T00:00:00Z", "wc/v1/pi-1/up/event", "+", "#",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to a JSON value."""

    at: int
    how: int
    what: int


def shaped(data: bytes, examples: Sequence[bytes]) -> bytes:
    """The input that these bytes mean."""
    if not data or data[:1] < SHAPED or not examples:
        return data[1:]
    value = json.loads(examples[data[0] % len(examples)])
    edits = [Edit(*data[at : at + 3]) for at in range(1, len(data) - 2, 3)][:MOST_EDITS]
    for edit in edits:
        value = _edited(value, edit)
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000


def _edited(value: Any, edit: Edit) -> Any:
    places = list(_places(value))
    if not places:
        return _junk(edit)
    parent, key = places[edit.at % len(places)]
    junk = _junk(edit)
    match edit.how % 5:
        case 0 | 1:
            parent[key] = junk
        case 2 if isinstance(parent, dict):
            del parent[key]
        case 3 if isinstance(parent, dict):
            parent[str(junk)[:40]] = parent[key]
        case 4 if isinstance(parent, dict):
            parent[key] = {"x": parent[key]}
        case _:
            parent[key] = [parent[key], junk]
    return value


def _junk(edit: Edit) -> Any:
    return copy.deepcopy(JUNK[edit.what % len(JUNK)])


def _places(value: Any) -> Any:
    """Every (container, key) in a value, outermost first; not more than some."""
    waiting, found = [value], 0
    while waiting and found < 200:
        one = waiting.pop(0)
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found += 1
            yield one, key
            waiting.append(one[key])


def patched(data: bytes, good: bytes) -> bytes:
    """Cut, or with bytes of it replaced; empty data leaves it as it is."""
    for at in range(0, len(data) - 3, 4):
        place = int.from_bytes(data[at : at + 2], "big") % max(1, len(good))
        size = data[at + 2] % 8
        good = good[:place] + data[at + 3 : at + 4] * size + good[place + data[at + 2] // 8 % 8 :]
    return good


def replaced(data: bytes, good: bytes) -> bytes:
    """Something else in its place, or `good` with bytes of it replaced; the first byte says which."""
    return data[1:] if data[:1] == WHOLE else patched(data[1:], good)


def several(data: bytes, most: int = 8) -> list[bytes]:
    """A list of inputs: each after its length in two bytes, the last one without an end."""
    found: list[bytes] = []
    while data and len(found) < most:
        size = int.from_bytes(data[:2], "big") % 2048
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


def joined(parts: Sequence[bytes]) -> bytes:
    """What `several` takes apart again."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
