"""The benchmark of "what is ahead?": what is made of the agent's report."""

from __future__ import annotations

from typing import Any

from benchmarks import ahead


def said(text: str, t_s: float, heard_s: float | None, *, tier: int = 1, why: str = "asked") -> dict[str, Any]:
    return {"text": text, "t_s": t_s, "heard_s": heard_s, "tier": tier, "why": why}


def test_answers_behind_a_warning_count_from_its_end_and_the_others_from_the_press() -> None:
    report = {
        "model_version": "test-1",
        "guidance": [
            said("Stop, curb ahead.", 0.9, 1.0, why="hazard"),
            said("Caution, bin ahead.", 5.0, 5.1, tier=2, why="worded"),
            said("Stop, pole ahead.", 9.0, None, why="hazard"),
        ],
        "announced": [
            said("Camera back.", 1.2, 1.3, why="state"),
            said("Stop, curb ahead.", 2.5, 2.6),
            said("Nothing recognised. Check for yourself.", 5.2, 5.3, why="state"),
            said("Caution, bin ahead.", 9.1, 9.15),
        ],
    }
    measured = ahead.figures(report, [1.5, 5.1, 9.0, 12.0], card=False, length_s=lambda text: 1.5)
    assert (measured["asked"], measured["answered"], measured["warned"]) == (4, 3, 1)
    assert (measured["warned_ms"]["p50"], measured["behind_warning_ms"]["p50"]) == (1100.0, 100.0)
    assert (measured["press_to_sound_ms"]["count"], measured["press_to_sound_ms"]["p95"]) == (2, 197.5)
    assert measured["answers"]["Stop, curb ahead."] == 1
