"""Error patterns: what was said where something else was right, how often, with examples, and what would mend it. Pure.

Every wrong moment has one pattern, the most dangerous that fits:

    silent        nothing was said, and a thing stood there
    side          the right thing on the other side
    confusion     another thing
    false alarm   a thing was named, and nothing should have been said
    urgency       the right thing at the right side, with another opener or modifier
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from server.dataset.sample_row import SampleRow
from server.dataset.wording import meaning
from server.review import decisions, stats
from shared import vocabulary
from shared.vocabulary import Slots

Kind = Literal["silent", "side", "confusion", "false alarm", "urgency"]
KINDS: tuple[Kind, ...] = ("silent", "side", "confusion", "false alarm", "urgency")
EXAMPLES = 3
FEW = 20
"""Confirmed moments of a thing that teach; with fewer, more of them help most."""
_UNSURE = 0.5


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A moment that shows a pattern."""

    sample_id: str
    frame_path: str
    """Inside the dataset."""
    said: str
    should: str


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """A kind of error with one thing."""

    kind: Kind
    said: str
    """The thing, with its side for `side`; "" = nothing."""
    should: str
    count: int
    walks: int
    """On how many walks it came up: one walk may be one odd street."""
    examples: tuple[ErrorExample, ...]
    """The newest, each of another walk first."""
    remedy: str
    """What would mend it, in words."""


@dataclass(frozen=True, slots=True)
class _WrongMoment:
    """What is kept of a wrong moment: a tenth of its row."""

    sample_id: str
    walk_id: str
    frame_path: str
    timestamp: float
    said: str
    should: str
    confidence: float
    held_back: bool


def _wrong(row: SampleRow) -> _WrongMoment:
    said, walk_id = sys.intern(decisions.said(row)), sys.intern(row.walk_id)
    should, held_back = sys.intern(row.ground_truth), bool(row.raw_output and not row.spoken)
    return _WrongMoment(row.sample_id, walk_id, row.frame_path, row.timestamp, said, should, row.confidence, held_back)


def find(rows: Iterable[SampleRow]) -> tuple[ErrorPattern, ...]:
    """All patterns among the judged moments, the most frequent first."""
    groups: defaultdict[tuple[Kind, str, str], list[_WrongMoment]] = defaultdict(list)
    taught = Counter[str]()
    for row in rows:
        if row.reviewed and row.split == "train":
            taught[stats.object_in(row.ground_truth)] += 1
        if stats.is_judged(row) and not row.was_correct:
            groups[kind_of(decisions.said(row), row.ground_truth)].append(_wrong(row))
    found = [_pattern(key, some, taught) for key, some in groups.items()]
    return tuple(sorted(found, key=lambda item: (-item.count, KINDS.index(item.kind), item.said, item.should)))


def kind_of(said: str, should: str) -> tuple[Kind, str, str]:
    """(kind, what was said, what was right) of words that were wrong; things, with their sides where these differ."""
    own, due = _slots(said), _slots(should)
    if due is None:
        return "false alarm", own.object if own else said.strip(), ""
    if own is None:
        return "silent", "", due.object
    if own.object != due.object:
        return "confusion", own.object, due.object
    if _side(own) != _side(due):
        return "side", f"{own.object} {_side(own)}", f"{due.object} {_side(due)}"
    return "urgency", vocabulary.phrase(own), vocabulary.phrase(due)


def _slots(text: str) -> Slots | None:
    """What words name, None = no thing."""
    slots = vocabulary.parse(meaning(text)) if text.strip() else None
    return slots if slots is not None and slots.object else None


def _side(slots: Slots) -> str:
    """ "slightly left" is left."""
    return slots.side.split(" ")[-1] or "ahead"


def _pattern(key: tuple[Kind, str, str], rows: Sequence[_WrongMoment], taught: Mapping[str, int]) -> ErrorPattern:
    kind, said, should = key
    return ErrorPattern(
        kind=kind,
        said=said,
        should=should,
        count=len(rows),
        walks=len({row.walk_id for row in rows}),
        examples=_examples(rows),
        remedy=_remedy(kind, said, should, rows, taught),
    )


def _examples(rows: Sequence[_WrongMoment]) -> tuple[ErrorExample, ...]:
    seen: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: (-row.timestamp, row.sample_id)):
        ranked.append((seen[row.walk_id], row))
        seen[row.walk_id] += 1
    ranked.sort(key=lambda pair: pair[0])  # stable: the newest of each walk first
    return tuple(ErrorExample(row.sample_id, row.frame_path, row.said, row.should) for _, row in ranked[:EXAMPLES])


def _remedy(kind: Kind, said: str, should: str, rows: Sequence[_WrongMoment], taught: Mapping[str, int]) -> str:
    thing = should.rpartition(" ")[0] if kind == "side" else should
    known = taught.get(thing, 0)
    if kind == "urgency":
        return "Confirm a few more of these: the words differ, the thing and its side were right."
    if kind == "false alarm":
        return _fewer(said, rows)
    if known < FEW:
        return f"More moments of {thing}: {known} teach, and below {FEW} little is learnt of a thing."
    held = sum(row.held_back for row in rows)
    if kind == "silent" and 2 * held >= len(rows):
        return f"{held} of {len(rows)} were worded and held back: a lower threshold for {thing} would have said them."
    if kind == "side":
        return f"Moments of {thing} on both sides; check that the camera is worn straight."
    return f"More moments of {thing} that look like these: {known} teach already, from other places."


def _fewer(said: str, rows: Sequence[_WrongMoment]) -> str:
    """What mends false alarms."""
    sure = sum(row.confidence for row in rows) / len(rows)
    if sure < _UNSURE:
        return f"The model was unsure ({sure:.0%}): a higher threshold for {said or 'speaking'} keeps it silent."
    return f"More moments without {said or 'anything'} where it was seen: choose “Nothing should be said”."


def unknown_words(row: SampleRow) -> str:
    """Words of a moment that waits which the vocabulary cannot read, "" = none."""
    return decisions.unread_words(row).strip() if decisions.not_understood(row) else ""


@dataclass(frozen=True, slots=True)
class MissingWord:
    """A word that people say and the vocabulary does not know."""

    word: str
    count: int
    examples: tuple[str, ...]
    """Ids of moments."""


def missing_words(rows: Iterable[SampleRow], *, most: int = 20) -> tuple[MissingWord, ...]:
    """Words of corrections that were not understood, which no reading explains: candidates for the vocabulary."""
    known = vocabulary.lexicon()
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        for word in dict.fromkeys(vocabulary.words(unknown_words(row))):
            if word not in known and len(word) > 2:
                found[word].append(row.sample_id)
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:most]
    return tuple(MissingWord(word, len(ids), tuple(ids[:EXAMPLES])) for word, ids in ranked)


def to_dict(patterns: Iterable[ErrorPattern], words: Iterable[MissingWord]) -> dict[str, Any]:
    """As plain JSON values."""
    return {"patterns": [asdict(item) for item in patterns], "missing_words": [asdict(item) for item in words]}
