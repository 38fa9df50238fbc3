"""Figures that take all moments: `python -m server.admin.reckoning HOME NAME [ARGUMENT]`.

Started by server.admin.reckoned, never by hand. A process of its own with a low priority: a million moments take a
minute of a core, in which the page and the ingest would wait for Python's lock, and memory that a server would keep.
It changes nothing and may be killed at any moment.

To stdout it writes lines of JSON: {"share": 0.25} as it goes, {"value": ...} last.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from server.admin import storage, versions
from server.admin.better import CorrectionCounts, corrections_of
from server.admin.versions import ShadowResult
from server.consent import register
from server.consent.terms import wearer_of
from server.database import store as db
from server.database.store import Store, open_store
from server.dataset import sample_row, surroundings
from server.dataset.sample_row import SampleRow
from server.gate import wearer_days
from server.gate.wearer_days import DaysResult
from server.privacy import plans
from server.privacy.plans import DeletionKind, PlanCounts
from server.releases.registry import Registry
from server.releases.rollouts import Rollouts
from server.review import coverage, order, patterns, teaching
from server.review.coverage import Coverage
from server.review.patterns import ErrorPattern, MissingWord
from server.review.teaching import Teachable
from shared import strict
from shared.child_process import die_with_parent, stand_back
from shared.clock import Clock, SystemClock
from shared.errors import Refused

NICER = 10
AT_ONCE = 1_000
PATTERNS_MOST = 40
Report = Callable[[float], object]
"""Called with the share that is done, 0..1."""


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """Patterns of errors, the most frequent first, and words that are missing."""

    patterns: tuple[ErrorPattern, ...]
    words: tuple[MissingWord, ...]


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """How a version did in the field."""

    shadow: ShadowResult | None
    days: DaysResult | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What figures are made from."""

    store: Store
    clock: Clock
    report: Report = lambda share: None

    def part(self, first: float, last: float) -> Inputs:
        """For a part of the work: what is reported lies between these."""
        return replace(self, report=lambda share: self.report(first + share * (last - first)))


def reckon(inputs: Inputs, name: str, argument: str) -> Any:
    """The figures of a name. Raises: KeyError for a name that is none, DatasetError, OSError."""
    return FIGURES[name].reckon(inputs, argument)


def rows(inputs: Inputs, *, state: str | None = None) -> Iterator[SampleRow]:
    """The newest row of each moment, of one state or of all, with flat memory and no long transaction."""
    store, table, after, done = inputs.store, db.samples.c, "", 0
    with store.reading() as connection:
        total = max(1, sum(order.counts(connection).values()))
    while True:
        query = select(table.sample_id, table.state, table.body).where(table.sample_id > after)
        with store.reading() as connection:
            some = connection.execute(query.order_by(table.sample_id).limit(AT_ONCE)).all()
        if not some:
            return
        for one in some:
            if state in (None, one.state):
                yield sample_row.from_dict(one.body, where=f"sample {one.sample_id}")
        after, done = some[-1].sample_id, done + len(some)
        inputs.report(min(1.0, done / total))


def _coverage(inputs: Inputs, argument: str) -> Coverage:
    fields = (surroundings.fields_of(row) for row in rows(inputs) if not row.rejected)
    return coverage.covered(fields, coverage.plan_of())


def _errors(inputs: Inputs, argument: str) -> ErrorFigures:
    found = patterns.find(rows(inputs.part(0.0, 0.5), state="reviewed"))
    words = patterns.missing_words(rows(inputs.part(0.5, 1.0), state="pending"))
    return ErrorFigures(found[:PATTERNS_MOST], words)


def _teachable(inputs: Inputs, argument: str) -> tuple[Teachable, ...]:
    """argument: LearnSettings.teach_least; then, after a blank, the wearers whose moments count, as JSON; none = all"""
    least, _, names = argument.partition(" ")
    agreed, seen = register.read(inputs.store).teaches_others, frozenset(json.loads(names)) if names else None
    confirmed = (row for row in rows(inputs, state="reviewed") if seen is None or wearer_of(row) in seen)
    taught = teaching.learnt(_registry(inputs))
    return tuple(teaching.teachable(filter(agreed, confirmed), taught, least=int(least)))


def _corrections(inputs: Inputs, argument: str) -> CorrectionCounts:
    taught = {name.rpartition(":")[0] for name in teaching.learnt(_registry(inputs))}
    return corrections_of(inputs.store, taught)


def _version(inputs: Inputs, argument: str) -> VersionFigures:
    """argument: the version"""
    shadow = versions.shadow(rows(inputs.part(0.0, 0.5)), argument)
    try:
        rollout, devices = Rollouts(_registry(inputs), clock=inputs.clock).by_days(argument)
    except Refused:
        return VersionFigures(shadow, None)
    own, now_utc = rows(inputs.part(0.5, 1.0)), inputs.clock.utc_s()
    return VersionFigures(shadow, wearer_days.result(rollout, own, devices, now_utc=now_utc))


def _storage(inputs: Inputs, argument: str) -> dict[str, int]:
    return storage.parts(inputs.store.home)


def _deletion(inputs: Inputs, argument: str) -> PlanCounts:
    """argument: "walk NAME" or "wearer NAME" """
    what, _, name = argument.partition(" ")
    make = plans.of_walk if what == DeletionKind.WALK else plans.of_wearer
    try:
        with inputs.store.reading() as connection:
            return plans.counted(make(connection, name))
    except Refused:
        return PlanCounts(there=False)


def _registry(inputs: Inputs) -> Registry:
    return Registry(inputs.store.home, store=inputs.store, clock=inputs.clock)


@dataclass(frozen=True, slots=True)
class _Figures:
    kind: Any
    """Type of the value."""
    reckon: Callable[[Inputs, str], Any]


FIGURES: Mapping[str, _Figures] = {
    "coverage": _Figures(Coverage, _coverage),
    "errors": _Figures(ErrorFigures, _errors),
    "teachable": _Figures(tuple[Teachable, ...], _teachable),
    "corrections": _Figures(CorrectionCounts, _corrections),
    "version": _Figures(VersionFigures, _version),
    "storage": _Figures(dict[str, int], _storage),
    "deletion": _Figures(PlanCounts, _deletion),
}


def decoded(name: str, value: bytes) -> Any:
    """A value as its process wrote it. Raises: msgspec.MsgspecError."""
    return msgspec.json.decode(value, type=strict.ready(FIGURES[name].kind))


def main(argv: list[str]) -> int:
    """Reckon one thing."""
    stand_back(NICER)
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # of a terminal go to the whole group
        signal.signal(number, signal.SIG_IGN)
    home, name, *more = argv

    def report(share: float) -> None:
        _say({"share": round(share, 3)})

    with closing(open_store(Path(home), create=False)) as store:
        _say({"value": reckon(Inputs(store, SystemClock(), report), name, more[0] if more else "")})
    return 0


def _say(line: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
