"""What moments are searched by says where they stand in the queue, so that those that are found are sorted there.

Revision: 0027, after 0026.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from server.database import packing

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_AT_ONCE = 20_000
_FILL = (
    "UPDATE sought SET priority = s.priority, captured_at = s.captured_at FROM samples s"
    " WHERE s.sample_id = sought.sample_id AND sought.number > :start AND sought.number <= :end"
)


def upgrade() -> None:
    connection, tell = op.get_bind(), packing.teller()
    for name, kind in (("priority", sa.Integer()), ("captured_at", sa.Float())):
        op.add_column("sought", sa.Column(name, kind, nullable=False, server_default="0"))
    last = connection.execute(sa.text("SELECT coalesce(max(number), 0) FROM sought")).scalar_one()
    for start in range(0, last, _AT_ONCE):
        connection.execute(sa.text(_FILL), {"start": start, "end": start + _AT_ONCE})
        tell("placing moments", min(start + _AT_ONCE, last), last)


def downgrade() -> None:
    for name in ("captured_at", "priority"):
        op.drop_column("sought", name)
