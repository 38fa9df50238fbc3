"""Accounts, log-ins, invitations, API tokens and the log of reads; indexes by which a person's moments are found.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("name_key", sa.String(length=192), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("wearers", sa.JSON(), nullable=True),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("provider_id", sa.String(length=400), nullable=True),
        sa.Column("totp", sa.String(length=64), nullable=False),
        sa.Column("totp_step", sa.Integer(), nullable=False),
        sa.Column("recovery", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name_key", name=op.f("uq_accounts_name_key")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_accounts_provider_id")),
    )
    op.create_table(
        "login_sessions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_login_sessions_account_accounts")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_login_sessions")),
    )
    op.create_index("ix_login_sessions_account", "login_sessions", ["account"])
    op.create_table(
        "known_browsers",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_known_browsers_account_accounts")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_known_browsers")),
    )
    op.create_index("ix_known_browsers_account", "known_browsers", ["account"])
    op.create_table(
        "invitations",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("wearers", sa.JSON(), nullable=True),
        sa.Column("account", sa.Integer(), nullable=True),
        sa.Column("made_by", sa.String(length=96), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_invitations_account_accounts")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_invitations")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=96), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("used_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_api_tokens_account_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_tokens_hash")),
    )
    op.create_index("ix_api_tokens_account", "api_tokens", ["account"])
    op.create_table(
        "access_log",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("about", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_log")),
    )
    op.create_index("ix_access_log_at", "access_log", ["at"])
    op.create_index("ix_access_log_about", "access_log", ["about"])
    op.create_index("ix_parts_path", "parts", ["path"])
    own: list[sa.Computed] = []
    if op.get_bind().dialect.name == "sqlite":  # PostgreSQL has come later (ADR 0095), and its tables are empty here
        said = "coalesce(nullif(json_extract(body, '$.speaker_id'), ''), device)"
        own.append(sa.Computed(said, persisted=False))
    op.add_column("samples", sa.Column("wearer", sa.String(length=96), *own, nullable=True))
    op.create_index("ix_samples_wearer", "samples", ["wearer", "state", "priority", "captured_at"])


def downgrade() -> None:
    op.drop_index("ix_samples_wearer", table_name="samples")
    op.drop_column("samples", "wearer")
    op.drop_index("ix_parts_path", table_name="parts")
    for name in ("access_log", "api_tokens", "invitations", "known_browsers", "login_sessions", "accounts"):
        op.drop_table(name)
