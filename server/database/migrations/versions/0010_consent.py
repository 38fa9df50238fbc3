"""Consent by wearer, deletions with their proofs, and the exports that were made.

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("wearer", sa.String(length=256), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("said_by", sa.String(length=96), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index("ix_consents_wearer", "consents", ["wearer"], unique=False)
    op.create_table(
        "declined",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("record_id", sa.String(length=96), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("device", "record_id", name=op.f("pk_declined")),
    )
    op.create_table(
        "deletions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("by", sa.String(length=96), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("proof", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_table(
        "exports_made",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=24), nullable=False),
        sa.Column("audience", sa.String(length=16), nullable=False),
        sa.Column("anonymous", sa.Integer(), nullable=False),
        sa.Column("gone", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports_made")),
    )
    op.create_table(
        "exported",
        sa.Column("export", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.PrimaryKeyConstraint("export", "sample_id", name=op.f("pk_exported")),
    )
    op.create_index("ix_exported_sample_id", "exported", ["sample_id"], unique=False)
    op.create_table(
        "expiries",
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("announced_at", sa.Float(), nullable=False),
        sa.Column("delete_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_expiries")),
    )
    op.create_index("ix_expiries_delete_at", "expiries", ["delete_at"], unique=False)


def downgrade() -> None:
    op.drop_table("expiries")
    op.drop_table("exported")
    op.drop_table("exports_made")
    op.drop_table("deletions")
    op.drop_table("declined")
    op.drop_table("consents")
