"""What a person decides about walks and moments: which teach, which new models are judged on, which are golden.

    teach       its confirmed moments teach
    hold out    new models are judged on it; nobody learns from it
    golden      a walk: models are calibrated on it; a moment: it may become a picture that every device tests models on

Each decision is one transaction with a new row for every moment that it changes, so metadata.jsonl tells all of them. A
walk that has taught a model may be held out later: it then counts for every model that is trained from now on, and is
left out wherever one is compared with a model that it taught.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from server.database import store as db
from server.database.store import Store
from server.dataset import groups, row_log
from server.dataset.folder import Dataset
from server.dataset.groups import SplitBy
from server.dataset.sample_row import SampleRow, Split, from_dict
from server.dataset.worth import is_golden
from shared.errors import Refused

_SEE = "See: waycue-server samples golden list, waycue-server samples list --state all"


@dataclass(frozen=True, slots=True)
class Marked:
    """What became of a decision."""

    name: str
    """Of the walk or the moment."""
    before: str
    after: str
    moments: tuple[str, ...]
    """Ids of those that have a new row."""
    together: tuple[str, ...] = ()
    """Other walks of its place or wearer, which changed with it."""


def mark_walk(
    store: Store, dataset: Dataset, walk_id: str, split: Split, *, now_s: float, by: SplitBy = "walk"
) -> Marked:
    """Change what a walk is good for; nothing where it is so already.

    by: its place or its wearer: all walks of it change with it
    raises: Refused where there is no such walk, or nothing would be left that teaches
    """
    with store.writing() as connection:
        table = db.walks
        before = connection.execute(select(table.c.split).where(table.c.walk_id == walk_id)).scalar()
        if before is None:
            raise Refused(f"There is no walk {walk_id!r:.100}.", hint=_walks_there(store))
        group = groups.group_in(connection, walk_id, by)
        together = {walk_id, *(walk for walk, _ in groups.walks_of(connection, group))}
        others = connection.execute(
            select(func.count()).where(table.c.split == "train", table.c.walk_id.not_in(together))
        ).scalar()
        if split != "train" and not others:
            alone = walk_id if len(together) == 1 else f"{walk_id}, with the {len(together) - 1} of its {by},"
            raise Refused(
                f"{alone} is the only walk that teaches.",
                hint="Record another walk first, or let one teach: waycue-server samples teach WALK",
            )
        changed = [row for walk in sorted(together) for row in row_log.set_split(connection, walk, split, now_s=now_s)]
    row_log.flush(store, dataset, now_s=now_s)
    others_moved = tuple(sorted(together - {walk_id}))
    return Marked(walk_id, str(before), split, tuple(row.sample_id for row in changed), others_moved)


def mark_moment(store: Store, dataset: Dataset, sample_id: str, *, golden: bool, now_s: float) -> Marked:
    """Put one moment into the golden set, or take it out. Raises: Refused where there is no such moment."""
    with store.writing() as connection:
        before = row_log.current(connection, sample_id)
        if before is None:
            raise Refused(f"There is no walk and no moment {sample_id!r:.100}.", hint=_SEE)
        wanted = None if golden == (before.split == "golden") else golden  # as its walk is: nothing of its own to say
        row_log.set_golden(connection, sample_id, wanted, now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    changed = (sample_id,) if before.golden != wanted else ()
    return Marked(sample_id, _in_words(is_golden(before)), _in_words(golden), changed)


def is_walk(store: Store, name: str) -> bool:
    """Whether a name is a walk's."""
    with store.reading() as connection:
        return connection.execute(select(db.walks.c.walk_id).where(db.walks.c.walk_id == name)).first() is not None


def in_golden_set(store: Store) -> list[SampleRow]:
    """All moments of the golden set, walk by walk in order of time."""
    table = db.samples
    with store.reading() as connection:
        bodies = connection.execute(select(table.c.body).order_by(table.c.walk_id, table.c.captured_at)).scalars()
        rows = [from_dict(body) for body in bodies]
    return [row for row in rows if is_golden(row)]


def _in_words(golden: bool) -> str:
    return "golden" if golden else "not golden"


def _walks_there(store: Store) -> str:
    with store.reading() as connection:
        names = [str(name) for name in connection.execute(select(db.walks.c.walk_id).limit(8)).scalars()]
    return f"There are: {', '.join(names)}" + (", …" if len(names) == 8 else "") if names else "There are none yet."
