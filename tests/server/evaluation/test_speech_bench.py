"""The benchmark of time to speech: which ways are run, and what is made of the agent's reports."""

from __future__ import annotations

from typing import Any

from benchmarks import speech
from benchmarks.speech import CARD, FREE, PINNED, WAV, Walk


def report(times_ms: list[float], *, late_ms: float, dropped: int = 0) -> dict[str, Any]:
    guidance: list[dict[str, Any]] = [
        {"tier": 1, "time_to_speech_ms": t, "time_to_words_ms": t + 110} for t in times_ms
    ]
    guidance.append({"tier": 1, "time_to_speech_ms": None, "time_to_words_ms": None})
    late = {"count": 10, "p50": late_ms / 2, "p95": late_ms, "p99": late_ms}
    return {
        "model_version": "test-1",
        "guidance": guidance,
        "duration_s": 10.0,
        "looks": 40,
        "picture_late_ms": late,
        "frames_seen": 150 - dropped,
        "frames_dropped": dropped,
        "chunks": 5,
        "not_kept": 0,
        "flagged": ["a", "b"],
    }


def test_a_core_is_left_to_the_recorder_where_there_is_more_than_one() -> None:
    free, pinned = speech.arms([0, 1, 2, 3], card=False)
    assert (free.threads, free.cores, free.sink) == (4, "", WAV)
    assert (pinned.threads, pinned.cores) == (3, "1,2,3")
    assert [arm.name for arm in speech.arms([0], card=False)] == [f"{WAV}, {FREE}"]
    assert [arm.sink for arm in speech.arms([2, 5], card=True)] == [WAV, CARD, CARD]


def test_utterances_of_all_walks_count_together_and_the_worst_walk_for_late_pictures() -> None:
    walks = [Walk(report([40.0, 60.0], late_ms=5.0), 4.0), Walk(report([80.0], late_ms=9.0, dropped=2), 8.0)]
    found = speech.pooled(walks)
    assert (found["time_to_speech_ms_tier_1"]["count"], found["time_to_speech_ms_tier_1"]["p50"]) == (3, 60.0)
    assert found["time_to_words_ms_tier_1"]["p50"] == 170.0
    assert (found["frames_dropped"], found["looks_per_s"], found["picture_late_ms"]["p95"]) == (2, 4.0, 9.0)
    assert (found["kept"], found["processor_share"]) == (4, 0.6)


def test_the_ratio_says_what_pinning_is_worth() -> None:
    made = speech.arms([0, 1], card=True)
    walks = {arm.name: [Walk(report([40.0], late_ms=4.0), 4.0)] for arm in made}
    walks[f"{CARD}, {FREE}"] = [Walk(report([60.0], late_ms=10.0), 4.0)]
    found = speech.figures(made, walks)
    assert found["pinning"]["time_to_speech_ms_tier_1_p95"] == 1.5
    assert found["pinning"]["picture_late_ms_p95"] == 2.5
    assert found["bars"]["warning to its words"] == {"p95_ms": 170.0, "at_most_ms": 150.0}
    assert f"{CARD}, {PINNED}" in found["arms"]
    assert speech.figures(made[:1], walks)["pinning"] == {}
