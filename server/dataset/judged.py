"""What statistics count of one moment: whether a model was right there, about which thing, when, and for whom. Pure.

A moment has marks and cells. A cell is "kind:name"; the marks of a moment count in each of its cells. The database
keeps the sums (server.dataset.rollups), so that no statistics read all moments.

    every moment      walk, wearer, author (of one that was decided), model
    a judged one      object, day, heard (with what was right), place, env, sky, source
    a wrong one       wrong (what was said, what was right), word (each that was missed)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from server.dataset.sample_row import SampleRow
from server.dataset.teaching import may_teach
from server.dataset.wording import meaning
from shared import vocabulary

SILENCE = "(nothing)"
NO_OBJECT = "(no object)"
UNKNOWN = "(not known)"
BETWEEN = "\t"
"""Between the two names of a cell that has two; no text of a row that is counted has it (`_name`)."""
CORRECTED, JUDGED, RIGHT, AUDIT = 1, 2, 4, 8
"""Bits of the marks."""
RULES = "2"
"""Of how cells are made, and what a moment is worth: another value has those of all moments made anew."""
_PLAIN = frozenset("the a an at to of is and on in".split())
_LONGEST = 200  # of a name: one that is longer is cut, and counted with those that begin like it


def said(row: SampleRow) -> str:
    """What the device's guidance came to: what was heard, else what it worded and held back."""
    return row.spoken or row.raw_output


def is_judged(row: SampleRow) -> bool:
    """Whether a person has said if a model was right. Videos that a person labelled had no model to be judged; what may
    not be taught, confirmed under an older table of what may be said, judges nothing either."""
    judged = row.reviewed and row.was_correct is not None and row.model_version != ""
    return judged and may_teach(row.ground_truth)


def in_audit(row: SampleRow) -> bool:
    """Whether the moment was drawn uniformly, whatever else it was flagged for."""
    return "audit" in row.flags


def wording(text: str) -> str:
    """A wording in the vocabulary's words, so that equal guidance is counted together."""
    return meaning(text) or SILENCE


def object_in(text: str) -> str:
    """The thing that a wording names."""
    if wording(text) == SILENCE:
        return SILENCE
    slots = vocabulary.parse(wording(text))
    return slots.object if slots and slots.object else NO_OBJECT


def missed_words(row: SampleRow) -> list[str]:
    """Words of the ground truth that were not said, each once."""
    if wording(row.ground_truth) == SILENCE:
        return []
    heard = set(vocabulary.words(said(row))) | _PLAIN
    return [word for word in dict.fromkeys(vocabulary.words(row.ground_truth)) if word not in heard]


def span_of(at_s: float, *, by: Literal["day", "week"]) -> str:
    """The UTC day, or the Monday of its week, as YYYY-MM-DD; UNKNOWN for a time that no calendar has: a device's clock
    may say anything."""
    try:
        day = datetime.fromtimestamp(at_s, UTC).date()
        return (day if by == "day" else day - timedelta(days=day.weekday())).isoformat()
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def monday_of(day: str) -> str:
    """The Monday of the week of a day, both as `span_of` gives them."""
    return day if day == UNKNOWN else (date.fromisoformat(day) - _weekday(day)).isoformat()


def _weekday(day: str) -> timedelta:
    return timedelta(days=date.fromisoformat(day).weekday())


def field_of(row: SampleRow, name: str) -> str:
    """A coverage field of a row, wherever it stands."""
    own = getattr(row, name, None) or row.extra.get(name)
    return own if isinstance(own, str) and own else UNKNOWN


def marks_of(row: SampleRow) -> int:
    """The bits of a moment."""
    judged = is_judged(row)
    bits = (CORRECTED * bool(row.correction_id), JUDGED * judged, RIGHT * (judged and bool(row.was_correct)))
    return sum(bits) + AUDIT * in_audit(row)


def cells_of(row: SampleRow) -> list[str]:
    """The cells of a moment, each once."""
    cells = [_cell("walk", row.walk_id), _cell("wearer", row.speaker_id or UNKNOWN)]
    cells.append(_cell("model", row.model_version))
    if row.state != "pending" and row.author:
        cells.append(_cell("author", row.author, row.state))
    if is_judged(row):
        cells += _judged_cells(row)
    return cells


def _judged_cells(row: SampleRow) -> Iterator[str]:
    yield _cell("object", object_in(row.ground_truth))
    yield _cell("day", span_of(row.timestamp, by="day"))
    yield _cell("place", row.context or UNKNOWN)
    yield _cell("env", field_of(row, "environment"))
    yield _cell("sky", field_of(row, "weather"))
    yield _cell("source", row.source)
    if not row.was_correct:
        yield _cell("wrong", wording(said(row)), wording(row.ground_truth))
        yield from (_cell("word", word) for word in missed_words(row))


def _cell(kind: str, *names: str) -> str:
    return f"{kind}:{BETWEEN.join(map(_name, names))}"


def _name(text: str) -> str:
    return text.replace(BETWEEN, " ")[:_LONGEST]
