"""What stands beside a moment on its page: those before and after it on the walk, who has it, what people left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from server.access import visible
from server.database.store import Store
from server.dataset.sample_row import SampleRow
from server.review import decisions, leases, marks, near
from server.review.leases import Lease
from server.review.marks import MomentMarks, ReviewComment
from server.web.person import Person


@dataclass(frozen=True, slots=True)
class WalkLink:
    """Another moment of the same walk."""

    sample_id: str
    frame_path: str
    told: str
    """"4 s before: Caution, bin ahead."."""


@dataclass(frozen=True, slots=True)
class ShownComment:
    """A comment as the page shows it."""

    author: str
    text: str
    at_iso: str
    when: str


@dataclass(frozen=True, slots=True)
class BesideMoment:
    """All of it."""

    before: tuple[WalkLink, ...]
    after: tuple[WalkLink, ...]
    marks: tuple[str, ...]
    """What people left, in sentences."""
    difficult_by: str
    """"" = nobody finds it so."""
    assigned_to: str
    held_by: str
    """Who else has it open, "" = nobody."""
    comments: tuple[ShownComment, ...]
    can_blur: bool
    """This server can blur its picture from the page."""


def of(store: Store, row: SampleRow, who: Person, *, now_s: float, can_blur: bool) -> BesideMoment:
    """What stands beside one moment, for the person who looks at it."""
    around = near.on_walk(store, row)
    left = marks.of(store, [row.sample_id]).get(row.sample_id, marks.NO_MARKS)
    held_by = held(leases.standing(store, [row.sample_id], now_s=now_s).get(row.sample_id), who)
    return BesideMoment(
        before=_links(row, around.before, who),
        after=_links(row, around.after, who),
        marks=sentences(left, held_by),
        difficult_by=left.difficult_by,
        assigned_to=left.assigned_to,
        held_by=held_by,
        comments=tuple(map(_shown, marks.comments(store, row.sample_id))),
        can_blur=can_blur,
    )


def held(lease: Lease | None, who: Person) -> str:
    """Who else has a moment, "" = nobody. Pure."""
    return lease.person if lease is not None and lease.person != who.name else ""


def sentences(left: MomentMarks, held_by: str) -> tuple[str, ...]:
    """What people left at a moment, for people. Pure."""
    told = (
        f"{held_by} has this one." if held_by else "",
        f"Difficult, says {left.difficult_by}." if left.difficult_by else "",
        f"For {left.assigned_to}." if left.assigned_to else "",
    )
    return tuple(filter(None, told))


def _links(row: SampleRow, others: Sequence[SampleRow], who: Person) -> tuple[WalkLink, ...]:
    return tuple(_link(row, other) for other in others if visible.may_see(who, other))


def _link(row: SampleRow, other: SampleRow) -> WalkLink:
    apart = other.timestamp - row.timestamp
    said = decisions.said(other)[:60] or "the device said nothing"
    return WalkLink(
        other.sample_id, other.frame_path, f"{_span(abs(apart))} {'after' if apart > 0 else 'before'}: {said}"
    )


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _shown(comment: ReviewComment) -> ShownComment:
    at = datetime.fromtimestamp(comment.at, tz=UTC)
    return ShownComment(comment.author, comment.text, at.isoformat(timespec="seconds"), f"{at:%d %B %Y, %H:%M} UTC")
