"""Rollouts.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("version", sa.String(length=96), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("cohort", sa.String(length=96), nullable=False),
        sa.Column("error_share", sa.Float(), nullable=False),
        sa.Column("missing_after_s", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["version"], ["models.version"], name=op.f("fk_rollouts_version_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_table(
        "rollout_devices",
        sa.Column("rollout", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("offered_at", sa.Float(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_rollout_devices_rollout_rollouts")),
        sa.PrimaryKeyConstraint("rollout", "device", name=op.f("pk_rollout_devices")),
    )
    op.create_table(
        "rollout_log",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rollout", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("what", sa.String(length=96), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_rollout_log_rollout_rollouts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_log")),
    )


def downgrade() -> None:
    op.drop_table("rollout_log")
    op.drop_table("rollout_devices")
    op.drop_table("rollouts")
