"""Each wearer, device and model gets lists of its own, in the orders of what is pending and of what is decided; days
get an index; a posting of the index of words says the state of its moment, and whose a moment is is a term of it.

Revision: 0024, after 0023.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from server.database import packing

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_DECIDED = sa.text("state != 'pending'")
_LATER_FIRST, _CHANGED_FIRST = sa.text("captured_at DESC"), sa.text("changed_at DESC")
_AT_ONCE = 20_000
_WHOSE = ("wearer", "device", "model")
_STATE = "CASE s.state WHEN 'pending' THEN 0 WHEN 'reviewed' THEN 1 WHEN 'rejected' THEN 2 ELSE -1 END"
_WITH_STATE = (
    f"INSERT INTO postings_anew SELECT p.term, {_STATE}, p.moment FROM search_postings p"  # noqa: S608  words of ours
    " JOIN sought s ON s.number = p.moment WHERE p.term = :term ORDER BY 2, 3"
)
_OF_WEARERS = (
    f"INSERT INTO postings_anew SELECT t.id, {_STATE}, s.number FROM sought s JOIN search_terms t"  # noqa: S608
    " ON t.kind = 'wearer' AND t.term = s.wearer ORDER BY 1, 2, 3"
)
_AS_BEFORE = "INSERT INTO postings_anew SELECT p.term, p.moment FROM search_postings p WHERE p.term = :term ORDER BY 2"


def upgrade() -> None:
    tell, done = packing.teller(), 0
    for whose in _WHOSE:
        name = f"ix_samples_{whose}"
        op.create_index(f"{name}_listed", "samples", [whose, "state", "priority", _LATER_FIRST])
        op.create_index(
            f"{name}_decided",
            "samples",
            [whose, "state", _CHANGED_FIRST],
            sqlite_where=_DECIDED,
            postgresql_where=_DECIDED,
        )
        tell("indexing moments", done := done + 1, len(_WHOSE) + 1)
    for name in ("wearer", "device", "decided"):
        op.drop_index(f"ix_samples_{name}", table_name="samples")
    op.create_index("ix_samples_decided", "samples", ["state", _CHANGED_FIRST, "sample_id", "captured_at"])
    op.create_index("ix_samples_captured", "samples", ["captured_at", "state"])
    op.create_index("ix_review_marks_difficult_by", "review_marks", ["difficult_by"])
    tell("indexing moments", done + 1, len(_WHOSE) + 1)
    _name_wearers()
    with_state = sa.Column("state", sa.SmallInteger(), autoincrement=False, nullable=False)
    _made_anew(with_state, _WITH_STATE, _OF_WEARERS)


def _name_wearers() -> None:
    """Each wearer is a term, and a row names it with its others."""
    connection, tell = op.get_bind(), packing.teller()
    op.execute("INSERT INTO search_terms (kind, term) SELECT DISTINCT 'wearer', wearer FROM sought")
    last = connection.execute(sa.text("SELECT coalesce(max(number), 0) FROM sought")).scalar_one()
    change = sa.text(
        "UPDATE sought SET terms = trim(terms || ' ' || (SELECT CAST(t.id AS TEXT) FROM search_terms t"
        " WHERE t.kind = 'wearer' AND t.term = sought.wearer)) WHERE number > :start AND number <= :end"
    )
    for start in range(0, last, _AT_ONCE):
        connection.execute(change, {"start": start, "end": start + _AT_ONCE})
        tell("naming wearers", min(start + _AT_ONCE, last), last)


def _made_anew(further: sa.Column[int] | None, copy: str, rest: str = "") -> None:
    """The postings with one column more or less; a term after the other, so that it can be told how far it is."""
    connection, tell = op.get_bind(), packing.teller()
    columns = [sa.Column(name, sa.Integer(), autoincrement=False, nullable=False) for name in ("term", "moment")]
    if further is not None:
        columns.insert(1, further)
    key = sa.PrimaryKeyConstraint(*(one.name for one in columns), name=op.f("pk_search_postings_anew"))
    op.create_table("postings_anew", *columns, key, sqlite_with_rowid=False)
    terms = connection.execute(sa.text("SELECT id FROM search_terms ORDER BY id")).scalars().all()
    for done, term in enumerate(terms, start=1):
        connection.execute(sa.text(copy), {"term": term})
        tell("indexing words", done, len(terms))
    if rest:
        op.execute(rest)
    op.drop_table("search_postings")
    op.rename_table("postings_anew", "search_postings")
    if connection.dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_search_postings_anew RENAME TO pk_search_postings")


def downgrade() -> None:
    op.execute(
        "UPDATE sought SET terms = trim(replace(' ' || terms || ' ', ' ' || (SELECT CAST(t.id AS TEXT)"
        " FROM search_terms t WHERE t.kind = 'wearer' AND t.term = sought.wearer) || ' ', ' '))"
    )
    op.execute("DELETE FROM search_terms WHERE kind = 'wearer'")
    _made_anew(None, _AS_BEFORE)
    op.drop_index("ix_review_marks_difficult_by", table_name="review_marks")
    op.drop_index("ix_samples_captured", table_name="samples")
    op.drop_index("ix_samples_decided", table_name="samples")
    op.create_index("ix_samples_decided", "samples", ["state", _CHANGED_FIRST, "sample_id"])
    for whose in _WHOSE:
        op.drop_index(f"ix_samples_{whose}_decided", table_name="samples")
        op.drop_index(f"ix_samples_{whose}_listed", table_name="samples")
    for whose in ("wearer", "device"):
        op.create_index(f"ix_samples_{whose}", "samples", [whose, "state", "priority", "captured_at"])
