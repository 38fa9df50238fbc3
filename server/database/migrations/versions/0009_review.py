"""Review: what was decided at once and undone, skips, marks, comments, leases, proposed words, and what is searched.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from shared import vocabulary

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WORDINGS = ("spoken", "raw_output", "llm_correction", "ground_truth", "transcript", "llm_wording", "teacher_wording")
_AT_ONCE = 1000


def upgrade() -> None:
    op.create_table(
        "review_acts",
        sa.Column("review", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("act", sa.Integer(), nullable=False),
        sa.Column("undone_by", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("review", name=op.f("pk_review_acts")),
    )
    op.create_table(
        "review_skips",
        sa.Column("person", sa.String(length=96), nullable=False),
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("person", "sample_id", name=op.f("pk_review_skips")),
    )
    op.create_table(
        "review_marks",
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("difficult_by", sa.String(length=96), nullable=False),
        sa.Column("difficult_at", sa.Float(), nullable=False),
        sa.Column("assigned_to", sa.String(length=96), nullable=False),
        sa.Column("assigned_by", sa.String(length=96), nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_review_marks")),
    )
    op.create_table(
        "review_comments",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("author", sa.String(length=96), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_comments")),
    )
    op.create_table(
        "review_leases",
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("person", sa.String(length=96), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_review_leases")),
    )
    op.create_table(
        "proposed_words",
        sa.Column("words", sa.String(length=96), nullable=False),
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("person", sa.String(length=96), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("words", "sample_id", name=op.f("pk_proposed_words")),
    )
    op.create_table(
        "sought",
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("wearer", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("things", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("look", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_sought")),
    )
    _fill()
    for name, table, columns in _INDICES:
        op.create_index(name, table, list(columns))


_INDICES = (
    ("ix_review_acts_act", "review_acts", ("act",)),
    ("ix_review_marks_assigned_to", "review_marks", ("assigned_to",)),
    ("ix_review_comments_sample_id", "review_comments", ("sample_id",)),
    ("ix_review_leases_person", "review_leases", ("person",)),
    ("ix_sought_wearer", "sought", ("wearer",)),
    ("ix_reviews_reviewer", "reviews", ("reviewer", "id")),
)


def _fill() -> None:
    """What the moments that are there are searched by; in steps of the primary key, for a million of them."""
    connection, last = op.get_bind(), ""
    query = sa.text("SELECT sample_id, body FROM samples WHERE sample_id > :last ORDER BY sample_id LIMIT :most")
    insert = sa.text(
        "INSERT INTO sought (sample_id, wearer, model_version, flags, things, words, look) "
        "VALUES (:sample_id, :wearer, :model_version, :flags, :things, :words, NULL)"
    )
    while rows := connection.execute(query, {"last": last, "most": _AT_ONCE}).all():
        connection.execute(insert, [_sought(sample_id, json.loads(body)) for sample_id, body in rows])
        last = rows[-1][0]


def _sought(sample_id: str, body: dict[str, Any]) -> dict[str, Any]:
    texts = list(dict.fromkeys(filter(None, (str(body.get(name) or "") for name in _WORDINGS))))
    return {
        "sample_id": sample_id,
        "wearer": str(body.get("speaker_id") or ""),
        "model_version": str(body.get("model_version") or ""),
        "flags": _joined([str(flag) for flag in body.get("flags") or ()]),
        "things": _joined(_things(texts)),
        "words": "\n".join(texts)[:2000].casefold(),
    }


def _things(texts: Sequence[str]) -> list[str]:
    slots = [vocabulary.read(text).slots for text in texts]
    return sorted({one.object for one in slots if one is not None and one.object in vocabulary.load().objects})


def _joined(names: Sequence[str]) -> str:
    plain = [name.replace("|", " ") for name in names]
    return f"|{'|'.join(plain)}|" if plain else ""


def downgrade() -> None:
    for name, table, _columns in reversed(_INDICES):
        op.drop_index(name, table_name=table)
    tables = ("sought", "proposed_words", "review_leases", "review_comments", "review_marks", "review_skips")
    for table in (*tables, "review_acts"):
        op.drop_table(table)
