"""When a model guided last is found in the list that it has: the index for it alone goes.

Revision: 0026, after 0025.
"""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_samples_model", table_name="samples")


def downgrade() -> None:
    op.create_index("ix_samples_model", "samples", ["model", "captured_at"])
