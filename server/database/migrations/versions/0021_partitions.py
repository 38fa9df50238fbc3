"""Who takes in the devices of which partition, where several processes do.

Revision: 0021, after 0019.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ingest_workers",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ingest_workers")),
    )
    op.create_table(
        "ingest_leases",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ingest_leases")),
    )


def downgrade() -> None:
    for table in ("ingest_leases", "ingest_workers"):
        op.drop_table(table)
