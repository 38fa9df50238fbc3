"""`waycue-server qved` on real folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.commands.terminal import server
from tests.server.dataset.moments import clip


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Six squats, one plank, a film that is not there and one outside."""
    root, records = tmp_path / "QVED", list[dict[str, Any]]()
    for n in range(6):
        (root / "squats").mkdir(parents=True, exist_ok=True)
        (root / "squats" / f"{n}.mp4").write_bytes(clip(n))
        records.append({"video_path": f"squats/{n}.mp4", "labels_descriptive": f"Deeper, number {n}."})
    (root / "plank.mp4").write_bytes(clip(7))
    records.append({"video_path": "plank.mp4", "exercise": "plank", "labels": ["Hips up.", "other"]})
    records += [{"video_path": name, "labels": ["x"]} for name in ("squats/gone.mp4", "/etc/passwd")]
    file = root / "fine_grained_labels.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return file


def test_a_conversion_draws_after_leaving_out_what_is_missing(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "playground/data/MobileGPT"
    done = server(None, "qved", "convert", labels, "--out", out, "--per-class", 6, "--system", "")
    assert done.returncode == 0, done.stderr
    assert "7 entries of 2 exercises" in done.stdout  # six squats of six: the missing one took no place in the draw
    assert "squats/gone.mp4" in done.stderr
    assert "label 8: /etc/passwd" in done.stderr
    entries = json.loads((out / "qved_train.json").read_text(encoding="utf-8"))
    assert entries[0]["conversations"] == [
        {"from": "human", "value": "<video>\nThe exercise is: squats. What should be corrected?"},
        {"from": "gpt", "value": "Deeper, number 0."},
    ]
    assert entries[6]["conversations"][1]["value"] == "Hips up."
    assert all((out / entry["video"]).read_bytes()[4:8] == b"ftyp" for entry in entries)
    left_out = json.loads((out / ".waycue-export.json").read_text(encoding="utf-8"))["left_out"]
    assert [one["video"] for one in left_out] == ["squats/gone.mp4", "/etc/passwd"]


def test_without_a_folder_it_goes_where_finetune_finds_it(labels: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for force in ([], ["--force"]):
        done = server(home, "qved", "convert", labels, "--per-class", 2, *force)
        assert done.returncode == 0, done.stderr
        assert "Left out: 4 (more than 2 of one exercise)" in done.stderr
    assert len(json.loads((home / "datasets/qved/qved_train.json").read_text(encoding="utf-8"))) == 3
    assert server(home, "qved", "convert", labels).returncode == 1  # nothing is replaced unasked


def test_nothing_is_written_where_nothing_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "fine_grained_labels.json"
    file.write_text('[{"video_path": "gone.mp4", "labels": ["x"]}]', encoding="utf-8")
    done = server(None, "qved", "convert", file, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "nothing to convert" in done.stderr
    assert not (tmp_path / "out").exists()
    assert server(None, "qved", "convert", tmp_path / "no.json", "--out", tmp_path / "out").returncode == 1
