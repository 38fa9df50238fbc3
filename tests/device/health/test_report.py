"""The report of a walk: who was heard, how soon after the picture, and how late pictures came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from device.capture.source import VideoFrame
from device.guidance.history import MOST_HEARD, GuidanceHistory, Spoken
from device.health.walk_report import MOST_NAMED, MOST_SAID, RecentTimes, WalkReport


def warning(number: int, *, tier: int = 1, why: str = "hazard", taken_s: float | None = 100.0) -> Spoken:
    return Spoken(number, 1.0 * number, "Stop, curb ahead.", tier, why, 0.9, seen_s=0.9 * number, taken_s=taken_s)


def report_of(folder: Path, *spoken: Spoken, sounded: dict[int, float]) -> dict[str, Any]:
    """sounded: number of an utterance → monotonic time of its first sample; earcons last 0.11 s."""
    journal, report = GuidanceHistory(), WalkReport("walk", "dev-1", "replay:walk.mp4")
    for one in spoken:
        journal.add(one)
        report.said(one, "chunk")
        if one.utterance in sounded:
            at_s = sounded[one.utterance]
            journal.sounded(one.utterance, at_s, t_s=one.t_s + 0.02, lead_s=0.11 if one.tier == 1 else 0.0)
    report.write(folder / "report.json", journal.heard)
    report.write(folder / "report.json", journal.heard)  # written at the end of the walk, and again at the end of all
    written: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    return written


def test_each_utterance_says_when_it_was_heard_and_how_long_after_its_picture(tmp_path: Path) -> None:
    news = warning(2, tier=2, why="state", taken_s=None)
    report = report_of(tmp_path, warning(1), news, sounded={1: 100.04, 2: 103.0})
    (stop,) = report["guidance"]
    assert (stop["t_s"], stop["heard_s"], stop["time_to_speech_ms"], stop["time_to_words_ms"]) == (
        1.0,
        1.02,
        40.0,
        150.0,
    )
    (reported,) = report["announced"]
    assert (reported["heard_s"], reported["time_to_speech_ms"]) == (2.02, None)


def test_what_was_cut_before_its_first_sample_was_not_heard(tmp_path: Path) -> None:
    report = report_of(tmp_path, warning(1), sounded={})
    assert report["guidance"][0]["heard_s"] is None
    assert report["time_to_speech_ms"]["count"] == 0
    assert report["time_to_speech_ms"]["p95"] is None


def test_warnings_are_counted_apart_from_other_words(tmp_path: Path) -> None:
    said = (warning(1), warning(2), warning(3, tier=2, why="worded"))
    report = report_of(tmp_path, *said, sounded={1: 100.04, 2: 100.06, 3: 100.2})
    times = report["time_to_speech_ms"]
    assert (times["count"], times["tier_1"]["count"], times["tier_2"]["count"], times["tier_3"]["count"]) == (
        3,
        2,
        1,
        0,
    )
    assert (times["tier_1"]["p50"], times["tier_2"]["p99"]) == (50.0, 200.0)
    assert report["time_to_words_ms"]["tier_1"]["p50"] == 160.0


def test_how_late_pictures_came_is_told_where_the_shutter_is_known(tmp_path: Path) -> None:
    report = WalkReport("walk", "dev-1", "replay:walk.mp4")
    picture = np.zeros((2, 2, 3), np.uint8)
    report.took(VideoFrame(picture, 1.0, taken_s=50.0), 50.02)
    report.took(VideoFrame(picture, 1.1), 50.2)
    report.write(tmp_path / "report.json", {})
    late = json.loads((tmp_path / "report.json").read_bytes())["picture_late_ms"]
    assert (late["count"], late["p50"]) == (1, 20.0)


def test_of_many_times_the_last_ones_count() -> None:
    times = RecentTimes(100)
    assert times.values == []
    for number in range(250):
        times.add(float(number))
    assert sorted(times.values) == [float(number) for number in range(150, 250)]
    few = RecentTimes(100)
    few.add(0.5)
    assert few.values == [0.5]


def test_a_walk_of_weeks_leaves_the_last_utterances_and_counts_every_moment(tmp_path: Path) -> None:
    journal, report = GuidanceHistory(), WalkReport("walk", "dev-1", "camera:0")
    for number in range(MOST_HEARD + 10):
        said = warning(number)
        journal.add(said)
        report.said(said, "chunk")
        journal.sounded(number, 100.0, t_s=said.t_s)
    for number in range(MOST_NAMED + 10):
        report.sealed(f"chunk-{number}", correction=False)
    report.sealed("correction", correction=True)
    report.erase([f"chunk-{MOST_NAMED}", f"chunk-{MOST_NAMED + 9}", "correction", "chunk-of-another-walk"])
    report.write(tmp_path / "report.json", journal.heard)
    written = json.loads((tmp_path / "report.json").read_bytes())
    assert [said["t_s"] for said in written["guidance"]] == list(range(MOST_HEARD + 10 - MOST_SAID, MOST_HEARD + 10))
    assert (len(journal.heard), written["time_to_speech_ms"]["count"]) == (MOST_HEARD, MOST_HEARD)
    assert (len(written["flagged"]), written["corrections"]) == (MOST_NAMED - 2, [])
    assert report.kept == MOST_NAMED + 10 - 2
