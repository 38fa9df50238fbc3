"""What was said about a chunk has an index of its own, in the place of one that held every chunk beside it.

Revision: 0025, after 0024.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_CORRECTIONS = sa.text("kind = 'correction'")


def upgrade() -> None:
    op.drop_index("ix_records_chunk_id", table_name="records")
    op.create_index(
        "ix_records_about", "records", ["chunk_id"], sqlite_where=_CORRECTIONS, postgresql_where=_CORRECTIONS
    )


def downgrade() -> None:
    op.drop_index("ix_records_about", table_name="records")
    op.create_index("ix_records_chunk_id", "records", ["chunk_id"])
