"""Bodies are compressed (server.database.bodies), so what SQL selected out of them has columns.

The columns are filled, and the bodies of before compressed, by server.database.packing, in steps that are committed
one by one: a million moments in one transaction would take the disk twice.

Revision: 0018, after 0015.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0015"
branch_labels = None
depends_on = None

_WHOSE = "coalesce(nullif(json_extract(body, '$.speaker_id'), ''), device)"
_RECORDS = {"walk_id": sa.String(length=96), "wearer": sa.String(length=96), "context": sa.Text()}
_BODIES = {"records": ("body",), "dataset_rows": ("body",), "samples": ("body",), "reviews": ("before", "after")}


def upgrade() -> None:
    # Changed where the tables are: to copy a million rows would take minutes.
    op.drop_index("ix_samples_wearer", table_name="samples")
    op.drop_column("samples", "wearer")  # generated from the body: nothing of it was stored
    op.add_column("samples", sa.Column("wearer", sa.String(length=96), nullable=False, server_default=""))
    op.create_index("ix_samples_wearer", "samples", ["wearer", "state", "priority", "captured_at"])
    for name, kind in _RECORDS.items():
        op.add_column("records", sa.Column(name, kind, nullable=False, server_default=""))
    op.create_index("ix_records_walk_id", "records", ["walk_id"])
    if op.get_bind().dialect.name == "postgresql":
        for table, names in _BODIES.items():
            for name in names:
                op.alter_column(table, name, type_=sa.LargeBinary(), postgresql_using="NULL::bytea")  # it is empty yet


def downgrade() -> None:
    raise NotImplementedError("Bodies stay compressed: put the copy back, waycue-before-0018.sqlite.")
