"""`waycue-server samples erase`: moments, or whole walks, are deleted for good, as if the wearer had asked for it."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select

from server.commands.opening import opened
from server.commands.reviewing import confirmed
from server.database import store as db
from server.database.store import Store
from server.dataset import lookup, splits, wishes
from server.dataset.merge import Merge
from server.review import decisions
from shared.clock import SystemClock
from shared.errors import Refused
from shared.plural import several


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser(
        "erase",
        help="delete moments for good: pictures, sounds, words",
        description="Deletes moments, with what was said about them, from database, logs and files. What a device still"
        " has of them is refused. It can not be undone; models that learnt from them stay.",
    )
    parser.add_argument("names", metavar="ID", nargs="+", help="an id of `samples list`, or a walk")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Erase; returns the exit status."""
    with opened(options.home) as (store, dataset):
        moments = [one for name in dict.fromkeys(options.names) for one in _moments(store, name)]
        if not options.yes:
            _ask(len(moments))
        clock = SystemClock()
        merge = Merge(store, dataset, clock)
        for device, records in _records(store, moments).items():
            for some in wishes.in_pieces(records):
                outcome = merge.put_record(device, "erase", wishes.by_name(device, some, clock.utc_s()))
                if outcome.state == "refused":
                    raise Refused(f"{outcome.reason}.", hint="These were not erased.")
    print(f"{len(moments)} erased. Models that learnt from them, exports and backups stay as they are.")
    return 0


def _moments(store: Store, name: str) -> list[str]:
    """Ids of the moments that a name stands for. Raises: Refused where there are none."""
    if splits.is_walk(store, name):
        table = db.samples
        with store.reading() as connection:
            return list(connection.execute(select(table.c.sample_id).where(table.c.walk_id == name)).scalars())
    if decisions.get(store, name) is None:
        raise Refused(f"There is no moment or walk {name!r:.110}.", hint="See: waycue-server samples list --state all")
    return [name]


def confirm(what: str, question: str, unchanged: str) -> None:
    """Raises: Refused unless a person says yes."""
    if not sys.stdin.isatty():
        raise Refused(what, hint="Nobody can be asked here: add --yes.")
    if not confirmed(f"{question} (y/n) "):
        raise Refused(unchanged)


def _ask(count: int) -> None:
    question = f"Erase {several(count, 'moment')} for good, with pictures, sounds and words?"
    confirm(f"{several(count, 'moment')} would be erased for good.", question, "Nothing was erased.")


def _records(store: Store, moments: Sequence[str]) -> dict[str, list[str]]:
    """Device → its records of these moments: the chunks, and all that was said about them."""
    table, found = db.records, defaultdict[str, list[str]](list)
    with store.reading() as connection:
        for some in wishes.in_pieces(moments):
            query = select(table.c.device, table.c.record_id).where(lookup.of_chunks(some))
            for device, record_id in connection.execute(query):
                found[device].append(record_id)
    return found
