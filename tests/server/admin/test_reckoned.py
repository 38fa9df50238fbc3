"""Figures of all moments: worked out by a process beside the server, remembered, forgotten with what was erased."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from benchmarks import _large_home
from server.admin import reckoning
from server.admin.reckoned import FAILED, LEAST_WAIT_S, Reckoned, ReckonedFigures
from server.admin.reckoning import Inputs
from server.database.store import Store, open_store
from server.dataset import line_log, surroundings
from server.dataset.folder import Dataset
from server.privacy import deletion, plans
from server.privacy.plans import PlanCounts
from server.releases.registry import Registry
from server.review import coverage, patterns, teaching
from shared.clock import ManualClock

MOMENTS = 60
WITHIN_S = 60.0
HANGS = (sys.executable, "-c", "import signal; signal.pause()")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_large_home, "KINDS", 60)
        patch.setattr(_large_home, "A_WALK", 10)
        folder = tmp_path_factory.mktemp("home")
        _large_home.build(folder, MOMENTS, own_files=False)
    return folder


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with closing(open_store(home)) as store:
        yield store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(epoch_s=1_770_000_000.0)


def settled(reckoned: Reckoned, name: str, argument: str = "") -> ReckonedFigures:
    """What is known once nothing is being worked out."""
    until = time.monotonic() + WITHIN_S
    while (found := reckoned.get(name, argument)).coming:
        assert time.monotonic() < until
        threading.Event().wait(0.02)
    return found


def test_a_page_gets_nothing_at_first_then_what_a_process_of_its_own_has_worked_out(
    store: Store, clock: ManualClock
) -> None:
    rows = Dataset(store.home / "dataset").rows()
    wearer = rows[0].speaker_id
    with closing(Reckoned(store, clock, few=0)) as reckoned:
        assert reckoned.get("errors") == ReckonedFigures(coming=True)
        errors = settled(reckoned, "errors")
        assert errors == ReckonedFigures(
            reckoning.ErrorFigures(patterns.find(rows)[: reckoning.PATTERNS_MOST], patterns.missing_words(rows)),
            clock.utc_s(),
        )
        deletion = settled(reckoned, "deletion", f"wearer {wearer}").value
        assert deletion.moments == sum(row.speaker_id == wearer for row in rows)
        assert settled(reckoned, "deletion", "walk none").value == PlanCounts(there=False)


def test_each_figure_survives_the_way_from_its_process(store: Store, clock: ManualClock) -> None:
    arguments = {"teachable": "3", "version": "2026-01-night-starter", "deletion": "walk walk-000001"}
    for name, figures in reckoning.FIGURES.items():
        value = figures.reckon(Inputs(store, clock), arguments.get(name, ""))
        assert reckoning.decoded(name, msgspec.json.encode(value)) == value, name


def test_rows_one_after_the_other_say_what_a_list_of_all_says(store: Store, clock: ManualClock) -> None:
    rows = Dataset(store.home / "dataset").rows()
    found = {
        name: reckoning.reckon(Inputs(store, clock), name, argument)
        for name, argument in (("coverage", ""), ("teachable", "3"))
    }
    assert found["coverage"].moments == sum(not row.rejected for row in rows)
    fields = [surroundings.fields_of(row) for row in rows if not row.rejected]
    assert found["coverage"] == coverage.covered(fields, coverage.plan_of())
    taught = teaching.learnt(Registry(store.home, store=store))
    assert list(found["teachable"]) == teaching.teachable(rows, taught, least=3)


def test_a_small_home_is_worked_out_at_once(store: Store, clock: ManualClock) -> None:
    with closing(Reckoned(store, clock, few=MOMENTS, command=HANGS)) as reckoned:
        found = reckoned.get("coverage")
        assert (found.value.moments > 0, found.coming, found.as_of_utc) == (True, False, clock.utc_s())


def test_newer_figures_are_begun_where_the_log_has_changed_and_not_too_often(store: Store, clock: ManualClock) -> None:
    with closing(Reckoned(store, clock, few=0)) as reckoned:
        first = settled(reckoned, "storage")
        assert first.value["database"] > 0
        _touch(store)
        assert reckoned.get("storage") == first, "not again at once"
        clock.sleep(LEAST_WAIT_S)
        again = reckoned.get("storage")
        assert (again.value, again.coming) == (first.value, True), "the older ones are shown meanwhile"
        assert settled(reckoned, "storage").as_of_utc == first.as_of_utc + LEAST_WAIT_S
        clock.sleep(LEAST_WAIT_S)
        assert not reckoned.get("storage").coming, "nothing has changed"


def test_what_was_known_of_a_log_that_was_written_anew_is_forgotten(store: Store, clock: ManualClock) -> None:
    """Examples and words of an erased moment are shown to nobody any more."""
    with closing(Reckoned(store, clock, few=0)) as reckoned:
        settled(reckoned, "errors")
        line_log.tell_of_it(store.home / "dataset" / "metadata.jsonl")
        assert reckoned.get("errors") == ReckonedFigures(coming=True)


def test_what_was_known_of_a_moment_that_was_deleted_is_forgotten(
    home: Path, tmp_path: Path, clock: ManualClock
) -> None:
    own = shutil.copytree(home, tmp_path / "home")
    dataset = Dataset(own / "dataset")
    with closing(open_store(own)) as store, closing(Reckoned(store, clock, few=0)) as reckoned:
        assert settled(reckoned, "errors").value
        with store.reading() as connection:
            plan = plans.of_moments(connection, [next(iter(dataset.rows())).sample_id])
        deletion.carry_out(deletion.port_of(own, store, dataset, clock), plan, by="Ana")
        assert line_log.rewritten(dataset.log) > 0
        assert reckoned.get("errors") == ReckonedFigures(coming=True)


def test_what_fails_in_a_way_that_nobody_foresaw_is_told_and_ends_nothing(store: Store, clock: ManualClock) -> None:
    """A name that no process can be given; a database that is busy at that moment."""
    with closing(Reckoned(store, clock, few=0)) as reckoned:
        assert settled(reckoned, "deletion", "wearer \0").trouble == FAILED
        assert settled(reckoned, "storage").value["database"] > 0


def test_a_process_that_fails_is_told_and_tried_again(store: Store, clock: ManualClock) -> None:
    with closing(Reckoned(store, clock, few=0, command=(sys.executable, "-c", "raise SystemExit(3)"))) as reckoned:
        assert settled(reckoned, "errors").trouble == FAILED
        clock.sleep(LEAST_WAIT_S)
        assert reckoned.get("errors").coming


def test_a_server_that_ends_waits_for_nothing_that_is_worked_out(store: Store, clock: ManualClock) -> None:
    reckoned = Reckoned(store, clock, few=0, command=HANGS)
    assert reckoned.get("errors").coming
    began = time.monotonic()
    reckoned.close()
    assert time.monotonic() - began < 10.0
    assert not reckoned.get("errors").coming


def _touch(store: Store) -> None:
    """The log has changed, where it was."""
    log = store.home / "dataset" / "metadata.jsonl"
    stat = log.stat()
    os.utime(log, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
