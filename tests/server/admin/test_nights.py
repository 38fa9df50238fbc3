"""The record of nights: what ran, live and ended, by hand, by a fault or by a kill; and what ending one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from server import config
from server.admin import nights
from server.admin.nights import ASKED_BY, NightControl
from server.database import store as db
from server.database.store import Store
from shared import file_lock
from shared.clock import ManualClock
from shared.errors import ConfigError, Refused, Transient
from tests.paths import ROOT
from tests.pulse import until
from tests.server.commands.terminal import server

SLOW_S = 300.0  # it imports torch: seconds, and minutes on a busy machine
NIGHT = """
import sys
from pathlib import Path
from server.admin import nights
from server.database.store import open_store
from shared import file_lock
from shared.clock import SystemClock
home = Path(sys.argv[1])
store = open_store(home)
with nights.recorded(home, store, SystemClock()) as record, file_lock.locked(home / nights.LOCK):
    record.stage("train")
    nights.telling(record, print)("step 1 of 9")
    sys.stdin.read()
"""


@pytest.fixture
def store(memory_path: Path) -> Iterator[Store]:
    config.init(memory_path)
    store = db.open_store(memory_path)
    yield store
    store.close()


@contextmanager
def night(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that records a night and waits in it, with the real lock; without torch, which takes seconds."""
    child = subprocess.Popen([sys.executable, "-c", NIGHT, str(home)], cwd=ROOT, stdin=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def outcomes(store: Store) -> list[str]:
    return [run.outcome for run in nights.runs(store.home, store)]


def test_a_night_is_recorded_with_what_it_said_and_how_it_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = ManualClock(), list[str]()
    monkeypatch.setenv(ASKED_BY, "Ana")
    with nights.recorded(store.home, store, clock) as record:
        assert record is not None
        progress = nights.telling(record, said.append)
        record.stage("train")
        progress("40 verified rows teach")
        clock.sleep(60)
        progress("step 1 of 9" * 200)
        record.end("refused", version="n2-ab", reasons=("worse on stairs",))
    (run,) = nights.runs(store.home, store)
    assert (run.outcome, run.version, run.reasons, run.asked_by) == ("refused", "n2-ab", ("worse on stairs",), "Ana")
    assert run.ended_utc == run.began_utc + 60
    assert [line.text for line in nights.lines(store, run.id)] == [
        "40 verified rows teach",
        ("step 1 of 9" * 200)[:500],
    ]
    assert said[0] == "40 verified rows teach"
    assert ASKED_BY not in os.environ


def test_a_fault_is_recorded_with_its_reason_and_one_after_the_outcome_does_not_undo_it(store: Store) -> None:
    def night(*, ended: bool) -> None:
        with nights.recorded(store.home, store, ManualClock()) as record:
            assert record is not None
            if ended:
                record.end("promoted", version="n3", reasons=("better",))
            raise ConfigError("learn.base is gone.")

    for ended in (False, True):
        with pytest.raises(ConfigError):
            night(ended=ended)
    after, failed = nights.runs(store.home, store)
    assert (failed.outcome, failed.reasons) == ("failed", ("learn.base is gone.",))
    assert (after.outcome, after.version, after.reasons) == ("promoted", "n3", ("better", "learn.base is gone."))


def test_a_second_night_leaves_no_record_beside_the_one_that_runs(store: Store) -> None:
    with file_lock.locked(store.home / nights.LOCK), nights.recorded(store.home, store, ManualClock()) as record:
        assert record is None
    assert outcomes(store) == []


def test_a_busy_or_broken_database_ends_no_night(store: Store) -> None:
    with nights.recorded(store.home, store, ManualClock()) as record:
        assert record is not None
        with store.writing() as connection:
            connection.exec_driver_sql("DROP TABLE night_lines")
        nights.telling(record, lambda text: None)("step 1")
        record.end("skipped")
    assert outcomes(store) == ["skipped"]


def test_a_night_is_live_while_it_runs_is_ended_by_hand_and_a_killed_one_is_interrupted(store: Store) -> None:
    control = NightControl(store.home, store)
    with night(store.home) as child:
        until(lambda: bool(nights.runs(store.home, store)) and nights.lines(store, 1) != (), "the night's first line")
        (run,) = nights.runs(store.home, store)
        assert (run.outcome, run.stage) == ("running", "train")
        with pytest.raises(Transient, match="running already"):
            control.start(asked_by="Ana", force=False)
        control.cancel()
        assert child.wait(60) != 0
    assert outcomes(store) == ["cancelled"]
    assert "Nothing is lost" in nights.runs(store.home, store)[0].reasons[0]
    with pytest.raises(Refused, match="No night is running"):
        control.cancel()
    with night(store.home) as child:
        until(lambda: len(nights.runs(store.home, store)) == 2 and nights.is_held(store.home), "the second night")
        child.send_signal(signal.SIGKILL)
        child.wait(60)
    assert outcomes(store) == ["interrupted", "cancelled"]


def test_a_process_that_has_the_number_of_a_dead_night_is_never_ended(store: Store) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander, file_lock.locked(store.home / nights.LOCK):
        nights.NightRecord(store, ManualClock())
        with store.writing() as connection:
            connection.execute(update(db.night_runs).values(pid=bystander.pid, pid_began=1))
        with pytest.raises(Refused):
            NightControl(store.home, store).cancel()
        assert bystander.poll() is None
        assert outcomes(store) == ["interrupted"]
        bystander.kill()


@pytest.mark.soak
def test_the_page_starts_the_real_command_which_says_that_there_is_nothing_to_learn(store: Store) -> None:
    assert server(store.home, "init").returncode == 0
    control = NightControl(store.home, store)
    control.start(asked_by="Ana", force=False)
    until(lambda: outcomes(store) == ["skipped"] and not control.starting, "the end of the night", timeout_s=SLOW_S)
    (run,) = nights.runs(store.home, store)
    assert (run.asked_by, run.reasons) == ("Ana", ("0 verified rows are new, 20 are needed",))


def test_a_night_that_cannot_begin_says_so(store: Store) -> None:
    (store.home / config.FILE).write_text("[learn]\nbase = 3\n")
    control = NightControl(store.home, store)
    control.start(asked_by="Ana", force=False)
    until(lambda: not control.starting and control.trouble != "", "the word about it", timeout_s=SLOW_S)
    assert "exit status 2" in control.trouble
    assert outcomes(store) == []


def test_only_the_lines_of_the_newest_runs_are_kept(store: Store) -> None:
    for _ in range(nights.KEPT + 2):
        record = nights.NightRecord(store, ManualClock())
        record.say("one line")
        record.end("skipped")
    assert [len(nights.lines(store, run)) for run in (1, 2, 3)] == [0, 0, 1]
    assert len(nights.runs(store.home, store)) == nights.KEPT
