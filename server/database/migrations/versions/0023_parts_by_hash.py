"""A part names its file once, by the 32 bytes of its hash, and has a path only where the file lies elsewhere; whose a
file is is found by 8 bytes of the hash.

Revision: 0023, after 0022.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

from server.database import packing

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_AT_ONCE = 20_000
_FOLDERS = {
    "frame": ("frames/", ".jpg"),
    "audio": ("audio/", ".wav"),
    "clip": ("clips/", ".mp4"),
    "correction_audio": ("audio/", ".wav"),
}
_CASES = [" ".join(f"WHEN '{kind}' THEN '{parts[which]}'" for kind, parts in _FOLDERS.items()) for which in (0, 1)]
_BY_HASH = "CASE kind {0} ELSE '' END || {2} || CASE kind {1} ELSE '' END".format(*_CASES, "{digits}")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _in_postgresql()
    else:
        _in_sqlite()
    op.create_index("ix_parts_file", "parts", ["file"])


def _in_postgresql() -> None:
    op.drop_index("ix_parts_path", table_name="parts")
    op.execute("ALTER TABLE parts ALTER COLUMN path DROP NOT NULL")
    stem = "substr(split_part(path, '/', 2), 1, 16)"
    key = f"CASE WHEN {stem} ~ '^[0-9a-f]{{16}}$' THEN ('x' || {stem})::bit(64)::bigint ELSE 0 END"
    op.execute("ALTER TABLE parts ADD COLUMN file BIGINT")
    path = f"nullif(path, {_BY_HASH.format(digits='sha256')})"
    op.execute(f"UPDATE parts SET file = {key}, path = {path}")  # noqa: S608  words of ours
    # Writes the table anew, without the room of the rows of before.
    digits = "CASE WHEN sha256 ~ '^([0-9a-f]{2})+$' THEN decode(sha256, 'hex') ELSE convert_to(sha256, 'UTF8') END"
    op.execute(f"ALTER TABLE parts ALTER COLUMN sha256 TYPE BYTEA USING {digits}, ALTER COLUMN file SET NOT NULL")


def _in_sqlite() -> None:
    """The order of the rows stays: a check reads them in the order of the lines that say the same."""
    raw: Any = op.get_bind().connection.driver_connection
    raw.create_function("hash_of", 1, _hash, deterministic=True)
    raw.create_function("key_of", 1, _key, deterministic=True)
    op.drop_index("ix_parts_path", table_name="parts")
    path = f"nullif(path, {_BY_HASH.format(digits='sha256')})"
    with _made_anew(
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=160), nullable=True),
        sa.Column("file", sa.BigInteger(), nullable=False),
    ) as anew:
        _copy(f"INSERT INTO {anew} SELECT device, record_id, kind, hash_of(sha256), size_bytes, {path}, key_of(path), ")


@contextmanager
def _made_anew(*columns: sa.Column[Any]) -> Iterator[str]:
    """The table with these columns, to be filled, takes the place of the one that is there, with its triggers."""
    names = (("device", 32), ("record_id", 96), ("kind", 24))
    op.create_table(
        "parts_anew",
        *(sa.Column(name, sa.String(length=length), nullable=False) for name, length in names),
        *columns,
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("device", "record_id", "kind", name=op.f("pk_parts")),
    )
    query = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'parts'"
    triggers = op.get_bind().execute(sa.text(query)).scalars().all()
    yield "parts_anew"
    op.drop_table("parts")
    op.rename_table("parts_anew", "parts")
    for trigger in triggers:
        op.execute(trigger)


def _copy(statement: str) -> None:
    """Some rows at a time, so that it can be told how far it is."""
    connection, tell = op.get_bind(), packing.teller()
    last = connection.execute(sa.text("SELECT coalesce(max(rowid), 0) FROM parts")).scalar_one()
    some = sa.text(f"{statement} received_at FROM parts WHERE rowid > :start AND rowid <= :end ORDER BY rowid")
    for start in range(0, last, _AT_ONCE):
        connection.execute(some, {"start": start, "end": start + _AT_ONCE})
        tell("naming files by their hashes", min(start + _AT_ONCE, last), last)


def _hash(digits: Any) -> bytes:
    """What is none stays as it is: a check names it."""
    try:
        return bytes.fromhex(digits)
    except (ValueError, TypeError):
        return str(digits).encode()


def _key(path: Any) -> int:
    """As server.dataset.part_paths has it."""
    try:
        return int.from_bytes(bytes.fromhex(str(path).rpartition("/")[2][:16]), "big", signed=True)
    except ValueError:
        return 0


def downgrade() -> None:
    op.drop_index("ix_parts_file", table_name="parts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE parts ALTER COLUMN sha256 TYPE VARCHAR(64) USING encode(sha256, 'hex')")
        path = _BY_HASH.format(digits="sha256")
        op.execute(f"UPDATE parts SET path = {path} WHERE path IS NULL")  # noqa: S608  words of ours
        op.execute("ALTER TABLE parts ALTER COLUMN path SET NOT NULL, DROP COLUMN file")
    else:
        path = f"coalesce(path, {_BY_HASH.format(digits='lower(hex(sha256))')})"
        with _made_anew(
            sa.Column("sha256", sa.String(length=64), nullable=False),
            sa.Column("size_bytes", sa.Integer(), nullable=False),
            sa.Column("path", sa.String(length=160), nullable=False),
        ) as anew:
            _copy(f"INSERT INTO {anew} SELECT device, record_id, kind, lower(hex(sha256)), size_bytes, {path}, ")
    op.create_index("ix_parts_path", "parts", ["path"])
