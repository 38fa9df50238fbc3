"""How good the guidance is, by what people confirmed. Pure functions over sample rows.

Only the audit stream, a uniform draw of all moments, tells how often guidance is right on a walk. All other moments
were chosen because something seemed wrong: their accuracy shows what is hard, not what is common. A moment counts only
once a person has looked, and only where a model was there to be judged.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from server.database.sqlite import DATABASE_NAME
from server.dataset import blobs, line_log
from server.dataset.folder import Dataset
from server.dataset.judged import NO_OBJECT as NO_OBJECT
from server.dataset.judged import SILENCE as SILENCE
from server.dataset.judged import in_audit as in_audit
from server.dataset.judged import is_judged as is_judged
from server.dataset.judged import missed_words, said, span_of, wording
from server.dataset.judged import object_in as object_in
from server.dataset.sample_row import SampleRow, State

MOST = 20  # entries of a list: enough to see a pattern
_Z = 1.96  # 95 %


@dataclass(frozen=True, slots=True)
class ReviewedShare:
    """How many of the judged moments were right."""

    right: int
    judged: int

    @property
    def rate(self) -> float | None:
        """0..1; None where nothing was judged."""
        return self.right / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % Wilson interval of the rate. source: Wilson 1927; Brown, Cai, DasGupta 2001"""
        if not self.judged:
            return None
        n, p = self.judged, self.right / self.judged
        middle, spread = p + _Z**2 / (2 * n), _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return max(0.0, (middle - spread) / (1 + _Z**2 / n)), min(1.0, (middle + spread) / (1 + _Z**2 / n))


@dataclass(frozen=True, slots=True)
class Group:
    """The share of one object, model version or time span."""

    name: str
    all: ReviewedShare
    audit: ReviewedShare


@dataclass(frozen=True, slots=True)
class WordingConfusion:
    """Said where something else was right."""

    said: str
    should: str
    count: int


@dataclass(frozen=True, slots=True)
class WalkCounts:
    """What came from one walk."""

    name: str
    moments: int
    corrections: int
    split: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that `waycue-server stats` shows, but the storage."""

    states: dict[str, int]
    corrections: int
    accuracy: ReviewedShare
    """Of all that was judged: biased towards what is hard."""
    audit: ReviewedShare
    """Of the audit stream: the only unbiased view."""
    by_object: tuple[Group, ...]
    """By what should have been said; the most frequent first."""
    by_model: tuple[Group, ...]
    """The newest first."""
    over_time: tuple[Group, ...]
    """By UTC day or by the Monday of the week, oldest first."""
    confusions: tuple[WordingConfusion, ...]
    missed_words: tuple[tuple[str, int], ...]
    """Words of the right guidance that the wrong one did not have."""
    walks: tuple[WalkCounts, ...]
    """The most corrected first."""


def summary(rows: Sequence[SampleRow], *, by: Literal["day", "week"] = "day") -> Summary:
    """All statistics of the newest rows of all samples. Pure."""
    judged = list(filter(is_judged, rows))
    wrong = [row for row in judged if not row.was_correct]
    by_object = grouped(judged, lambda row: object_in(row.ground_truth))
    over_time = grouped(judged, lambda row: span_of(row.timestamp, by=by))
    return Summary(
        states=_states(rows),
        corrections=_corrections(rows),
        accuracy=share(judged),
        audit=share(filter(in_audit, judged)),
        by_object=tuple(sorted(by_object, key=lambda group: (-group.all.judged, group.name))),
        by_model=_by_model(rows, judged),
        over_time=tuple(sorted(over_time, key=lambda group: group.name)),
        confusions=_confusions(wrong),
        missed_words=tuple(first(Counter(word for row in wrong for word in missed_words(row)))),
        walks=_walks(rows),
    )


def _states(rows: Iterable[SampleRow]) -> dict[str, int]:
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in get_args(State)}


def _corrections(rows: Iterable[SampleRow]) -> int:
    return sum(bool(row.correction_id) for row in rows)


def _by_model(rows: Iterable[SampleRow], judged: Iterable[SampleRow]) -> tuple[Group, ...]:
    """The model with the newest moment first, then by name."""
    newest = {row.model_version: row.timestamp for row in sorted(rows, key=lambda row: row.timestamp)}
    groups = grouped(judged, lambda row: row.model_version)
    return tuple(sorted(groups, key=lambda group: (-newest[group.name], group.name)))


def share(rows: Iterable[SampleRow]) -> ReviewedShare:
    """Right and judged of judged rows."""
    marks = [bool(row.was_correct) for row in rows]
    return ReviewedShare(sum(marks), len(marks))


def grouped(rows: Iterable[SampleRow], key: Callable[[SampleRow], str]) -> list[Group]:
    """Judged rows by what `key` says of them."""
    groups = _by(rows, key)
    return [Group(name, share(some), share(filter(in_audit, some))) for name, some in groups.items()]


def _by(rows: Iterable[SampleRow], key: Callable[[SampleRow], str]) -> dict[str, list[SampleRow]]:
    groups: defaultdict[str, list[SampleRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _confusions(wrong: Sequence[SampleRow]) -> tuple[WordingConfusion, ...]:
    pairs = Counter((wording(said(row)), wording(row.ground_truth)) for row in wrong)
    return tuple(WordingConfusion(spoken, should, count) for (spoken, should), count in first(pairs))


def _walks(rows: Sequence[SampleRow]) -> tuple[WalkCounts, ...]:
    walks = [
        WalkCounts(name, len(some), _corrections(some), some[0].split)
        for name, some in _by(rows, lambda row: row.walk_id).items()
    ]
    return tuple(sorted(walks, key=lambda walk: (-walk.corrections, -walk.moments, walk.name)))


def first(counted: Counter[Any]) -> list[tuple[Any, int]]:
    """The most frequent ones, in an order that does not depend on the rows' order."""
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MOST]


def to_dict(summary: Summary) -> dict[str, Any]:
    """A summary as plain JSON values; each share with its rate and interval."""
    plain = asdict(summary)
    plain["accuracy"], plain["audit"] = share_to_dict(summary.accuracy), share_to_dict(summary.audit)
    for name in ("by_object", "by_model", "over_time"):
        plain[name] = [group_to_dict(group) for group in getattr(summary, name)]
    plain["missed_words"] = [{"word": word, "count": count} for word, count in summary.missed_words]
    return plain


def group_to_dict(group: Group) -> dict[str, Any]:
    """name, all and audit."""
    return {"name": group.name, "all": share_to_dict(group.all), "audit": share_to_dict(group.audit)}


def share_to_dict(share: ReviewedShare) -> dict[str, Any]:
    """right, judged, rate, low, high; the last three null where nothing was judged."""
    low, high = share.interval or (None, None)
    return {"right": share.right, "judged": share.judged, "rate": share.rate, "low": low, "high": high}


def storage(home: Path) -> dict[str, int]:
    """Bytes used by a server's home, by part. Raises: OSError."""
    dataset = Dataset(home / "dataset")
    used = {place: blobs.used(dataset.blobs, place) for place in ("frames", "audio", "clips")}
    used["models"] = size_of(home / "models")
    database = sum(path.stat().st_size for path in home.glob(f"{DATABASE_NAME}*"))
    return {**used, "metadata": line_log.stored_bytes(dataset.log), "database": database}


def size_of(folder: Path) -> int:
    """Bytes below a folder; 0 where there is none."""
    total, folders = 0, [str(folder)] if folder.exists() else []
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += _size(entry)
        except FileNotFoundError:
            continue
    return total


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size if entry.is_file() else 0
    except FileNotFoundError:  # a running server removes files at any time
        return 0
