"""Browsers that are told by web push, what each person wants to hear, calls for help of wearers, and
accounts that are switched off.

Revision: 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "push_people",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("quiet", sa.String(length=16), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("cool_down_h", sa.Float(), nullable=False),
        sa.Column("help_in_quiet", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_push_people_account_accounts")),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_push_people")),
    )
    op.create_table(
        "push_browsers",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.String(length=96), nullable=False),
        sa.Column("auth", sa.String(length=32), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_push_browsers_account_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_browsers")),
        sa.UniqueConstraint("hash", name=op.f("uq_push_browsers_hash")),
    )
    op.create_index("ix_push_browsers_account", "push_browsers", ["account"])
    op.create_table(
        "help_calls",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("call_id", sa.String(length=96), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=True),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_help_calls")),
        sa.UniqueConstraint("device", "call_id", name=op.f("uq_help_calls_device")),
    )
    op.create_index("ix_help_calls_received_at", "help_calls", ["received_at"])


def downgrade() -> None:
    op.drop_column("accounts", "disabled")
    for table in ("help_calls", "push_browsers", "push_people"):
        op.drop_table(table)
