"""How the moments of a filter are come by without a look at all moments.

A search costs what it finds, or what a page shows, whichever is less:

few     what something has few of is sorted, once for all wearers: a word, a walk, days, what people marked, what looks
        alike
own     each wearer, device and model has lists of its own in an index, in which a page is read where it stands; so have
        those whose wearers are all that somebody sees
all     what is left is in very many moments: the list of all is read in its order, and a page of them is full soon

Each state is looked at on its own, and the lists are merged (`order.merged`). SQLite would choose by the order alone,
and read half of all moments for a wearer who has none of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Select, Table, exists, func, select, true

from server.access import visible
from server.database import review_tables as tables
from server.database import store as db
from server.database.as_rows import as_rows
from server.dataset.sample_row import State
from server.review import by_words, near, order
from server.review.by_words import RarestTerms, SoughtTerms
from server.review.moment_filter import MomentFilter
from server.review.order import HowListed, Listed
from server.review.skipping import SkippedBy

SORTED = 5_000
"""Moments that are sorted, of a walk, of days, and of what people marked: they may stand anywhere in the list."""
SORTED_BY_WORDS = 3_500
"""The same of those with some words: of more, a page is found sooner in the list."""
MOST_MERGED = 60
"""Wearers of whom each has a list of their own read."""
_OF_THE_INDEX = ("words", "thing", "flag", "wearer", "seen_by")
"""What the index of words, or its narrow rows, say alone."""
FewIn = Callable[[State], Select[Any] | None]
"""State → the ids of those that something has few of, None = of nothing."""
_S = db.samples.c


@dataclass(frozen=True, slots=True)
class SearchNarrowed:
    """What was looked up before moments in a state are looked for."""

    sought: SoughtTerms = by_words.ALL
    """What has to hold of their narrow rows."""
    ids: Select[Any] | None = None
    """The moments, where there are few."""
    by_words: bool = False
    """These are all of which `sought` and its index say that they are meant."""


class LookedUp:
    """A filter, and what is looked up for it: once for all parts of its list, and for its numbers."""

    def __init__(self, connection: Connection, wanted: MomentFilter) -> None:
        self.connection = connection
        self.wanted = wanted
        self.words = by_words.look_up(connection, words=wanted.words, thing=wanted.thing, flag=wanted.flag)
        self.few_by_people = cache(partial(_few_by_people, connection, wanted))
        self.few = cache(partial(_few, connection, wanted, self.few_by_people))
        self.alike = cache(partial(_alike, connection, wanted))
        self.of_wearers = cache(partial(by_words.of_wearers, connection, self.words))
        self.rarest = cache(partial(by_words.rarest, connection, most=SORTED_BY_WORDS))
        self.numbers = cache(partial(by_words.numbers, connection, most=SORTED_BY_WORDS + 1))


def in_order(
    looked: LookedUp, *also: ColumnElement[bool], limit: int, offset: int = 0, hides: int | None = 0
) -> Select[Any]:
    """So many ids of the moments, in the order of their list. also: what must hold of `samples`, too; hides: how many
    moments these leave out at most, None = any number"""
    wanted = looked.wanted
    if wanted.like:
        lists = [_list_alike(looked, wanted, also)]
    else:
        first = None if hides is None or order.by_decision(wanted.state) else limit + offset + hides
        lists = [_list(looked, *part, wanted.state, also, first) for part in _parts(looked, wanted)]
    return order.merged(lists, wanted.state, limit=limit, offset=offset)


def skipped(looked: LookedUp, skips: SkippedBy, *also: ColumnElement[bool], limit: int, offset: int = 0) -> Select[Any]:
    """The same of those that somebody skipped lately, the longest skipped first."""
    wanted = looked.wanted
    alike = [_S.sample_id.in_(looked.alike())] if wanted.like else []
    known = SearchNarrowed(looked.words, skips.ids())
    place = skips.at(), *order.place_of(wanted.state)
    query = select(_S.sample_id).where(*_conditions(wanted, known), *alike, *also).order_by(*place)
    return query.limit(limit).offset(offset)


def number(looked: LookedUp, state: State, most: int | None) -> int:
    """How many of the moments stand in a state, counted to `most`; None = all. Not for what looks alike
    (`counts_alike`)."""
    found = _found_for_the_list(looked, state)
    if found is not None and (len(found) <= SORTED_BY_WORDS or (most is not None and most <= len(found))):
        return len(found) if most is None else min(len(found), most)
    query = counting(looked, state).limit(most)
    return int(looked.connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def counting(looked: LookedUp, state: State) -> Select[Any]:
    """A row for each of the moments that stands in a state, to be counted. By indexes alone, where they say all."""
    wanted = looked.wanted
    if (sought := _all_that_is_meant(looked)) is not None:
        return by_words.counting(sought, looked.rarest(sought, state), state, _seen_beside(wanted))
    of_state = replace(wanted, state=state)
    narrowed = _narrowed(looked, of_state, state, lambda _: looked.few_by_people())
    conditions = _conditions(of_state, narrowed)
    if narrowed.ids is None and _days(wanted) and not _is_of_own_list(wanted):
        conditions = [*_conditions(replace(wanted, state="all"), narrowed), *_in_state(of_state)]
    return select(true()).select_from(db.samples).where(*conditions)


def counts_alike(looked: LookedUp) -> dict[str, int]:
    """State → how many of those that look alike are meant, of states that any of them stands in: few, and looked for at
    once."""
    found = _list_alike(looked, replace(looked.wanted, state="all"), ()).subquery().c
    query = select(_S.state, func.count()).where(_S.sample_id.in_(select(found.sample_id))).group_by(_S.state)
    return dict(looked.connection.execute(query).all())


def _found_for_the_list(looked: LookedUp, state: State) -> Sequence[int] | None:
    """`LookedUp.numbers` of all that is meant, where a page of the list asks for them, too."""
    sought, whose = _all_that_is_meant(looked), _whose(looked.wanted)
    if sought is None or state != looked.wanted.state or _seen_beside(looked.wanted) or len(whose or ()) > 1:
        return None
    rarest = looked.rarest(sought, state)
    if rarest is None or rarest.is_few or not sought.is_joint:
        return None
    return looked.numbers(sought, rarest, state)


def _all_that_is_meant(looked: LookedUp) -> SoughtTerms | None:
    """What must hold of a moment, where the index of words or its narrow rows say all of it."""
    sought = looked.of_wearers(_whose(looked.wanted))
    return sought if sought and _is_of_the_index(looked.wanted) else None


def _is_of_the_index(wanted: MomentFilter) -> bool:
    return wanted == MomentFilter(state=wanted.state, **{name: getattr(wanted, name) for name in _OF_THE_INDEX})


def _is_said(part: MomentFilter) -> bool:
    """Whether the index alone says which moments are meant, and that the person who asks may see them. Pure."""
    return _is_of_the_index(part) and not _seen_beside(part)


def _seen_beside(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    """What must hold of narrow rows beside what the index says, so that the person who asks may see them. Pure."""
    return [] if _whose(replace(wanted, wearer="")) is not None else _seen(wanted, tables.sought)


def _parts(looked: LookedUp, wanted: MomentFilter) -> Iterator[tuple[MomentFilter, State]]:
    """A filter as several, of one state each, and of one wearer each where these can be named: but what there is little
    of is looked through once, and not for each wearer."""
    states: tuple[State, ...] = get_args(State) if wanted.state == "all" else (wanted.state,)
    names = _whose(wanted)
    if names is not None and len(names) > MOST_MERGED:
        names = None
    for state in states:
        of_state = replace(wanted, state=state)
        is_once = len(names or ()) > 1 and _to_few(*_sought(looked, of_state, state), state, looked.few) is not None
        if names is None or is_once:
            yield of_state, state
        else:
            yield from ((replace(of_state, wearer=name), state) for name in names)


def _list(
    looked: LookedUp,
    part: MomentFilter,
    state: State,
    listed: Listed,
    also: Sequence[ColumnElement[bool]],
    first: int | None,
) -> Select[Any]:
    """A part of a list. first: so many of it are enough, None = nobody knows"""
    narrowed = _narrowed(looked, part, state, looked.few)
    if narrowed.ids is not None and narrowed.by_words and first is not None and _is_said(part):
        narrowed = replace(narrowed, ids=by_words.first(narrowed.ids, first))
    conditions = [*_conditions(part, narrowed), *also]
    by: HowListed = "own" if _is_of_own_list(part) else "all"
    return order.one_list(listed, conditions, by=by if narrowed.ids is None else "few")


def _list_alike(looked: LookedUp, wanted: MomentFilter, also: Sequence[ColumnElement[bool]]) -> Select[Any]:
    known = SearchNarrowed(looked.words, looked.alike())
    return order.one_list(wanted.state, [*_conditions(wanted, known), *also], by="few")


def _is_of_own_list(wanted: MomentFilter) -> bool:
    return any((wanted.wearer, wanted.device, wanted.model))


def _narrowed(looked: LookedUp, wanted: MomentFilter, state: State, few: FewIn) -> SearchNarrowed:
    """Look for what there is little of. wanted: moments in this state"""
    sought, rarest = _sought(looked, wanted, state)
    if (narrowed := _to_few(sought, rarest, state, few)) is not None:
        return narrowed
    if rarest is None or not sought.is_joint:
        return SearchNarrowed(sought)
    numbers = looked.numbers(sought, rarest, state)
    if len(numbers) <= SORTED_BY_WORDS:
        return SearchNarrowed(ids=by_words.named(looked.connection, numbers), by_words=True)
    return SearchNarrowed(looked.words)  # a list says whose they are


def _to_few(sought: SoughtTerms, rarest: RarestTerms | None, state: State, few: FewIn) -> SearchNarrowed | None:
    """The moments, where one part of what is wanted has few of them."""
    if rarest is not None and rarest.is_few:
        return SearchNarrowed(ids=by_words.moments(sought, rarest, state), by_words=True)
    return None if (ids := few(state)) is None else SearchNarrowed(sought, ids)


def _sought(looked: LookedUp, wanted: MomentFilter, state: State) -> tuple[SoughtTerms, RarestTerms | None]:
    sought = looked.of_wearers(_whose(wanted))
    return sought, looked.rarest(sought, state)


def _few(
    connection: Connection, wanted: MomentFilter, by_people: Callable[[], Select[Any] | None], state: State
) -> Select[Any] | None:
    """Ids of the moments, in this state, of what has few of them: whosever they are."""
    ids = by_people()
    return _few_of_days(connection, wanted, state) if ids is None else ids


def _few_by_people(connection: Connection, wanted: MomentFilter) -> Select[Any] | None:
    return next((ids for ids in _by_people(wanted) if _is_few(connection, ids, SORTED)), None)


def _few_of_days(connection: Connection, wanted: MomentFilter, state: State) -> Select[Any] | None:
    """None also for days that have more moments than stand in the state at all: the state's list is read sooner."""
    if not (days := _days(wanted)):
        return None
    most = max(SORTED, order.counts(connection)[state])
    first = select(_S.state).where(*days).limit(most).subquery()
    if not _is_few(connection, select(first.c.state).where(first.c.state == state), SORTED):
        return None
    if connection.execute(select(true()).select_from(db.samples).where(*days).offset(most).limit(1)).first():
        return None
    return select(_S.sample_id).where(*days, *_in_state(replace(wanted, state=state)))


def _is_few(connection: Connection, query: Select[Any], most: int) -> bool:
    """Whether a query gives at most so many. It looks at no more than one more."""
    some = query.with_only_columns(true(), maintain_column_froms=True).limit(most + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) <= most


def _conditions(wanted: MomentFilter, narrowed: SearchNarrowed) -> list[ColumnElement[bool]]:
    """What must hold of `samples`. Pure. Where the moments are known, by no index but that of their ids."""
    few = narrowed.ids is not None
    own = tables.sought.c.sample_id == _S.sample_id
    found = [true(), *_left_by_people(wanted), *_days(wanted, plain=few)]
    if hidden := _seen(wanted, tables.sought if few else db.samples):
        found += [exists().where(own, *hidden)] if few else hidden
    found += [(column.concat("") if few else column) == value for column, value in _named(wanted)]
    if wanted.state != "all":
        found += _in_state(wanted) if few else [_S.state == wanted.state]
    if narrowed.sought:
        found.append(exists().where(own, *by_words.conditions(narrowed.sought, wanted.state)))
    if narrowed.ids is not None:
        found.append(_S.sample_id.in_(narrowed.ids))
    return found


def is_seen_whole(wanted: MomentFilter) -> bool:
    """Whether the person who asks may see all moments. Pure."""
    return wanted.seen_by is None or not visible.conditions(wanted.seen_by)


def _seen(wanted: MomentFilter, table: Table = db.samples) -> list[ColumnElement[bool]]:
    """That the person who asks may see a moment. Pure. Of a wearer whom they may see, they may see all: nothing is
    asked, for SQLite would look through the moments of all whom they may see."""
    if wanted.seen_by is None or (wanted.wearer and visible.may_see_wearer(wanted.seen_by, wanted.wearer)):
        return []
    return visible.conditions(wanted.seen_by, table)


def _whose(wanted: MomentFilter) -> Sequence[str] | None:
    """The wearers whose moments alone are meant, None = of all, or of all but some. Pure."""
    wearers = None if wanted.seen_by is None else visible.wearers(wanted.seen_by)
    if not wanted.wearer:
        return None if wearers is None else tuple(sorted(wearers))
    return (wanted.wearer,) if wearers is None or wanted.wearer in wearers else ()


def _named(wanted: MomentFilter) -> list[tuple[ColumnElement[str], str]]:
    columns = (_S.walk_id, _S.device, _S.wearer, _S.model)
    values = (wanted.walk, wanted.device, wanted.wearer, wanted.model)
    return [(column, value) for column, value in zip(columns, values, strict=True) if value]


def _in_state(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    """That a moment stands in the state, by no index of states."""
    return [_S.state.concat("") == wanted.state]


def _days(wanted: MomentFilter, *, plain: bool = False) -> list[ColumnElement[bool]]:
    """plain: by no index of times"""
    at: ColumnElement[Any] = _S.captured_at + 0.0 if plain else _S.captured_at
    since = [] if wanted.since is None else [at >= wanted.since]
    return since if wanted.until is None else [*since, at < wanted.until]


def _by_people(wanted: MomentFilter) -> Iterator[Select[Any]]:
    """Ids of moments: of a walk, and of what people marked, wrote and skipped."""
    marks, comments, skips = tables.review_marks.c, tables.review_comments.c, tables.review_skips.c
    if wanted.walk:
        yield select(_S.sample_id).where(_S.walk_id == wanted.walk)
    if wanted.assigned_to:
        yield select(marks.sample_id).where(marks.assigned_to == wanted.assigned_to)
    if wanted.difficult:
        yield select(marks.sample_id).where(marks.difficult_by > "")
    if wanted.commented:
        yield select(comments.sample_id)
    if wanted.skipped_by:
        yield select(skips.sample_id).where(skips.person == wanted.skipped_by)


def _left_by_people(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    own, marks = _S.sample_id, tables.review_marks.c
    comments, skips = tables.review_comments.c, tables.review_skips.c
    found: list[ColumnElement[bool]] = []
    if wanted.difficult:
        found.append(exists().where(marks.sample_id == own, marks.difficult_by != ""))
    if wanted.assigned_to:
        found.append(exists().where(marks.sample_id == own, marks.assigned_to == wanted.assigned_to))
    if wanted.commented:
        found.append(exists().where(comments.sample_id == own))
    if wanted.skipped_by:
        found.append(exists().where(skips.sample_id == own, skips.person == wanted.skipped_by))
    return found


def _alike(connection: Connection, wanted: MomentFilter) -> Select[Any]:
    """Ids of what looks like a moment, and its own; none for one that the person may not see: they learn nothing."""
    own = select(_S.sample_id).where(_S.sample_id == wanted.like, *_seen(replace(wanted, wearer="")))
    if connection.execute(own).first() is None:
        return own
    return as_rows(connection, [wanted.like, *near.alike_ids(connection, wanted.like)])
