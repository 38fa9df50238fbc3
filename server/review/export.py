"""Which rows leave the server in an export, and under which names. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from exporters.datasets.rows import LeftOut, Row, evened
from server.consent.terms import Consents, LeavesFor, wearer_of
from server.dataset import sample_row
from server.dataset.blobs import Blobs
from server.dataset.sample_row import SampleRow, Split
from server.dataset.teaching import may_teach
from server.review import collected, decisions, stats
from shared import hidden

SHARED = "share"
"""The `consent` of a moment that its wearer lets leave this server."""
_TAKEN = frozenset({"file_name", "text", "image", "audio", "name", "extra", "__key__", "__url__"})
"""Names that the formats themselves use."""
DRAW = 1337  # the draw of `per_object` is the same every time
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asked for."""

    only: Literal["reviewed", "all"] = "reviewed"
    split: Literal["train", "held_out", "golden", "all"] = "all"
    silence: str
    """What is written where nothing should be said; "" = such rows are left out."""
    per_object: int = 0
    """At most so many rows for each object; 0 = all."""
    for_others: bool = False
    """It is to be handed on: only moments that may leave this server."""
    agreed: frozenset[str] = frozenset()
    """Wearers all of whose moments may leave."""
    consents: Consents = field(default_factory=Consents)
    """What the wearers said themselves; it counts before `agreed` and before what a single moment says."""


def choose(rows: Sequence[SampleRow], wanted: Wanted, blobs: Blobs) -> tuple[list[Row], LeftOut]:
    """Rows for the writers, by walk and number, and why others were left out. blobs: the dataset's."""
    names = names_of(rows)
    left_out, chosen = LeftOut(), []
    for row in sorted(rows, key=lambda row: names[row.sample_id]):
        reason = reason_to_stay(row, wanted)
        if reason:
            left_out[reason] += 1
        else:
            chosen.append(row)
    if wanted.per_object:
        kept = draw(
            chosen, wanted.per_object, kind=lambda row: stats.object_in(text_of(row)), name=lambda row: row.sample_id
        )
        if len(kept) < len(chosen):
            left_out[f"more than {wanted.per_object} of one object"] = len(chosen) - len(kept)
        chosen = kept
    return evened([made(row, names[row.sample_id], wanted.silence, blobs) for row in chosen]), left_out


def may_leave(row: SampleRow, agreed: frozenset[str]) -> bool:
    """Whether the wearer agreed that others get the moment: for this one, or by the admin's list for all of them."""
    return row.consent == SHARED or (row.speaker_id != "" and row.speaker_id in agreed)


def reason_to_stay(row: SampleRow, wanted: Wanted) -> str:
    """Why a row does not leave, also for whom it is, "" = it leaves."""
    return objection(row, wanted) or _not_agreed(row, wanted)


def _not_agreed(row: SampleRow, wanted: Wanted) -> str:
    said = wanted.consents.asked(wearer_of(row))
    leaves = (said or wanted.consents.of(wearer_of(row))).export
    if leaves is LeavesFor.NOWHERE:
        return "its wearer has not agreed to exports"
    handed_on = leaves is LeavesFor.OTHERS or (said is None and may_leave(row, wanted.agreed))
    stays = wanted.for_others and not handed_on
    return "its wearer has not agreed that it leaves this server" if stays else ""


def objection(row: SampleRow, wanted: Wanted) -> str:
    """Why a row stays, "" = it leaves."""
    if row.rejected:
        return "rejected"
    if not row.reviewed and wanted.only == "reviewed":
        return "not reviewed yet"
    if why := _unteachable(row):
        return why
    if not hidden.shows(row.hidden, text_of(row)):
        return "what should be said of it was made unrecognisable"
    if wanted.split not in ("all", _split(row)):
        return "of the other split"
    return "" if text_of(row) or wanted.silence else "nothing should be said"


def _unteachable(row: SampleRow) -> str:
    """Why the trainer would leave a row out, too, "" = it would not."""
    if row.reviewed:
        # Under an older table of what may be said, or by another tool.
        return "" if may_teach(row.ground_truth) else "what was confirmed may not be taught: review it again"
    if not decisions.not_understood(row):
        return ""
    return "the wearer's correction was not understood yet" if row.correction_id else "what was said may not be taught"


def text_of(row: SampleRow) -> str:
    """What should be said, "" = nothing."""
    return row.ground_truth if row.reviewed else decisions.proposal(row)


class Nameable(Protocol):
    """What a name is made from."""

    @property
    def sample_id(self) -> str: ...
    @property
    def walk_id(self) -> str: ...
    @property
    def timestamp(self) -> float: ...


def names_of(rows: Iterable[Nameable]) -> dict[str, str]:
    """Sample id → {walk}_chunk{NNNN}, unique.

    NNNN is the chunk's place in its walk, the last part of its id. Where a walk has one number twice (its device was
    restarted on the way), all moments of that walk are numbered by time instead.
    """
    walks: defaultdict[str, list[Nameable]] = defaultdict(list)
    for row in rows:
        walks[row.walk_id].append(row)
    names = {}
    for walk_id, some in walks.items():
        tails = [row.sample_id.rpartition("-")[2] for row in some]
        numbers = [int(tail) for tail in tails if tail.isascii() and tail.isdigit()]
        if len(set(numbers)) < len(some):
            some.sort(key=lambda row: (row.timestamp, row.sample_id))
            numbers = list(range(len(some)))
        names.update({row.sample_id: f"{walk_id}_chunk{n:04d}" for row, n in zip(some, numbers, strict=True)})
    return names


def draw(
    items: Sequence[Drawn], most: int, *, kind: Callable[[Drawn], str], name: Callable[[Drawn], str]
) -> list[Drawn]:
    """At most `most` items of each kind, drawn by hash: the same every time, and in the order given."""
    groups: defaultdict[str, list[Drawn]] = defaultdict(list)
    for item in items:
        groups[kind(item)].append(item)
    kept: set[str] = set()
    for group in groups.values():
        group.sort(key=lambda item: hashlib.sha256(f"{DRAW}:{name(item)}".encode()).digest())
        kept.update(name(item) for item in group[:most])
    return [item for item in items if name(item) in kept]


def made(row: SampleRow, name: str, silence: str, blobs: Blobs) -> Row:
    """A row for the writers. blobs: the dataset's"""
    return Row(
        name=name,
        text=text_of(row) or silence,
        frame=blobs.local(row.frame_path),
        audio=blobs.local(row.audio_path),
        clip=blobs.local(row.clip_path) if row.clip_path else None,
        raw=row.raw_output,
        context=row.context,
        fields=fields_of(row),
        split=_split(row),
        duration_s=row.duration_s,
        sample=collected.sample_of(row, row.ground_truth or silence if row.reviewed else None),
    )


def fields_of(row: SampleRow) -> dict[str, str]:
    """Text as it is, what has another type as JSON in one field: a column of a table has one type."""
    texts = {"context": row.context, "consent": row.consent}
    extra = sample_row.foreign_fields(row.extra)
    texts |= {name: value for name, value in extra.items() if isinstance(value, str) and name not in _TAKEN}
    others = {name: value for name, value in extra.items() if not isinstance(value, str) and name not in _TAKEN}
    if others:
        texts["extra"] = json.dumps(others, ensure_ascii=False, sort_keys=True)
    return {name: value for name, value in texts.items() if value}


def _split(row: SampleRow) -> Split:
    """A golden moment of a walk that teaches must not teach elsewhere either."""
    return "golden" if row.golden and row.split == "train" else row.split
