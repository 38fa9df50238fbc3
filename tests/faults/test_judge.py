"""The judge sees what is wrong: "nothing lost", said by a judge that cannot find anything, would prove nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from device.outbox.outbox import Outbox
from server.database import store as db
from server.database.store import open_store
from server.dataset import part_paths
from tests.faults import cargo, soak
from tests.faults.aftermath import Aftermath, Plan
from tests.faults.carrier import bring_all
from tests.faults.judge import Party, Verdict, judge, model_trouble
from tests.faults.stories import Outcome, Point
from tests.faults.sweep import spared
from tests.shared.bundle.bundles import contents, make_bundle

DEVICE = "pi-1"
CHUNKS = 4
VICTIM = cargo.chunk_id(DEVICE, 1)
SPOKEN = cargo.correction_id(DEVICE, 1)


@dataclass(frozen=True, slots=True)
class Scene:
    """A device and a server after everything was merged."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def state(self) -> Path:
        return self.folder / "device"

    def judged(self) -> Verdict:
        return judge(self.home, [Party(DEVICE, self.state, self.folder / "ledger")])

    def seal(self, number: int) -> str:
        """One more, that nobody brings."""
        box = Outbox(self.state / "outbox")
        record_id = box.seal_chunk(*cargo.chunk(DEVICE, number)).chunk_id
        box.close()
        cargo.Ledger(self.folder / "ledger").say("sealed", record_id)
        return record_id

    def forget(self, table: Any, record_id: str) -> None:
        store = open_store(self.home)
        with store.writing() as connection:
            connection.execute(delete(table).where(table.c.record_id == record_id))
        store.close()

    def blob(self, record_id: str, kind: str) -> Path:
        store = open_store(self.home)
        with store.reading() as connection:
            wanted = select(part_paths.PATH).where(db.parts.c.record_id == record_id, db.parts.c.kind == kind)
            path = str(connection.scalars(wanted).one())
        store.close()
        return self.home / "dataset" / path


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = Scene(tmp_path_factory.mktemp("merged"))
    ledger = cargo.Ledger(scene.folder / "ledger")
    box = Outbox(scene.state / "outbox")
    for number in range(CHUNKS):
        ledger.say("sealed", box.seal_chunk(*cargo.chunk(DEVICE, number)).chunk_id)
        if cargo.has_correction(number):
            ledger.say("sealed", box.seal_correction(*cargo.correction(DEVICE, number)).correction_id)
    bring_all(scene.home, box, DEVICE)
    box.close()
    return scene.folder


@pytest.fixture
def scene(merged: Path, tmp_path: Path) -> Scene:
    shutil.copytree(merged, tmp_path / "scene")
    return Scene(tmp_path / "scene")


def test_where_all_is_well_the_verdict_is_clean(scene: Scene) -> None:
    verdict = scene.judged()
    assert verdict.clean
    assert len(verdict.merged) == verdict.chunks + verdict.corrections == CHUNKS + 1


@pytest.mark.parametrize("record_id", [VICTIM, SPOKEN])
@pytest.mark.parametrize("table", [db.records, db.parts], ids=lambda table: table.name)
def test_a_record_or_a_part_that_the_server_lost_is_lost(scene: Scene, table: Any, record_id: str) -> None:
    scene.forget(table, record_id)
    assert scene.judged().lost == {record_id}


def test_a_sealed_record_that_the_device_has_forgotten_is_lost(scene: Scene) -> None:
    record_id = scene.seal(CHUNKS)
    shutil.rmtree(scene.state / "outbox" / record_id)
    for index in (scene.state / "outbox").glob("index.sqlite*"):
        index.unlink()
    assert scene.judged().lost == {record_id}


def test_what_the_device_itself_names_as_lost_is_told_apart_and_still_counts_in_the_report(scene: Scene) -> None:
    record_id = scene.seal(CHUNKS)
    shutil.rmtree(scene.state / "outbox" / record_id)
    verdict = scene.judged()
    assert (verdict.lost, verdict.named_lost) == (set(), {record_id})
    assert soak.report([], Aftermath(Plan(), verdict))["lost"] == 1


def test_what_was_never_sent_is_a_problem(scene: Scene) -> None:
    scene.seal(CHUNKS)
    assert any("still wait" in problem for problem in scene.judged().problems)


def _gone(blob: Path) -> None:
    blob.unlink()


def _altered(blob: Path) -> None:
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)


@pytest.mark.parametrize("spoil", [_gone, _altered])
@pytest.mark.parametrize(("record_id", "kind"), [(VICTIM, "frame"), (SPOKEN, "correction_audio")])
def test_a_file_that_is_missing_or_altered_is_a_problem(
    scene: Scene, spoil: Callable[[Path], None], record_id: str, kind: str
) -> None:
    spoil(scene.blob(record_id, kind))
    assert any(record_id in problem and "missing or altered" in problem for problem in scene.judged().problems)


def test_a_row_that_stands_twice_in_the_dataset_is_a_duplicate(scene: Scene) -> None:
    log = scene.home / "dataset" / "metadata.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines, lines[0]]))
    assert len(scene.judged().duplicated) == 1


def test_a_model_with_one_bit_turned_or_none_at_all_is_trouble(tmp_path: Path) -> None:
    slot = tmp_path / "models" / "a"
    make_bundle(slot, "m1", contents())
    (tmp_path / "models" / "current").symlink_to("a")
    assert model_trouble(tmp_path, had_one=True) == ""
    _altered(max(slot.iterdir(), key=lambda file: file.stat().st_size if file.is_file() else 0))
    assert model_trouble(tmp_path, had_one=True)
    (tmp_path / "models" / "current").unlink()
    assert model_trouble(tmp_path, had_one=True)
    assert not model_trouble(tmp_path, had_one=False)


GOOD: dict[str, Any] = {
    "kill_points": [{"name": f"sealing: {number}", "kills": 1, "lost": 0, "duplicated": 0} for number in range(40)],
    "random_faults": 200, "chunks": 500, "corrections": 50, "devices": 3, "lost": 0, "duplicated": 0,
    "database": "sqlite",
    "resent_bytes_per_cut": soak.WINDOW_BYTES, "resent_bytes_per_outage": soak.MAX_WINDOW_BYTES,
    "updates": {"attempted": 2, "activated": 2, "rolled_back": 1, "bricked": 0},
    "fuzz": {"seconds": 600.0, "crashes": 0}, "tests": {"status": 0}, "problems": [],
    "sentinel": {"trials": 100, "heard_within_3s": 100, "false_alarms": 0, "walk_minutes": 61.0},
    "long_walk": {
        "minutes": 89.9, "rss_mb": {"flat": True}, "fds": {"flat": True}, "threads": {"flat": True}, "pictures": 9,
        "pictures_dropped": 0, "cpu_s_per_minute": 6.0, "faults": {"broker": 176, "disk": 176}, "kept": 5, "merged": 4,
        "waiting": 1, "not_kept": 0,
    },
}  # fmt: skip


def test_a_report_that_reaches_every_bar_misses_none() -> None:
    assert soak.missed(GOOD) == []


@pytest.mark.parametrize(
    "worse",
    [
        {"kill_points": GOOD["kill_points"][:39]},
        {"kill_points": [*GOOD["kill_points"], {"name": "sending: x", "kills": 0, "lost": 0, "duplicated": 0}]},
        {"database": "postgresql"},
        {"random_faults": 199}, {"chunks": 499}, {"corrections": 49}, {"devices": 2}, {"lost": 1}, {"duplicated": 1},
        {"resent_bytes_per_cut": soak.WINDOW_BYTES + 1}, {"resent_bytes_per_outage": soak.MAX_WINDOW_BYTES + 1},
        {"updates": GOOD["updates"] | {"bricked": 1}},
        {"updates": GOOD["updates"] | {"rolled_back": 0}}, {"fuzz": {"seconds": 599.0, "crashes": 0}},
        {"fuzz": {"seconds": 600.0, "crashes": 1}}, {"tests": {"status": 1}}, {"problems": ["something"]},
        {"sentinel": GOOD["sentinel"] | {"heard_within_3s": 99}}, {"sentinel": GOOD["sentinel"] | {"false_alarms": 1}},
        {"sentinel": GOOD["sentinel"] | {"trials": 99, "heard_within_3s": 99}},
        {"sentinel": GOOD["sentinel"] | {"walk_minutes": 12.0}},
        {"long_walk": {"problem": "ended with status 1"}}, {"long_walk": GOOD["long_walk"] | {"minutes": 15.0}},
        {"long_walk": GOOD["long_walk"] | {"rss_mb": {"flat": False}}},
        {"long_walk": GOOD["long_walk"] | {"fds": {"flat": None}}},
        {"long_walk": GOOD["long_walk"] | {"pictures_dropped": 1}},
        {"long_walk": GOOD["long_walk"] | {"faults": {"broker": 9, "disk": 9}}},
        {"long_walk": GOOD["long_walk"] | {"faults": {}}}, {"long_walk": GOOD["long_walk"] | {"not_kept": 1}},
        {"long_walk": GOOD["long_walk"] | {"merged": 3}},
        {"long_walk": GOOD["long_walk"] | {"cpu_s_per_minute": 13.0}},
    ],
    ids=str,
)  # fmt: skip
def test_each_bar_that_is_missed_is_named(worse: dict[str, Any]) -> None:
    assert len(soak.missed(GOOD | worse)) == 1


def test_points_at_which_nobody_died_are_named() -> None:
    points = [Point("sending", "server", name) for name in ("a", "b", "c")]
    outcomes = [
        Outcome(points[0], 1, killed=False),
        Outcome(points[0], 3, killed=True),
        Outcome(points[1], 1, killed=False),
    ]
    assert spared(points, outcomes) == points[1:]
