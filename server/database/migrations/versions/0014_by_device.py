"""Moments by device, in the order of the queue.

Revision: 0014, after 0013.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_samples_device", "samples", ["device", "state", "priority", "captured_at"])


def downgrade() -> None:
    op.drop_index("ix_samples_device", table_name="samples")
