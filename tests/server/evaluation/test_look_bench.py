"""The figures of `make bench NAME=look`: what is counted, and against which bars."""

from __future__ import annotations

import os
from pathlib import Path

import av
import pytest

from benchmarks import _agent_cost as agent
from benchmarks import look
from server.walks import walk_from_name, write_video


def test_a_looped_film_is_long_enough_and_its_times_never_go_back(tmp_path: Path) -> None:
    film, target = tmp_path / "film.mp4", tmp_path / "long.mp4"
    write_video(walk_from_name("market", duration_s=2.0), film, fps=5, width_px=64, height_px=48)

    agent.looped(film, target, seconds=5.0)

    with av.open(str(target)) as made:
        pictures = [float(frame.time or 0) for frame in made.decode(made.streams.video[0])]
    with av.open(str(target)) as made:
        sounds = [float(frame.time or 0) for frame in made.decode(made.streams.audio[0])]
    assert len(pictures) == 3 * 10
    for times in (pictures, sounds):
        assert times == sorted(times)
        assert times[-1] >= 4.9


def test_what_a_process_uses_is_counted_by_part() -> None:
    before = agent.used(os.getpid())
    while (after := agent.used(os.getpid())).all_s < before.all_s + 0.5:  # of ticks of 10 ms
        sum(range(10_000))

    figures = agent.per_minute(before, after, seconds=after.all_s - before.all_s)

    assert figures["cpu_s_per_minute"] == pytest.approx(60.0)
    assert set(figures["by_part"]) == {"main", "decoding", "other", "ended"}
    assert 0 < figures["by_part"]["main"] <= 63.0
    assert sum(figures["by_part"].values()) == pytest.approx(60.0, abs=3.0)
    assert figures["start_cpu_s"] == pytest.approx(before.all_s, abs=0.01)


def test_the_worst_of_the_thread_counts_is_held_against_the_bars() -> None:
    model = {
        "threads": {
            "1": {"share_of_256m_vision": 0.1, "cpu_ms": 9.0},
            "2": {"share_of_256m_vision": 0.3, "cpu_ms": 11.0},
        }
    }

    bars = look.bars(model, {"cpu_s_per_minute": 13.5})

    assert {name: bar["value"] for name, bar in bars.items()} == {
        "share_of_256m_vision": 0.3,
        "look_cpu_ms": 11.0,
        "agent_cpu_s_per_minute": 13.5,
    }
    assert look.bars({}, {})["look_cpu_ms"]["value"] is None
