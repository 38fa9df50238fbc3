"""What moments are searched by gets an inverted index: the words, things and flags, and the moments in which each
stands. The narrow rows get numbers, and say whose a moment is and where it stands as `samples` does.

Revision: 0022, after 0021.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

from server.database import packing

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_AT_ONCE = 5_000
_WORD = re.compile(r"[^\W_]{3,}")


def upgrade() -> None:
    op.create_table(
        "search_terms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_terms")),
        sa.UniqueConstraint("kind", "term", name=op.f("uq_search_terms_kind")),
    )
    op.create_table(
        "search_postings",
        sa.Column("term", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("moment", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("term", "moment", name=op.f("pk_search_postings")),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":  # it has come later (ADR 0095): its tables are empty here
        op.drop_table("sought")
        _make("sought")
        return
    _make("sought_anew")
    _fill()
    op.drop_table("sought")
    op.rename_table("sought_anew", "sought")


def _make(name: str) -> None:
    op.create_table(
        name,
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("wearer", sa.String(length=96), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("things", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("look", sa.String(length=16), nullable=True),
        sa.Column("terms", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_sought")),
        sa.UniqueConstraint("sample_id", name=op.f("uq_sought_sample_id")),
    )


def _fill() -> None:
    """In steps of the old table's rows, for a million of them. `samples.wearer` may not be filled yet (0018)."""
    connection, ids, last = op.get_bind(), dict[tuple[str, str], int](), -1
    tell, done = packing.teller(), 0
    total = connection.execute(sa.text("SELECT count(*) FROM sought")).scalar_one()
    query = sa.text(
        "SELECT o.rowid AS place, o.sample_id, coalesce(nullif(o.wearer, ''), s.device) AS wearer, s.state, o.flags,"
        " o.things, o.words, o.look FROM sought o JOIN samples s ON s.sample_id = o.sample_id"
        " WHERE o.rowid > :last ORDER BY o.rowid LIMIT :most"
    )
    insert = sa.text(
        "INSERT INTO sought_anew (sample_id, wearer, state, flags, things, words, look, terms)"
        " VALUES (:sample_id, :wearer, :state, :flags, :things, :words, :look, :terms)"
    )
    while rows := connection.execute(query, {"last": last, "most": _AT_ONCE}).mappings().all():
        values = []
        for row in rows:
            own = sorted(ids.setdefault(term, len(ids) + 1) for term in _terms(row))
            values.append({**row, "terms": " ".join(map(str, own))})
        connection.execute(insert, values)
        last, done = rows[-1]["place"], done + len(rows)
        tell("indexing words", done, total)
    term = sa.text("INSERT INTO search_terms (id, kind, term) VALUES (:id, :kind, :term)")
    if ids:
        connection.execute(term, [{"id": number, "kind": kind, "term": text} for (kind, text), number in ids.items()])
    # Sorted, so that its pages are full.
    op.execute(
        "INSERT INTO search_postings SELECT j.value, o.number FROM sought_anew o,"
        " json_each('[' || replace(o.terms, ' ', ',') || ']') j ORDER BY j.value, o.number"
    )


def _terms(row: sa.RowMapping) -> set[tuple[str, str]]:
    """As server.dataset.search_index had them then; every row says which it has."""
    listed = (("thing", row["things"]), ("flag", row["flags"]))
    found = {(kind, name) for kind, names in listed for name in names.split("|") if name}
    return found | {("word", piece) for word in _WORD.findall(row["words"]) for piece in _pieces(word)}


def _pieces(word: str) -> list[str]:
    return [word[start : start + 256] for start in range(0, max(len(word) - 128, 1), 128)]


def downgrade() -> None:
    op.create_table(
        "sought_before",
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("wearer", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("things", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("look", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_sought")),
    )
    op.execute(
        "INSERT INTO sought_before SELECT o.sample_id, o.wearer, s.model, o.flags, o.things, o.words, o.look"
        " FROM sought o JOIN samples s ON s.sample_id = o.sample_id"
    )
    for table in ("sought", "search_postings", "search_terms"):
        op.drop_table(table)
    op.rename_table("sought_before", "sought")
    op.create_index("ix_sought_wearer", "sought", ["wearer"])
