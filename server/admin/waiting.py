"""How many spoken corrections wait for a person."""

from __future__ import annotations

from sqlalchemy import Connection

from server.dataset import rollups
from server.dataset.rollups import Tally


def corrections(connection: Connection) -> int:
    """Moments with one that nobody has decided about, as the database counts them."""
    return rollups.tallies(connection, "state").get("pending", Tally()).corrections
