"""What people leave at a moment beside a decision: skipped, difficult, assigned to somebody, comments. Moments stay as
they are, and nothing of it teaches.

skipped     by one person: it comes back to them after the rest, or after a day
difficult   seen by all: somebody who knows more should look
assigned    to a person by name
comment     seen by all, in the order written
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, insert, select

from server.database import review_tables as tables
from server.database import store as db
from server.database import upserting
from server.database.store import Store
from shared.errors import Refused
from shared.printable import printable

MAX_COMMENT, MAX_PERSON, MOST_COMMENTS = 1000, 96, 200


@dataclass(frozen=True, slots=True)
class ReviewComment:
    """A comment."""

    id: int
    at: float
    """Wall time, seconds since 1970 in UTC."""
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class MomentMarks:
    """What people left at a moment. "" = nobody."""

    difficult_by: str = ""
    difficult_at: float = 0.0
    assigned_to: str = ""
    assigned_by: str = ""


NO_MARKS = MomentMarks()


def skip(store: Store, sample_id: str, person: str, *, now_s: float) -> None:
    """Put a moment behind the others for this person; their lease of it ends."""
    with store.writing() as connection:
        values = {"person": person, "sample_id": sample_id, "at": now_s}
        connection.execute(upserting.replace(connection, tables.review_skips).values(**values))
        table = tables.review_leases
        connection.execute(delete(table).where(table.c.sample_id == sample_id, table.c.person == person))


def unskip(store: Store, sample_id: str, person: str) -> None:
    """Take the skip back."""
    table = tables.review_skips
    with store.writing() as connection:
        connection.execute(delete(table).where(table.c.sample_id == sample_id, table.c.person == person))


def mark_difficult(store: Store, sample_id: str, person: str, *, difficult: bool, now_s: float) -> None:
    """Say that a moment is difficult, or that it is not."""
    values = {"difficult_by": person if difficult else "", "difficult_at": now_s if difficult else 0.0}
    _mark(store, sample_id, values)


def assign(store: Store, sample_id: str, to: str, person: str) -> None:
    """Assign a moment to a person, "" = to nobody. Raises: Refused for a name that is too long."""
    name = printable(to).strip()
    if len(name) > MAX_PERSON:
        raise Refused(f"A name of {len(name)} letters is too long.", hint=f"Use at most {MAX_PERSON}.")
    _mark(store, sample_id, {"assigned_to": name, "assigned_by": person if name else ""})


def _mark(store: Store, sample_id: str, values: dict[str, object]) -> None:
    nothing = {"difficult_by": "", "difficult_at": 0.0, "assigned_to": "", "assigned_by": ""}
    with store.writing() as connection:
        statement = upserting.upsert(connection, tables.review_marks).values(
            sample_id=sample_id, **{**nothing, **values}
        )
        connection.execute(statement.on_conflict_do_update(index_elements=["sample_id"], set_=values))


def of(store: Store, sample_ids: Sequence[str]) -> dict[str, MomentMarks]:
    """sample_id → its marks, of those of these moments that have any."""
    table = tables.review_marks
    with store.reading() as connection:
        rows = connection.execute(select(table).where(table.c.sample_id.in_(list(sample_ids)))).mappings().all()
    return {row["sample_id"]: MomentMarks(**{n: row[n] for n in MomentMarks.__slots__}) for row in rows}


def comment(store: Store, sample_id: str, author: str, text: str, *, now_s: float) -> ReviewComment:
    """Write a comment. Raises: Refused where there are no words, or too many."""
    plain = " ".join(printable(text).split())
    if not plain:
        raise Refused("The comment has no words.")
    if len(plain) > MAX_COMMENT:
        raise Refused(f"{len(plain)} characters are too long for a comment.", hint=f"Use at most {MAX_COMMENT}.")
    if len(comments(store, sample_id)) >= MOST_COMMENTS:
        raise Refused(f"This moment has {MOST_COMMENTS} comments already.")
    with store.writing() as connection:
        values = {"sample_id": sample_id, "at": now_s, "author": author, "text": plain}
        done = connection.execute(insert(tables.review_comments).values(**values))
    return ReviewComment(db.new_id(done), now_s, author, plain)


def uncomment(store: Store, sample_id: str, comment_id: int, author: str) -> bool:
    """Delete one's own comment about a moment; whether there was such a one."""
    table = tables.review_comments
    own = and_(table.c.sample_id == sample_id, table.c.id == comment_id)
    with store.writing() as connection:
        done = connection.execute(delete(table).where(own, table.c.author == author))
    return bool(done.rowcount)


def comments(store: Store, sample_id: str) -> list[ReviewComment]:
    """What was written about a moment, oldest first."""
    table = tables.review_comments
    with store.reading() as connection:
        rows = connection.execute(select(table).where(table.c.sample_id == sample_id).order_by(table.c.id)).all()
    return [ReviewComment(row.id, row.at, row.author, row.text) for row in rows]
