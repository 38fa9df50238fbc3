"""The frames that a night replays are drawn once, whatever happens to their folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server import walks
from server.learn import replayed
from server.learn.batches import Example
from shared.preprocess import Preprocessing
from tests.paths import ROOT
from tests.server.learn.parts import layout

DRAWING = replayed.ReplayDrawing(walks.KNOWN, layout(), 0.4, 7)
COUNT = 12


def frames(
    cache: Path, *, drawing: replayed.ReplayDrawing = DRAWING, count: int = COUNT
) -> tuple[list[Example], list[str]]:
    said: list[str] = []
    return replayed.frames(cache, drawing, count, progress=said.append), said


def same(some: Sequence[Example], others: Sequence[Example]) -> bool:
    return len(some) == len(others) and all(map(alike, some, others))


def alike(one: Example, other: Example) -> bool:
    arrays = ("tile", "patches", "hazards", "hazard_weights", "ground")
    equal = [
        np.array_equal(getattr(one, name), getattr(other, name))
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in arrays
    ]
    return all(equal) and (one.text, one.previous, one.sound) == (other.text, other.previous, other.sound)


@pytest.fixture(scope="module")
def drawn() -> list[Example]:
    return DRAWING.shard(0, COUNT)


def test_kept_frames_are_those_that_were_drawn_to_the_bit(tmp_path: Path, drawn: list[Example]) -> None:
    first, said = frames(tmp_path)
    assert said == [f"rendering {COUNT} frames to replay"]
    again, silence = frames(tmp_path)
    assert silence == []
    assert same(first, drawn)
    assert same(again, drawn)
    fewer, silence = frames(tmp_path, count=5)
    assert silence == []
    assert same(fewer, drawn[:5])


@pytest.mark.parametrize("damage", ["cut", "empty", "a bit", "another file", "a picture's bytes"])
def test_a_damaged_shard_is_drawn_again(tmp_path: Path, drawn: list[Example], damage: str) -> None:
    frames(tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    data = bytearray(file.read_bytes())
    at = data.index(b"\x89PNG") + 300
    data[at] ^= 1
    held = {"cut": bytes(data[:-900]), "empty": b"", "a bit": bytes(data), "another file": b"hello" * 99}
    if damage == "a picture's bytes":
        with np.load(file) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        values["pictures"] = values["pictures"][: len(values["pictures"]) // 2]
        np.savez(file, allow_pickle=False, **values)
    else:
        file.write_bytes(held[damage])
    again, said = frames(tmp_path)
    assert said == [f"rendering {COUNT} frames to replay"]
    assert same(again, drawn)
    assert frames(tmp_path)[1] == []


def test_another_seed_layout_or_list_of_objects_is_drawn_for_itself(tmp_path: Path) -> None:
    larger = replace(DRAWING.layout, preprocessing=Preprocessing(144))
    keys = {
        drawing.key()
        for drawing in (
            DRAWING,
            replace(DRAWING, seed=8),
            replace(DRAWING, layout=larger),
            replace(DRAWING, objects=walks.KNOWN[:3]),
            replace(DRAWING, walks_share=0.5),
        )
    }
    assert len(keys) == 5


def test_the_two_layouts_used_last_are_kept(tmp_path: Path) -> None:
    others = [replace(DRAWING, seed=seed) for seed in (1, 2)]
    for number, drawing in enumerate([*others, DRAWING]):
        frames(tmp_path, drawing=drawing, count=2)
        os.utime(tmp_path / drawing.key(), (number, number))
    frames(tmp_path, drawing=others[1], count=2)
    assert {folder.name for folder in tmp_path.iterdir()} == {DRAWING.key(), others[1].key()}


def test_a_disk_without_room_keeps_nothing_and_draws_all_the_same(
    tmp_path: Path, drawn: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayed, "ROOM", 1e12)
    found, said = frames(tmp_path / "cache")
    assert same(found, drawn)
    assert "no room to keep them" in said[0]
    assert not (tmp_path / "cache").exists()


DRAW = """
import sys
from pathlib import Path
from server.learn import replayed
from tests.server.learn.test_replayed import DRAWING
replayed.FRAMES = 4
if __name__ == "__main__":
    replayed.frames(Path(sys.argv[1]), DRAWING, 4000, progress=lambda text: print(text, flush=True))
"""


@pytest.mark.slow
@pytest.mark.soak
def test_a_kill_while_two_processes_draw_leaves_only_whole_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayed, "FRAMES", 4)
    script = tmp_path / "draw.py"
    script.write_text(DRAW)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, script, tmp_path / "cache"], env=environment) as drawing:
        deadline = time.monotonic() + 600
        while len(list(tmp_path.rglob("*.npz"))) < 3 and time.monotonic() < deadline:
            assert drawing.poll() is None
            threading.Event().wait(0.05)
        drawing.send_signal(signal.SIGKILL)
    kept = sorted(tmp_path.rglob("*.npz"))
    assert kept
    expected = DRAWING.shard(0, 4)
    found = replayed.read(kept[0].parent, 0, 4)
    assert found is not None
    assert same(found, expected)
    for file in kept:
        assert replayed.read(file.parent, int(file.name[:4]), 4) is not None
