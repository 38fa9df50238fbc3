"""What a moment is worth, in an index, so that space is made without reading all rows; what was announced for it; the
bytes of the dataset's files, kept by triggers.

Revision: 0019, after 0018.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Added where the table is. 9 = not known yet: such a moment is never deleted for space. Filled with the next start.
    op.add_column("samples", sa.Column("worth", sa.Integer(), nullable=False, server_default="9"))
    op.create_index("ix_samples_worth", "samples", ["worth", "changed_at", "sample_id"])
    op.create_table(
        "space_expiries",
        sa.Column("sample_id", sa.String(length=96), nullable=False),
        sa.Column("wearer", sa.String(length=96), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("unreviewed", sa.Integer(), nullable=False),
        sa.Column("announced_at", sa.Float(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_space_expiries")),
    )
    op.create_index("ix_space_expiries_day", "space_expiries", ["day", "wearer"])
    op.create_table(
        "space_rounds",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("over_bytes", sa.BigInteger(), nullable=False),
        sa.Column("short_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_space_rounds")),
    )
    op.create_table(
        "stored_bytes",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_bytes")),
    )
    op.execute("INSERT INTO stored_bytes SELECT 1, coalesce(sum(size_bytes), 0) FROM parts")
    for trigger in triggers() if op.get_bind().dialect.name == "sqlite" else postgresql_triggers():
        op.execute(trigger)


def triggers() -> list[str]:
    """The statements that make them, for SQLite."""
    changed = "UPDATE stored_bytes SET size_bytes = size_bytes + ({});"
    return [
        f"CREATE TRIGGER stored_added AFTER INSERT ON parts BEGIN {changed.format('NEW.size_bytes')} END",
        f"CREATE TRIGGER stored_taken AFTER DELETE ON parts BEGIN {changed.format('-OLD.size_bytes')} END",
        "CREATE TRIGGER stored_changed AFTER UPDATE OF size_bytes ON parts "
        f"BEGIN {changed.format('NEW.size_bytes - OLD.size_bytes')} END",
    ]


def postgresql_triggers() -> list[str]:
    """The same for PostgreSQL."""
    more = {
        "added": ("INSERT", "NEW.size_bytes"),
        "taken": ("DELETE", "-OLD.size_bytes"),
        "changed": ("UPDATE OF size_bytes", "NEW.size_bytes - OLD.size_bytes"),
    }
    made = []
    for name, (what, by) in more.items():
        change = f"UPDATE stored_bytes SET size_bytes = size_bytes + ({by});"  # noqa: S608  names of ours
        head = f"CREATE FUNCTION stored_{name}() RETURNS trigger LANGUAGE plpgsql AS"
        made.append(f"{head} $$ BEGIN {change} RETURN NULL; END $$")
        made.append(f"CREATE TRIGGER stored_{name} AFTER {what} ON parts FOR EACH ROW EXECUTE FUNCTION stored_{name}()")
    return made


def downgrade() -> None:
    for name in ("stored_added", "stored_taken", "stored_changed"):
        op.execute(f"DROP TRIGGER {name}")
    for name in ("stored_bytes", "space_rounds", "space_expiries"):
        op.drop_table(name)
    op.drop_index("ix_samples_worth", table_name="samples")
    op.drop_column("samples", "worth")
