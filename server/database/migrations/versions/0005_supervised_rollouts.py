"""Supervised rollouts: a version on trial, for wearers who walk with a sighted companion.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rollouts from before were of versions that guide on their own. Columns are added to the table where it is: a batch
    # would copy it and drop the old one, which `rollout_log` points at.
    op.add_column("rollouts", sa.Column("supervised", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("rollouts", sa.Column("companion", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("rollouts", "companion")
    op.drop_column("rollouts", "supervised")
