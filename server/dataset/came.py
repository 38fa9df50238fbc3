"""What comes from devices to be merged, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from server.dataset.lookup import Key
from shared import messages, strict
from shared.messages import EraseRecord, Part, Record
from shared.printable import printable_value


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a record or a part; only `merged` lets a device delete its copy."""

    state: Literal["merged", "refused", "gone"]
    """gone: the file's bytes are neither where they were said to be nor in the dataset."""
    reason: str = ""
    new: bool = True
    erased: frozenset[str] = frozenset()
    """Of an erasure: ids of the records that are gone, or must never be taken."""
    declined: bool = False
    """Its wearer has not agreed that it is kept: nothing of it is stored, and its device deletes it all the same."""


@dataclass(frozen=True, slots=True)
class RecordCame:
    """A sidecar. kind: what its envelope called it."""

    device: str
    kind: str
    record: Record

    @property
    def key(self) -> Key:
        return self.device, messages.id_of(self.record)


@dataclass(frozen=True, slots=True)
class FileCame:
    """A payload file, synced and checked against `part.sha256` by the caller; it is moved, not copied."""

    device: str
    record_id: str
    part: Part
    path: Path
    looks_right: bool = False
    """Its first bytes were checked against its kind, too."""

    @property
    def key(self) -> Key:
        return self.device, self.record_id


Came = RecordCame | FileCame


def together(outcomes: Sequence[Merged | None]) -> Merged | None:
    """What became of a record and its files that came as one. Merged only where all are; None = it could not be merged
    now. Pure."""
    if None in outcomes:
        return None
    all_of_it = [outcome for outcome in outcomes if outcome is not None]
    worst = next((one for state in ("gone", "refused") for one in all_of_it if one.state == state), None)
    if worst is not None:
        return worst
    new, declined = any(one.new for one in all_of_it), any(one.declined for one in all_of_it)
    return Merged("merged", new=new, declined=declined)


def plainly(came: RecordCame) -> RecordCame:
    """The record with every text in it printable: what a device says steers no terminal that shows it. Pure."""
    body = messages.to_dict(came.record)
    plain = printable_value(body)
    return came if plain == body else replace(came, record=strict.read(type(came.record), plain))


def in_turn(entries: Sequence[Came]) -> Iterator[list[Came]]:
    """The entries in order, in as few pieces as there may be: an erasure is one by itself."""
    some: list[Came] = []
    for entry in entries:
        if isinstance(entry, RecordCame) and isinstance(entry.record, EraseRecord):
            yield from filter(None, (some, [entry]))
            some = []
        else:
            some.append(entry)
    if some:
        yield some


def is_new_correction(entry: Came, outcome: Merged) -> bool:
    return isinstance(entry, FileCame) and entry.part.kind == "correction_audio" and outcome.state == "merged"
