"""Tables of what people decide about moments and leave at them, of what moments are searched by, and of the sums over
them. Times are wall-clock seconds since 1970 in UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from server.database.bodies import Body
from server.database.store import metadata, samples


class TermIds(TypeDecorator[tuple[int, ...]]):
    """Numbers in order, as text: "3 17 204"."""

    impl = Text
    cache_ok = True

    def bind_processor(self, _dialect: Dialect) -> Callable[[Any], str]:
        return lambda ids: " ".join(map(str, ids))

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], tuple[int, ...]]:
        return lambda stored: tuple(map(int, stored.split()))


reviews = Table(
    "reviews",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sample_id", String(96), nullable=False),
    Column("at", Float, nullable=False),
    Column("reviewer", String(96), nullable=False),
    Column("action", String(16), nullable=False),  # accept | edit | nothing | reject | return | undo
    Column("before", Body, nullable=False),
    Column("after", Body, nullable=False),
)
Index("ix_reviews_sample_id", reviews.c.sample_id)
Index("ix_reviews_reviewer", reviews.c.reviewer, reviews.c.id)

review_acts = Table(
    "review_acts",
    metadata,
    Column("review", Integer, primary_key=True, autoincrement=False),  # its id in reviews
    Column("act", Integer, nullable=False),  # the first of what was decided at once
    Column("undone_by", Integer),  # the review that took it back; null = it stands
)
Index("ix_review_acts_act", review_acts.c.act)

review_skips = Table(
    "review_skips",
    metadata,
    Column("person", String(96), primary_key=True),
    Column("sample_id", String(96), primary_key=True),
    Column("at", Float, nullable=False),
)

review_marks = Table(
    "review_marks",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("difficult_by", String(96), nullable=False),  # "" = nobody finds it so
    Column("difficult_at", Float, nullable=False),
    Column("assigned_to", String(96), nullable=False),  # "" = nobody
    Column("assigned_by", String(96), nullable=False),
)
Index("ix_review_marks_assigned_to", review_marks.c.assigned_to)
Index("ix_review_marks_difficult_by", review_marks.c.difficult_by)

review_comments = Table(
    "review_comments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sample_id", String(96), nullable=False),
    Column("at", Float, nullable=False),
    Column("author", String(96), nullable=False),
    Column("text", Text, nullable=False),
)
Index("ix_review_comments_sample_id", review_comments.c.sample_id)

review_leases = Table(
    "review_leases",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("person", String(96), nullable=False),
    Column("until", Float, nullable=False),
)
Index("ix_review_leases_person", review_leases.c.person)

proposed_words = Table(
    "proposed_words",
    metadata,
    Column("words", String(96), primary_key=True),  # lower case
    Column("sample_id", String(96), primary_key=True),
    Column("at", Float, nullable=False),
    Column("person", String(96), nullable=False),
    Column("text", Text, nullable=False),  # all that was typed or heard
)

sought = Table(
    "sought",  # what moments are searched by: see server.dataset.sought
    metadata,
    Column("number", Integer, primary_key=True),  # what postings name it by
    Column("sample_id", String(96), nullable=False, unique=True),
    Column("wearer", String(96), nullable=False),  # as in samples, and so are the state and what orders the queue
    Column("state", String(16), nullable=False),
    Column("flags", Text, nullable=False),  # |wearer|audit|
    Column("things", Text, nullable=False),  # |cone|head obstacle|: named by any wording of it
    Column("words", Text, nullable=False),  # all wordings, in lower case
    Column("look", String(16)),  # the picture's difference hash, hexadecimal; null = not made yet
    Column("terms", TermIds, nullable=False, server_default=""),  # ids of its terms: its postings
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("captured_at", Float, nullable=False, server_default="0"),
)

search_terms = Table(
    "search_terms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(8), nullable=False),  # word | thing | flag
    Column("term", Text, nullable=False),
    UniqueConstraint("kind", "term"),
)

search_postings = Table(
    "search_postings",
    metadata,
    Column("term", Integer, primary_key=True, autoincrement=False),  # of search_terms
    Column("state", SmallInteger, primary_key=True, autoincrement=False),  # as server.dataset.search_index numbers them
    Column("moment", Integer, primary_key=True, autoincrement=False),  # the number in sought
    sqlite_with_rowid=False,
)

ABOUT_MOMENTS = (samples, review_skips, review_marks, review_comments, review_leases, proposed_words, sought)
"""Tables of which the rows of an erased moment are deleted."""

rollups = Table(
    "rollups",  # sums over samples, kept by triggers (migration 0011) in the transaction that changes a sample
    metadata,
    Column("cell", Text, primary_key=True),  # "kind:name": server.dataset.judged, and "state:..."
    Column("moments", Integer, nullable=False),
    Column("corrections", Integer, nullable=False),
    Column("judged", Integer, nullable=False),
    Column("correct", Integer, nullable=False),
    Column("audit_judged", Integer, nullable=False),
    Column("audit_correct", Integer, nullable=False),
    sqlite_with_rowid=False,
)

rollup_state = Table(
    "rollup_state",
    metadata,
    Column("rules", String(64), primary_key=True),  # by which the cells of samples were made
    Column("after", String(96), nullable=False),  # samples up to this one have them
    Column("whole", Boolean, nullable=False),  # all samples have them
)
