"""How many moments there are of each wearer, from the sums that the database keeps."""

from __future__ import annotations

from server.consent import register
from server.database import store as db
from server.database.distinct import distinct
from server.database.store import Store
from server.dataset import rollups
from server.dataset.judged import UNKNOWN


def wearers(store: Store) -> dict[str, int]:
    """Wearer → moments, by name; also who was asked and has none. Moments without a wearer's name are their device's,
    and are counted one by one."""
    names = register.wearers(store)
    with store.reading() as connection:
        sums = rollups.tallies(connection, "wearer") if rollups.is_whole(connection) else {}
        unnamed = set(distinct(connection, db.samples.c.device)) if UNKNOWN in sums else set()
        return {
            name: sums[name].moments if name in sums and name not in unnamed else register.moments(connection, name)
            for name in names
        }
