"""Statistics: what counts, and how it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dataset import wording
from server.dataset.sample_row import SampleRow
from server.review import decisions, stats
from server.review.decisions import ReviewDecision
from server.review.stats import SILENCE, ReviewedShare
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, sound, spoken

DAY_S = 86_400.0
MONDAY_S = 1_699_833_600.0  # 2023-11-13 00:00 UTC


def row(n: int = 0, said: str = "Stop, curb ahead.", should: str = "Stop, curb ahead.", **changes: Any) -> SampleRow:
    values: dict[str, Any] = {
        "row_id": f"pi-1-b-{n:06d}#2",
        "sample_id": f"pi-1-b-{n:06d}",
        "frame_path": "f",
        "audio_path": "a",
        "instruction": should,
        "raw_output": said,
        "ground_truth": should,
        "timestamp": MONDAY_S,
        "device": "pi-1",
        "was_correct": wording.means_the_same(said, should),
        "walk_id": "walk-1",
        "reviewed": True,
        "model_version": "v1",
    }
    return SampleRow(**{**values, **changes})


def test_only_what_a_person_judged_about_a_model_counts() -> None:
    rows = [
        row(0),
        row(1, should="Caution, pole ahead."),
        row(2, reviewed=False, was_correct=None),
        row(3, reviewed=False, rejected=True, was_correct=None),
        row(4, said="", should="Stop, curb ahead.", model_version=""),
    ]
    found = stats.summary(rows)
    assert found.states == {"pending": 1, "reviewed": 3, "rejected": 1}
    assert found.accuracy == ReviewedShare(1, 2)
    assert found.audit == ReviewedShare(0, 0)


def test_the_audit_stream_stands_alone() -> None:
    rows = [row(n, should="Caution, pole ahead.", flags=("wearer",)) for n in range(8)]
    rows += [row(n, flags=("audit", "wearer")) for n in range(8, 10)]
    found = stats.summary(rows)
    assert found.accuracy == ReviewedShare(2, 10)
    assert found.audit == ReviewedShare(2, 2)


def test_groups_by_object_model_and_time() -> None:
    rows = [
        row(0),
        row(1, said="", should="Stop, curb ahead.", timestamp=MONDAY_S + 6 * DAY_S),
        row(2, said="Caution, pole ahead.", should="", timestamp=MONDAY_S + 7 * DAY_S, model_version="v2"),
        row(3, said="Follow the path.", should="Follow the path.", timestamp=MONDAY_S + 7 * DAY_S, model_version="v2"),
    ]
    found = stats.summary(rows, by="week")
    assert [(group.name, group.all) for group in found.by_object] == [
        ("curb", ReviewedShare(1, 2)),
        (stats.NO_OBJECT, ReviewedShare(1, 1)),
        (SILENCE, ReviewedShare(0, 1)),
    ]
    assert [(group.name, group.all) for group in found.by_model] == [
        ("v2", ReviewedShare(1, 2)),
        ("v1", ReviewedShare(1, 2)),
    ]
    assert [(group.name, group.all) for group in found.over_time] == [
        ("2023-11-13", ReviewedShare(1, 2)),
        ("2023-11-20", ReviewedShare(1, 2)),
    ]
    assert len(stats.summary(rows, by="day").over_time) == 3


def test_confusions_and_missed_words_count_meanings_together() -> None:
    rows = [
        row(0, said="caution pole in front", should="Stop, curb ahead."),
        row(1, said="Caution, post ahead.", should="Stop, curb ahead."),
        row(2, said="Stop, curb ahead.", should=""),
        row(3, said="", should="Stop, curb ahead."),
    ]
    found = stats.summary(rows)
    assert [(one.said, one.should, one.count) for one in found.confusions] == [
        ("Caution, pole ahead.", "Stop, curb ahead.", 2),
        (SILENCE, "Stop, curb ahead.", 1),
        ("Stop, curb ahead.", SILENCE, 1),
    ]
    assert dict(found.missed_words) == {"curb": 3, "stop": 3, "ahead": 2}


def test_what_was_heard_is_judged_rather_than_what_was_held_back() -> None:
    held_back = row(0, said="Caution, pole ahead.", spoken="Stop, curb ahead.", was_correct=True)
    assert stats.summary([held_back]).confusions == ()


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_rate(right: int, wrong: int) -> None:
    share = ReviewedShare(right, right + wrong)
    if share.rate is None:
        assert share.interval is None
        return
    low, high = share.interval or (2.0, -1.0)
    assert 0 <= low <= share.rate + 1e-9
    assert share.rate - 1e-9 <= high <= 1


def test_the_interval_of_a_known_case() -> None:
    assert ReviewedShare(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)


@given(
    st.permutations(
        [row(n, should=should) for n, should in enumerate(("Stop, curb ahead.", "", "Caution, pole ahead."))]
    )
)
def test_the_order_of_the_rows_changes_nothing(rows: list[SampleRow]) -> None:
    assert stats.summary(rows) == stats.summary(sorted(rows, key=lambda one: one.sample_id))


def test_the_command_tells_all_of_it(house: House) -> None:
    house.send(moment(0, flags=("audit",), raw_output="Stop, curb ahead.", spoken="Stop, curb ahead."))
    house.send(moment(1, raw_output="Caution, pole ahead."))
    house.send(spoken("pi-1-b00t-000001", sound(9)))
    house.merge.put_transcript(
        "pi-1", "pi-1-b00t-c0000", transcript="kerb", confidence=1.0, proposal="Stop, curb ahead."
    )
    for n in (0, 1):
        decisions.review(house.store, house.dataset, f"pi-1-b00t-{n:06d}", ReviewDecision("accept", "Ben"), now_s=1.0)
    text = server(house.home, "stats").stdout
    for part in (
        "2 moments: 0 pending, 2 reviewed, 0 rejected",
        "1 spoken corrections on 1 walks",
        "Accuracy on the audit stream:  100% (1 of 1;",
        "the only unbiased view",
        "Accuracy of all reviewed:      50% (1 of 2;",
        "1 × Caution, pole ahead.  →  Stop, curb ahead.",
        "curb 1, stop 1",
        "1 of 2 moments  walk-1 (train)",
        "database:",
    ):
        assert part in text
    found = json.loads(server(house.home, "stats", "--json", "--by", "day").stdout)
    assert found["audit"]["rate"] == 1.0
    assert found["by_model"][0]["name"] == "starter-1"
    assert found["storage_bytes"]["frames"] > 1000
    assert found["over_time"][0]["name"] == "2023-11-14"


def test_an_empty_server_has_statistics_too(house: House) -> None:
    done = server(house.home, "stats")
    assert done.returncode == 0, done.stderr
    assert "nothing reviewed yet" in done.stdout
