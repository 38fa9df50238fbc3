"""Rollouts on a share of wearer-days.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rollouts from before were for every day. Added where the table is, as in 0005.
    op.add_column("rollouts", sa.Column("days_percent", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("rollouts", sa.Column("day_begins_h", sa.Integer(), nullable=False, server_default="3"))


def downgrade() -> None:
    op.drop_column("rollouts", "day_begins_h")
    op.drop_column("rollouts", "days_percent")
