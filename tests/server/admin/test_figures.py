"""The figures behind the pages: better or worse only beyond chance, a forecast, health in order, charts with tables."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.admin import better, charts, health, storage
from server.admin.charts import ChartBar
from server.admin.fleet import FleetDevice, device, troubles
from server.admin.health import HealthFacts, HealthLevel
from server.admin.nights import NightRun
from server.admin.storage import StorageDay
from server.database import store as db
from server.dataset import row_log
from server.dataset.sample_row import SampleRow
from server.identity.claims import DeviceSummary
from server.releases.registry import RegisteredModel
from server.review import figures
from server.review.stats import Group, ReviewedShare
from shared.messages import Status, to_dict

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0
WELL = HealthFacts(NOW, "127.0.0.1:8883", True, 500_000_000_000, 900_000_000_000, 0, None)


def week(number: int, right: int, judged: int) -> Group:
    share = ReviewedShare(right, judged)
    return Group(f"2026-{number:02d}", share, share)


def row(n: int, *, right: bool, week_no: int = 0, **changes: object) -> SampleRow:
    made = SampleRow(
        row_id=f"s{n}#1",
        sample_id=f"s{n}",
        frame_path=f"frames/{n}.jpg",
        audio_path="",
        instruction="",
        timestamp=NOW + week_no * 7 * DAY_S,
        speaker_id="anna",
        device="pi-1",
        walk_id=f"w{n}",
        model_version="m1",
        flags=("audit",),
        reviewed=True,
        was_correct=right,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_better_is_said_only_beyond_chance() -> None:
    courses = {
        "better": [*(week(n, 60, 100) for n in range(4)), *(week(n, 85, 100) for n in range(4, 8))],
        "worse": [*(week(n, 85, 100) for n in range(4)), *(week(n, 60, 100) for n in range(4, 8))],
        "cannot be told": [*(week(n, 7, 10) for n in range(4)), *(week(n, 8, 10) for n in range(4, 8))],
        "nothing judged yet": [week(1, 0, 0)],
    }
    assert {name: better.compared(weeks).course for name, weeks in courses.items()} == {name: name for name in courses}
    assert better.compared([week(1, 9, 10)]).course == "cannot be told"


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, (a): 56/70 against 48/80, method 10
    found = better.difference(ReviewedShare(56, 70), ReviewedShare(48, 80))
    assert found is not None
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-4)


@given(*(st.integers(0, 40) for _ in range(4)))
def test_a_difference_lies_in_its_interval(one: int, of_one: int, two: int, of_two: int) -> None:
    found = better.difference(ReviewedShare(min(one, of_one), of_one), ReviewedShare(min(two, of_two), of_two))
    if found is None:
        assert not (of_one and of_two)
    else:
        assert -1.0 <= found[1] <= found[0] + 1e-9 <= found[2] + 2e-9 <= 1.0 + 3e-9


def test_weeks_models_nights_and_corrections_are_counted(tmp_path: Path) -> None:
    gate = {"rules": [{"name": "forgets nothing", "cases": 9, "figures": {"lost": 2}}]}
    evaluation = {"version": "n2", "outcome": "refused", "reasons": ["worse"], "gate": gate}
    made = RegisteredModel("n2", NOW, "m1", "base", tmp_path, "", 0, evaluation, "registered")
    runs = (
        NightRun(3, NOW + 9, None, "", "train", "running", "", ()),
        NightRun(2, NOW + 5, NOW + 6, "", "", "skipped", "", ("too few",)),
        NightRun(1, NOW, NOW + 1, "", "", "refused", "n2", ("worse",)),
    )
    later = NOW + 7 * DAY_S
    rows = [
        row(1, right=True, correction_id="c1", split="train"),
        row(2, right=False, timestamp=later + 60, correction_id="c2", split="train", model_version="n2"),
        row(3, right=True, week_no=1, correction_id="c3", split="held_out"),
        row(4, right=True, week_no=1, flags=("wearer",)),
    ]
    with closing(db.open_store(tmp_path)) as store:
        with store.writing() as connection:
            for one in rows:
                row_log.propose_split(connection, one.walk_id, one.split, now_s=NOW)
                row_log.insert_row(connection, one, now_s=later + 60)
        counted = figures.course(store)
        corrections = better.corrections_of(store, {"s1#1"})
    found = better.progress(counted, [made], runs, corrections=corrections, champion="n2")
    assert [(group.audit.right, group.audit.judged) for group in found.weeks] == [(1, 1), (1, 2)]
    assert [group.name for group in found.models] == ["m1", "n2"]
    assert [(night.outcome, night.lost, night.corrections) for night in found.nights] == [
        ("skipped", None, 0),
        ("refused", 2, 9),
    ]
    assert found.outcomes == {"skipped": 1, "refused": 1}
    assert found.corrections == better.CorrectionCounts(confirmed=3, learnt=1, waiting=1)
    assert found.forgotten == 2


def test_storage_is_told_until_when_it_is_enough() -> None:
    growing = [StorageDay(f"2026-11-{n:02d}", 10 * n, 1000 - 10 * n) for n in range(1, 11)]
    found = storage.forecast(growing)
    assert found is not None
    assert [found.a_day, found.days_left] == pytest.approx([10.0, 90.0])
    shrinking = storage.forecast([StorageDay("d", 100 - n, 5) for n in range(5)])
    assert shrinking is not None
    assert shrinking.days_left is None
    assert storage.forecast(growing[:2]) is None
    assert storage.is_nearly_full(4_000_000_000, 10**12)
    assert storage.is_nearly_full(90 * 10**9, 10**12)
    assert not storage.is_nearly_full(200 * 10**9, 10**12)


def test_a_day_of_storage_is_written_once_and_old_days_go(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "KEPT_DAYS", 3)
    store = db.open_store(memory_path)
    for day in ("2026-11-01", "2026-11-02", "2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"):
        assert storage.noted(store, storage.parts(memory_path), day=day).used > 0
    assert [each.day for each in storage.days(store)] == ["2026-11-03", "2026-11-04", "2026-11-05"]
    assert "database" in storage.parts(memory_path)
    store.close()


def test_health_says_the_most_urgent_first_and_what_to_do() -> None:
    failed = NightRun(4, NOW - DAY_S, NOW, "", "", "failed", "", ("The disk is full.",))
    last = FleetDevice("pi-1", "", "enrolled", False, False, NOW - 4 * DAY_S, NOW + 5 * DAY_S, "", None, "", (), 0)
    facts = replace(
        WELL,
        broker_reached=False,
        free=10**9,
        waiting=7,
        oldest_waiting_utc=NOW - 9 * DAY_S,
        devices=(last,),
        nights=(failed,),
        ends={"The authority": NOW + 3 * DAY_S},
        quarantined=2,
        never_judged=("m1",),
    )
    lines = health.lines(facts)
    levels = [line.level for line in lines]
    assert levels == sorted(levels, key=list(reversed(HealthLevel)).index)
    assert {line.about for line in lines if line.level is HealthLevel.NOW} == {
        "Broker",
        "Disk",
        "Last night",
        "Certificates",
    }
    assert all(line.todo for line in lines if line.level is HealthLevel.NOW)
    assert health.worst(lines) is HealthLevel.NOW
    assert "not heard of for 4 days" in " ".join(line.text for line in lines)


def test_a_disk_that_will_be_full_and_room_that_cannot_be_made_are_told() -> None:
    lines = health.lines(replace(WELL, full_in_days=9.4, space=("1 GB is needed.",)))
    said = {line.about: (line.level, line.text) for line in lines}
    assert said["Disk"][0] is HealthLevel.SOON
    assert said["Disk"][1].endswith("At this rate it is full in 9 days.")
    assert said["Space"] == (HealthLevel.SOON, "1 GB is needed.")
    assert storage.days_in_words(0.4) == "less than a day"


def test_a_server_that_is_well_says_so() -> None:
    night = NightRun(4, NOW - DAY_S, NOW, "", "", "refused", "n4", ("worse",))
    assert health.worst(health.lines(replace(WELL, nights=(night,)))) is HealthLevel.WELL


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status(online=True, battery_percent=9.0), "battery at 9 %"),
        (Status(online=True, heat_c=85.0), "85 °C"),
        (Status(online=True, disk_free_bytes=10), "its disk is nearly full"),
        (Status(online=True, failed=2), "refused for good: 2 records"),
        (Status(online=True, model_state="refused: altered"), "its model: refused: altered"),
    ],
)
def test_what_a_device_reports_is_told_in_words(status: Status, said: str) -> None:
    known = DeviceSummary("pi-1", "", "enrolled", False, NOW + 90 * DAY_S, "", NOW, True)
    stored = type("Row", (), {"status": to_dict(status)})()
    found = device(known, stored, "m2")
    assert said in troubles(found, now_utc=NOW)
    assert found.waits[-1].startswith("the update to m2")
    assert troubles(replace(found, state="revoked"), now_utc=NOW) == ()


def test_what_a_device_says_that_is_no_status_is_none() -> None:
    known = DeviceSummary("pi-1", "", "enrolled", False, None, "", NOW, True)
    found = device(known, type("Row", (), {"status": {"online": "perhaps"}})(), "")
    assert (found.status, found.waits) == (None, ())


def test_a_chart_has_the_table_of_its_figures_and_escapes_its_names() -> None:
    evil = '<script>"&'
    chart = charts.shares("Right", [replace(week(1, 8, 10), name=evil), week(2, 0, 0)], what="week")
    assert "<script>" not in chart.svg
    assert f'aria-label="Right. The newest week, {evil}'.replace("<", "&lt;")[:30] in chart.svg
    assert chart.rows == (
        (evil, "80% (8 of 10; 49% to 94%)", "80% (8 of 10; 49% to 94%)"),
        ("2026-02", "nothing judged yet", "nothing judged yet"),
    )
    bars = charts.bars("Bars", [ChartBar(evil, 3.0, 10.0, "3 of 10")], head=("What", "Number"))
    assert "<script>" not in bars.svg
    assert bars.rows == ((evil, "3 of 10"),)
    assert charts.bars("None", [], head=("What", "Number")).rows == ()
