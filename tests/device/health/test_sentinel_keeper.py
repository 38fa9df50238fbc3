"""The keeper of the sentinel: nothing that keeps a sentinel from starting keeps the wearer from hearing of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.health.announcements import WATCH_OFF
from device.health.sentinel_keeper import SentinelKeeper
from device.sentinel.board import NAME, OUTPUT, Board
from device.sentinel.watch import WORDS
from shared.clock import ManualClock


def test_a_board_whose_folder_is_gone_does_not_hide_that_nobody_watches(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    clock, said = ManualClock(100.0), list[str]()
    keeper = SentinelKeeper(
        Board(folder / NAME),
        state_dir=tmp_path / "state",
        options=(),
        render=lambda text: np.zeros(10, np.int16),
        announce=said.append,
        clock=clock,
    )
    shutil.rmtree(folder)  # as a logout removes $XDG_RUNTIME_DIR
    folder.write_bytes(b"")  # and it cannot be made again
    for _ in range(10):
        keeper.tick()
        clock.now_s += 1.0
    assert said == [WATCH_OFF]


def test_the_sentinel_follows_the_agent_to_the_systems_default_too_and_not_to_an_output_that_it_left(
    tmp_path: Path,
) -> None:
    keeper = SentinelKeeper(
        Board(tmp_path / NAME),
        state_dir=tmp_path / "state",
        options=(),
        render=lambda text: np.zeros(10, np.int16),
        announce=print,
        clock=ManualClock(100.0),
    )
    told, found = tmp_path / OUTPUT, []
    told.write_text("ALSA_CARD=before\n")
    for output in (None, {"ALSA_CARD": "Headset"}, {}):
        keeper.output = lambda output=output: output  # type: ignore[misc]
        keeper._tell_output()
        found.append(told.read_text())
    assert found == ["ALSA_CARD=before\n", "ALSA_CARD=Headset\n", ""]


def test_memory_that_takes_no_note_of_the_sound_output_keeps_no_sentence_from_being_rendered(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / OUTPUT).mkdir()  # nothing can be written in its place
    rendered = list[str]()

    def render(text: str) -> NDArray[np.int16]:
        rendered.append(text)
        return np.zeros(10, np.int16)

    clock = ManualClock(100.0)
    keeper = SentinelKeeper(
        Board(folder / NAME), state_dir=tmp_path, options=(), render=render, announce=print, clock=clock
    )
    keeper.output = lambda: {"PULSE_SINK": "one"}
    keeper._started_s = clock.now_s  # another sentinel is being started
    keeper.tick()
    assert set(rendered) == set(WORDS.values())
