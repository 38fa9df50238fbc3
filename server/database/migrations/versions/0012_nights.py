"""Which nights ran and what they said; how much was stored on which day.

Revision: 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "night_runs",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("asked_by", sa.String(length=96), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_began", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=96), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_night_runs")),
    )
    op.create_table(
        "night_lines",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["night_runs.id"], name=op.f("fk_night_lines_run_night_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_night_lines")),
    )
    op.create_index("ix_night_lines_run", "night_lines", ["run"])
    op.create_table(
        "storage_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_storage_days")),
    )


def downgrade() -> None:
    op.drop_table("storage_days")
    op.drop_index("ix_night_lines_run", table_name="night_lines")
    op.drop_table("night_lines")
    op.drop_table("night_runs")
