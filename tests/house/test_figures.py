"""The figures about the code notice what they are there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import house

PAST = """
frame = self._dataset.folder / row.frame_path
sound = folder / row.audio_path
clip = home / "dataset" / path
"""
THROUGH = """
frame = self._dataset.blobs.local(row.frame_path)
dataset = Dataset(home / "dataset")
other = folder / name
"""


def test_a_path_past_the_blobs_of_a_dataset_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "ROOT", tmp_path)
    (tmp_path / "server" / "gate").mkdir(parents=True)
    (tmp_path / "server" / "a.py").write_text(PAST)
    (tmp_path / "server" / "b.py").write_text(THROUGH)
    (tmp_path / "server" / "gate" / "cases.py").write_text(PAST)
    assert house.past_blobs() == [
        "server/a.py:2 self._dataset.folder / row.frame_path",
        "server/a.py:3 folder / row.audio_path",
        "server/a.py:4 home / 'dataset' / path",
        "server/gate/cases.py:2 self._dataset.folder / row.frame_path",  # of files that were gathered, only theirs
        "server/gate/cases.py:4 home / 'dataset' / path",
    ]
