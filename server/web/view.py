"""What a page shows of a moment, in a caregiver's words. Pure: rows in, values for the templates out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from server.dataset import wording
from server.dataset.sample_row import SampleRow, State
from server.dataset.wording import NotSayable, Reworded
from server.review import decisions, proposals
from server.web import choices, drawn, where
from server.web.choices import WordingChoice
from server.web.drawn import DrawnSide
from server.web.review import ReviewOutcome
from server.web.where import WhereChoice
from shared.errors import Refused

TABS: tuple[tuple[State | Literal["all"], str], ...] = (
    ("pending", "To review"), ("reviewed", "Reviewed"), ("rejected", "Rejected"), ("all", "All"),
)  # fmt: skip
WORD_MOST = 400
"""Letters of a device's words that a page shows: they come from outside, and may be one word without an end."""
_WHY = {
    "correction": "{wearer} said what should have been said",
    "wearer": "{wearer} pressed the button",
    "stopped": "words that must never be spoken were stopped on the device",
    "low_confidence": "the device was unsure",
    "audit": "picked at random as a check",
    "predecessor": "just before another flagged moment",
}


@dataclass(frozen=True, slots=True)
class Rewording:
    """Words that would be taught as others, for a person to read and confirm."""

    what: str
    """How the words came: "You wrote", "Heard"."""
    text: str
    wording: str
    """"" = they may not be taught; `suggestions` may hold what was meant."""
    left_out: str
    """What `wording` does not say, in words; "" = it says all."""
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TeacherChoice:
    """What a larger network on the server would have said, for a person to choose or not."""

    name: str
    wording: str
    """"" = nothing."""
    percent: int
    """How sure it is."""
    offered: bool
    """A button of its own teaches it; else it is the proposal already, or "Nothing should be said"."""


@dataclass(frozen=True, slots=True)
class MomentCard:
    """One moment on a page. "" = there is none."""

    row: SampleRow
    title: str
    at: datetime
    """In UTC."""
    why: str
    alt: str
    wearer: str
    proposal: str
    """The wording that Accept confirms; "" = nothing should be said."""
    acceptable: bool
    """There is something to accept."""
    to_confirm: bool
    """Accept would not be taken: the proposal is not what was said, and is confirmed by itself."""
    rewording: Rewording | None
    """How the proposal came about, where it says something else than the words that it was made from."""
    unsayable: NotSayable | None
    """Why there is no proposal, and what may have been meant, where there were words."""
    suggested_by: str
    """The language model that the proposal comes from, "" = it does not."""
    unsuggested: str
    """Why a language model's answer was dropped, "" = none was."""
    teacher: TeacherChoice | None
    """None where none has looked, or a person has decided."""
    typed: str
    """What stands in the edit field."""
    decided: str
    """The decision in words, where there is one."""
    where: tuple[WhereChoice, ...]
    """Where and when it was recorded."""
    where_told: str
    """The same in words."""
    choices: tuple[WordingChoice, ...]
    """What may be taught, by key."""
    unsure: str
    """Why it must be listened to before the proposal is accepted, "" = it need not."""
    drawn: tuple[DrawnSide, ...]
    """What is drawn over the picture."""
    drawn_told: str
    """The same in words."""
    drawn_width: int
    """Of the drawing, whose height is drawn.HEIGHT."""

    @property
    def when(self) -> str:
        """Day and time for people."""
        return f"{self.at.day} {self.at:%B %Y, %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the lists, with how many moments it holds."""

    state: State | Literal["all"]
    label: str
    count: str
    """In words; "" = nobody counted."""
    current: bool
    query: str
    """Of its address."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Where a page of a list stands."""

    page: int
    last: int
    first_item: int
    last_item: int
    total: int
    more: bool = False
    """Moments lie behind the last page, which only a narrower search lists."""


def card(row: SampleRow, *, typed: str | None = None, shape: float = drawn.USUAL_ASPECT) -> MomentCard:
    """A moment for a page.

    typed: words to put back into the edit field after they were refused
    shape: width ÷ height of its picture, where it is drawn upon
    """
    proposal = decisions.proposal(row)
    objection = decisions.objection(row)
    wearer = row.speaker_id or "the wearer"
    bands = drawn.sides(decisions.said(row), proposal, shape=shape)
    return MomentCard(
        row=row,
        title=_title(row, wearer),
        at=datetime.fromtimestamp(row.timestamp, tz=UTC),
        why=_why(row, wearer),
        alt=_alt(row),
        wearer=wearer,
        proposal=proposal,
        acceptable=objection is None and not row.reviewed,
        to_confirm=isinstance(objection, Reworded) and not row.reviewed,
        rewording=_rewording(row, proposal),
        unsayable=_unsayable(row),
        suggested_by=decisions.suggested_by(row),
        unsuggested=row.llm_refused if decisions.asked(row) and row.state == "pending" else "",
        teacher=_teacher(row, proposal),
        typed=typed if typed is not None else proposal,
        decided=decided(row),
        where=where.choices_of(row),
        where_told=where.told(where.choices_of(row)),
        choices=choices.choices(row),
        unsure=choices.unsure(row) if objection is None else "",
        drawn=bands,
        drawn_told=drawn.told(bands),
        drawn_width=round(shape * drawn.HEIGHT),
    )


def answer(outcome: ReviewOutcome, *, typed: str | None) -> Rewording | None:
    """What a person may choose after words that were not taken; None where there is nothing to choose."""
    instead = outcome.instead
    if instead is None or outcome.row is None or not (instead.wording or instead.suggestions):
        return None
    text = typed if typed is not None else decisions.source(outcome.row)
    return Rewording(
        "You wrote" if typed is not None else "It was said",
        " ".join(text.split()),
        instead.wording,
        wording.left_out(instead.lost),
        instead.suggestions,
    )


def _teacher(row: SampleRow, proposal: str) -> TeacherChoice | None:
    if not row.teacher or row.state != "pending":
        return None
    offered = bool(row.teacher_wording) and row.teacher_wording != proposal
    return TeacherChoice(row.teacher, row.teacher_wording, round(100 * row.teacher_score), offered)


def _rewording(row: SampleRow, proposal: str) -> Rewording | None:
    reading = decisions.changed(row)
    if reading is None:
        return None
    what = "Heard" if row.correction_id else "The device’s words were"
    return Rewording(what, reading.text, proposal, wording.left_out(reading.lost))


def _unsayable(row: SampleRow) -> NotSayable | None:
    """Why there is no proposal: the wearer's words as they were heard, else the device's, may not be taught."""
    if not decisions.not_understood(row):
        return None
    try:
        wording.teachable(row.transcript if row.correction_id else decisions.source(row))
    except NotSayable as problem:
        return problem
    except Refused:
        return None
    return None


def _title(row: SampleRow, wearer: str) -> str:
    if row.correction_id:
        return f"Correction by {wearer}"
    if "wearer" in row.flags:
        return f"Flagged by {wearer}"
    return f"Moment from a walk of {wearer}"


def _alt(row: SampleRow) -> str:
    if row.spoken:
        return f"Camera picture. The device said: {row.spoken}"
    if row.raw_output:
        return f"Camera picture. The device said nothing aloud. It held back: {row.raw_output}"
    return "Camera picture. The device said nothing."


def _why(row: SampleRow, wearer: str) -> str:
    if row.doubted:
        return f"Its label is doubted: {row.doubt}"
    # Speaking a correction holds the button down: saying both would be saying it twice.
    flags = [flag for flag in row.flags if flag in _WHY and not (flag == "wearer" and row.correction_id)]
    reasons = [_WHY[flag].format(wearer=wearer) for flag in flags]
    if row.state == "pending" and (dispute := proposals.disputed(row)):
        reasons.append(dispute)
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def decided(row: SampleRow) -> str:
    """A decision in words, "" while there is none."""
    if row.rejected:
        return "Rejected: this moment will not teach the device."
    if not row.reviewed:
        return ""
    return f"Confirmed: “{row.ground_truth}”" if row.ground_truth else "Confirmed: nothing should be said."


def tabs(
    counts: Mapping[str, int],
    current: State | Literal["", "all"],
    *,
    searched: Mapping[str, str] | None = None,
    most: int | None = None,
) -> list[Tab]:
    """The lists: what waits first, all of them last.

    current: "" = none of them
    searched: the fields of a search that goes on in each
    most: to how many was counted (`searching.counts`); None = all
    """
    totals, within = {**counts}, searched or {}
    totals.setdefault("all", sum(counts.values()))
    return [
        Tab(state, label, _counted(totals[state], most), state == current, urlencode({"state": state, **within}))
        for state, label in TABS
    ]


def _counted(number: int, most: int | None) -> str:
    return f"{most:,}+" if most is not None and number > most else str(number)


def short(text: object, most: int = WORD_MOST) -> str:
    """Words from outside, cut where they are longer than anybody reads. Pure."""
    plain = str(text)
    return plain if len(plain) <= most else f"{plain[:most]}…"


def paging(found: int, *, page: int, size: int, most: int | None = None) -> Paging:
    """Where page `page` (from 1) of a list stands; a page beyond the end becomes the last one. most: as for `tabs`"""
    more = most is not None and found > most
    total = found if most is None else min(found, most)
    last = max(1, -(-total // size))
    page = min(max(1, page), last)
    return Paging(page, last, min(total, (page - 1) * size + 1), min(total, page * size), total, more)
