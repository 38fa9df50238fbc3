"""How many spoken corrections wait for a person."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, select

from server.database import store as db
from server.dataset import rollups
from server.dataset.judged import CORRECTED
from server.dataset.rollups import Tally

FIRST = 0
"""The priority of a moment with a spoken correction (server.dataset.row_log): with it, the index of the queue is used.
What the monitor stopped has it too."""


def corrections(connection: Connection, *where: ColumnElement[bool]) -> int:
    """Moments with one that nobody has decided about. where: conditions on `samples`, such as who may see them; without
    any the database has the sum"""
    if not where:
        return rollups.tallies(connection, "state").get("pending", Tally()).corrections
    table = db.samples.c
    waits = (table.state == "pending") & (table.priority == FIRST) & (table.marks.bitwise_and(CORRECTED) != 0)
    return int(connection.scalar(select(func.count()).select_from(db.samples).where(waits, *where)) or 0)
