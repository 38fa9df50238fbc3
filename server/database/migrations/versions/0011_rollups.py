"""Lists in the order of an index; sums over samples that triggers keep.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SUMS = ("moments", "corrections", "judged", "correct", "audit_judged", "audit_correct")
_BITS = ("1", "{m} & 1", "({m} & 2) / 2", "({m} & 4) / 4", "({m} & 10) = 10", "({m} & 12) = 12")
"""Of each sum, from the marks of a sample: 1 corrected, 2 judged, 4 right, 8 of the audit stream."""
_TURNS = (("OLD", -1), ("NEW", 1))


def upgrade() -> None:
    # Added where the table is: to copy a million rows would take minutes.
    op.add_column("samples", sa.Column("model", sa.String(length=96), nullable=False, server_default=""))
    op.add_column("samples", sa.Column("marks", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("samples", sa.Column("cells", sa.JSON(), nullable=False, server_default="[]"))
    op.drop_index("ix_samples_queue", table_name="samples")
    newest = sa.text("captured_at DESC")
    op.create_index("ix_samples_listed", "samples", ["state", "priority", newest, "sample_id"])
    op.create_index("ix_samples_decided", "samples", ["state", sa.text("changed_at DESC"), "sample_id"])
    op.create_index("ix_samples_all", "samples", ["priority", newest, "sample_id"])
    op.create_index("ix_samples_walk", "samples", ["walk_id", "captured_at"])
    op.create_index("ix_samples_model", "samples", ["model", "captured_at"])
    op.drop_index("ix_dataset_rows_logged", table_name="dataset_rows")
    waits = {"sqlite_where": sa.text("logged IS 0"), "postgresql_where": sa.text("logged IS false")}
    op.create_index("ix_dataset_rows_waiting", "dataset_rows", ["logged"], **waits)  # type: ignore[arg-type]
    op.create_table(
        "rollups",
        sa.Column("cell", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint("cell", name=op.f("pk_rollups")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_state",
        sa.Column("rules", sa.String(length=64), nullable=False),
        sa.Column("after", sa.String(length=96), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("rules", name=op.f("pk_rollup_state")),
    )
    # Counts of states need no cells, and are right at once. The cells of old samples come with the next start.
    op.execute("INSERT INTO rollups SELECT 'state:' || state, count(*), 0, 0, 0, 0, 0 FROM samples GROUP BY state")
    for trigger in triggers() if op.get_bind().dialect.name == "sqlite" else postgresql_triggers():
        op.execute(trigger)


def triggers() -> list[str]:
    """The statements that make them, for SQLite."""
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in ("state", "marks", "cells"))
    added, taken = _counted("NEW", 1), _counted("OLD", -1)
    # What counts nothing any more goes: a cell holds words, and those of an erased moment may stay nowhere.
    emptied = f"DELETE FROM rollups WHERE moments = 0 AND cell IN (SELECT value FROM {_cells('OLD')});"  # noqa: S608
    return [
        f"CREATE TRIGGER rollups_added AFTER INSERT ON samples BEGIN {added} END",
        f"CREATE TRIGGER rollups_taken AFTER DELETE ON samples BEGIN {taken} {emptied} END",
        "CREATE TRIGGER rollups_changed AFTER UPDATE OF state, marks, cells ON samples "
        f"WHEN {changed} BEGIN {taken} {added} {emptied} END",
    ]


def _cells(row: str) -> str:
    return f"json_each(json_insert({row}.cells, '$[#]', 'state:' || {row}.state))"


def _counted(row: str, times: int) -> str:
    """Add the marks of a sample to each of its cells, or take them away."""
    values = ", ".join(f"{times} * ({bit.format(m=f'{row}.marks')})" for bit in _BITS)
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    # WHERE true: without it SQLite reads ON CONFLICT as the ON of a join.
    selected = f"SELECT value, {values} FROM {_cells(row)} WHERE true"  # noqa: S608  names of ours
    return f"INSERT INTO rollups {selected} ON CONFLICT (cell) DO UPDATE SET {sums};"


def postgresql_triggers() -> list[str]:
    """The same for PostgreSQL, where one statement may add to a cell once."""
    bits = [*_BITS[:4], *(f"({bit})::int" for bit in _BITS[4:])]
    values = ", ".join(f"sum(times * ({bit.format(m='marks')}))" for bit in bits)
    sums = ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in _SUMS)
    cells = "SELECT value FROM json_array_elements_text(cells) AS value UNION ALL SELECT 'state:' || state"
    adding = f"INSERT INTO rollups SELECT value, {values} FROM ({cells}) AS own GROUP BY value "  # noqa: S608
    given = "cells json, state text, marks bigint"
    emptied = f"DELETE FROM rollups WHERE moments = 0 AND cell IN ({cells})"  # noqa: S608
    taken, added = (f"PERFORM rollups_count({row}.cells, {row}.state, {row}.marks, {n});" for row, n in _TURNS)
    gone = "PERFORM rollups_empty(OLD.cells, OLD.state);"
    bodies = {"added": added, "taken": f"{taken} {gone}", "changed": f"{taken} {added} {gone}"}
    on = {"added": "INSERT", "taken": "DELETE", "changed": "UPDATE OF state, marks, cells"}
    changed = "OLD.state <> NEW.state OR OLD.marks <> NEW.marks OR OLD.cells::text <> NEW.cells::text"
    when = {"added": "", "taken": "", "changed": f"WHEN ({changed}) "}
    return [
        f"CREATE FUNCTION rollups_count({given}, times int) RETURNS void LANGUAGE sql AS "
        f"$$ {adding} ON CONFLICT (cell) DO UPDATE SET {sums} $$",
        f"CREATE FUNCTION rollups_empty(cells json, state text) RETURNS void LANGUAGE sql AS $$ {emptied} $$",
        *(
            f"CREATE FUNCTION rollups_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
            for name, body in bodies.items()
        ),
        *(
            f"CREATE TRIGGER rollups_{name} AFTER {what} ON samples FOR EACH ROW {when[name]}"
            f"EXECUTE FUNCTION rollups_{name}()"
            for name, what in on.items()
        ),
    ]


def downgrade() -> None:
    for name in ("rollups_added", "rollups_taken", "rollups_changed"):
        op.execute(f"DROP TRIGGER {name}")
    op.drop_table("rollup_state")
    op.drop_table("rollups")
    op.drop_index("ix_dataset_rows_waiting", table_name="dataset_rows")
    op.create_index("ix_dataset_rows_logged", "dataset_rows", ["logged"])
    for name in ("listed", "decided", "all", "walk", "model"):
        op.drop_index(f"ix_samples_{name}", table_name="samples")
    op.create_index("ix_samples_queue", "samples", ["state", "priority", "captured_at"])
    for name in ("cells", "marks", "model"):
        op.drop_column("samples", name)
