"""The server, killed at each durable step of taking a file in, on its real database and dataset: all is merged once."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import func, select

from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from server.broker.child import BrokerChild
from server.database import settings as database_settings
from server.database import store as db
from server.database.store import open_store
from server.dataset import merge, part_paths
from server.dataset.folder import Dataset
from server.ingest import arrivals, ingest
from server.maintenance.check import check
from shared.clock import SystemClock
from tests.device.outbox.records import DEVICE, chunk, correction, payloads, wav
from tests.link.parties import DEADLINE_S, HastyClock
from tests.paths import ROOT

CHUNKS = 4
CLIP_BYTES = 700_000  # more than a window, so that ranges are written down on the way
STEPS = (*arrivals.CRASH_POINTS, *ingest.CRASH_POINTS, *merge.STEPS)


def _server(broker: BrokerChild, home: Path, step: str, nth: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.link.server_child", str(home), str(broker.port), step, str(nth)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


@pytest.mark.both_databases(soak=True)
@pytest.mark.parametrize("step", STEPS)
def test_killed_right_after_a_step_everything_is_merged_once_by_its_next_life(
    broker: BrokerChild, memory_path: Path, step: str
) -> None:
    box = Outbox(memory_path / "outbox")
    link = Link(LinkSettings(broker.host, broker.port, DEVICE), LinkPorts(box, HastyClock(), draw=lambda: 0.1))
    for number in range(CHUNKS):
        box.seal_chunk(chunk(number), payloads(number, clip_bytes=CLIP_BYTES))
    box.seal_correction(correction(1), wav(99))
    database_settings.of_home(memory_path / "home")  # with PostgreSQL its settings are written now
    first = _server(broker, memory_path / "home", step, 3)
    link.start()
    try:
        assert first.wait(DEADLINE_S) == -9, f"the server never comes to {step}"
        _end(first)
        second = _server(broker, memory_path / "home", "none", 1)
        try:
            assert link.wait_idle(DEADLINE_S)
        finally:
            _end(second)
    finally:
        link.stop()
        counts = box.counts()
        box.close()
    assert (counts.merged, counts.failed, counts.lost) == (CHUNKS + 1, 0, 0)
    assert link.resent_bytes <= 512 * 1024 + 8 * 2000
    _check_home(memory_path / "home")


def _check_home(home: Path) -> None:
    store = open_store(home)
    dataset = Dataset(home / "dataset")
    with store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(db.records)).scalar() == CHUNKS + 1
        assert connection.execute(select(func.count()).select_from(db.parts)).scalar() == 3 * CHUNKS + 1
        assert connection.execute(select(func.count()).select_from(db.quarantine)).scalar() == 0
        for path, digest in connection.execute(select(part_paths.PATH, db.parts.c.sha256)):
            assert sha256((home / "dataset" / path).read_bytes()).hexdigest() == digest
    rows = dataset.rows()
    assert sorted(row.sample_id for row in rows) == [chunk(number).chunk_id for number in range(CHUNKS)]
    assert all(row.clip_path for row in rows)
    stored = [path for folder in ("frames", "audio", "clips") for path in (home / "dataset" / folder).iterdir()]
    assert len(stored) == 3 * CHUNKS + 1
    assert [path for path in (home / "incoming").rglob("*") if path.is_file()] == []
    store.close()
    assert check(home, SystemClock()).findings == ()
