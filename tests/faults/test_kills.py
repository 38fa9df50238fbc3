"""Some of the kills of `make soak`, one of each kind: who dies at a durable step lives again and nothing is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from device.outbox import outbox
from device.updates import tuf_client
from server.broker.child import find_mosquitto
from server.dataset import line_log, merge
from server.ingest import arrivals, ingest, share
from tests.faults.databases import POSTGRESQL, HomeDatabases, PostgresHomes, SqliteHomes, wanted
from tests.faults.stories import Outcome, Point
from tests.faults.strikes import Strike
from tests.faults.sweep import Theatre, group
from tests.postgres import PostgresChild

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed (apt install mosquitto)")

POINTS = (
    Point("sending", "device", "seal:renamed"),
    Point("sending", "device", "ack:marked"),
    Point("sending", "device", "fail:reason_written"),
    Point("sending", "device", "retry:moved"),
    Point("pruning", "device", "prune:logged"),
    Point("sending", "server", "arrivals:ranges_written"),
    Point("sending", "server", "merge:journal_written"),
    Point("sending", "server", "merge:committed"),
    Point("sharing", "server", "merge:synced"),
    Point("sending", "server", "log:cut"),
    Point("succession", "worker", "ingest:opened"),
    Point("updating", "device", "trust:root_kept"),
    Point("updating", "server", "release:timestamp_written"),
    Point("updating", "device", "blocks synced"),
    Point("updating", "device", "activate: previous set"),
    Point("updating", "device", "saved rolling_back"),
)


COMMIT = "commit in Settlement._put > Merge.put > Merge._writing > Store.writing"


@pytest.fixture(scope="module")
def theatre(request: pytest.FixtureRequest) -> Iterator[Theatre]:
    with _theatre(PostgresHomes(request.getfixturevalue("postgres")) if wanted() == POSTGRESQL else None) as theatre:
        theatre.prepare()
        yield theatre


@contextmanager
def _theatre(homes: HomeDatabases | None) -> Iterator[Theatre]:
    shm = Path("/dev/shm")
    with TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        yield Theatre(Path(folder), homes or SqliteHomes())


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{group(point)}: {point.name}")
def test_killed_at_a_step_nothing_is_lost_or_doubled(theatre: Theatre, point: Point) -> None:
    assert theatre.play(point) == Outcome(point, 1, killed=True)


@pytest.mark.parametrize(
    "strike",
    [
        pytest.param(Strike.DATABASE, marks=pytest.mark.soak),
        pytest.param(Strike.SESSIONS, marks=pytest.mark.soak),
        Strike.ANSWER,
    ],
)
def test_where_postgresql_lets_a_commit_down_nothing_is_lost_or_doubled(
    postgres: PostgresChild, strike: Strike
) -> None:
    point = Point("sending", "server", COMMIT, strike)
    with _theatre(PostgresHomes(postgres)) as theatre:
        assert theatre.play(point) == Outcome(point, 1, killed=True)


def test_the_steps_that_the_product_names_are_all_in_the_soak(theatre: Theatre) -> None:
    """A step that no story takes would be a kill point on paper only."""
    seen = {point.name for point in theatre.points()}
    named = {*outbox.STEPS, *arrivals.CRASH_POINTS, *ingest.CRASH_POINTS, *merge.STEPS, *line_log.STEPS}
    named |= {*share.CRASH_POINTS}
    named |= {f"trust:{name}" for name in tuf_client.CRASH_POINTS}
    assert named <= seen
