"""`waycue-server export` on a real home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server import config
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment


@pytest.fixture
def filled(house: House) -> House:
    """Four moments: 0 confirmed with a clip, 1 confirmed as silence, 2 waiting, 3 rejected."""
    for n in range(4):
        house.send(moment(n, with_clip=n == 0, raw_output="Caution, pole ahead."))
    for n, action, text in ((0, "edit", "Stop, curb ahead."), (1, "nothing", ""), (3, "reject", "")):
        decisions.review(
            house.store, house.dataset, f"pi-1-b00t-{n:06d}", ReviewDecision(action, "Ben", text), now_s=1.0
        )
    return house


@pytest.mark.parametrize(
    ("name", "rows", "files"),
    [
        ("jsonl", 2, ["metadata.jsonl", "frames/walk-1_chunk0000.jpg", "audio/walk-1_chunk0001.wav"]),
        ("imagefolder", 2, ["train/metadata.jsonl", "train/walk-1_chunk0001.jpg"]),
        ("conversations", 2, ["conversations.json", "videos/walk-1_chunk0000.mp4", "frames/walk-1_chunk0001.jpg"]),
        ("vsr", 1, ["vsr.jsonl", "videos/walk-1_chunk0000.mp4"]),
        ("correction", 2, ["corrections.jsonl"]),
        ("audiofolder", 2, ["train/metadata.jsonl", "train/walk-1_chunk0000.wav", "train/frames/walk-1_chunk0001.jpg"]),
        ("parquet", 2, ["data/train-00000-of-00001.parquet"]),
        ("webdataset", 2, ["data/train-00000.tar"]),
        ("lerobot", 1, ["meta/info.json", "meta/tasks.parquet"]),
        ("coco", 2, ["captions.json", "images/walk-1_chunk0000.jpg"]),
    ],
)
def test_each_format_is_written(name: str, rows: int, files: list[str], filled: House, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = server(filled.home, "export", "--format", name, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{rows} rows in {out}" in done.stdout
    assert "Left out: 1 (not reviewed yet)" in done.stderr
    assert "Left out: 1 (rejected)" in done.stderr
    assert "For your own use only: 2 of 2 moments" in done.stderr
    assert "Not to be handed on" in (out / "README.md").read_text(encoding="utf-8")
    assert [file for file in files if not (out / file).is_file()] == []


def test_vsr_measures_the_clip(filled: House, tmp_path: Path) -> None:
    server(filled.home, "export", "--format", "vsr", "--out", tmp_path / "out")
    line = json.loads((tmp_path / "out" / "vsr.jsonl").read_text(encoding="utf-8"))
    assert line == {"video": "videos/walk-1_chunk0000.mp4", "text": "Stop, curb ahead.", "duration": 2.0, "fps": 10}


def test_all_takes_proposals_along(filled: House, tmp_path: Path) -> None:
    done = server(filled.home, "export", "--format", "jsonl", "--out", tmp_path / "out", "--only", "all", "--link")
    assert "3 rows" in done.stdout
    assert (tmp_path / "out" / "frames" / "walk-1_chunk0002.jpg").is_symlink()


def test_a_card_counts_what_was_written(filled: House, tmp_path: Path) -> None:
    for row in filled.dataset.rows():
        if row.sample_id.endswith("1"):
            (filled.dataset.folder / row.frame_path).unlink()
    server(filled.home, "export", "--format", "parquet", "--out", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| all | 1 |" in card
    assert "data/train-*.parquet" in card


def test_an_earlier_export_is_replaced_only_with_force(filled: House, tmp_path: Path) -> None:
    arguments = ("export", "--format", "correction", "--out", tmp_path / "out")
    assert server(filled.home, *arguments).returncode == 0
    second = server(filled.home, *arguments)
    assert second.returncode == 1
    assert "--force" in second.stderr
    assert server(filled.home, *arguments, "--force").returncode == 0


def test_only_moments_whose_wearers_agreed_are_written_for_others(house: House, tmp_path: Path) -> None:
    wearers = (("Ada", "own-device"), ("Ben", "share"), ("Cleo", "own-device"), ("", "own-device"))
    for n, (wearer, consent) in enumerate(wearers):
        house.send(moment(n, seed=n, wearer=wearer, consent=consent))
        edit = ReviewDecision("edit", "Ben", "Stop, curb ahead.")
        decisions.review(house.store, house.dataset, f"pi-1-b00t-{n:06d}", edit, now_s=1.0)
    settings = '[export]\nagreed = "Cleo, Dan"\nlicence = "cc-by-4.0"\n'
    (house.home / config.FILE).write_text(settings, encoding="utf-8")
    arguments = ("export", "--format", "jsonl", "--for", "others", "--out")
    done = server(house.home, *arguments, tmp_path / "out")
    assert "Left out: 2 (its wearer has not agreed that it leaves this server)" in done.stderr
    assert "For your own use" not in done.stderr
    names = sorted(path.stem for path in (tmp_path / "out" / "frames").iterdir())
    assert names == ["walk-1_chunk0001", "walk-1_chunk0002"]
    written = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert 'license: "cc-by-4.0"' in written
    assert "Every wearer agreed" in written
    (house.home / config.FILE).write_text("", encoding="utf-8")
    assert "1 rows in" in server(house.home, *arguments, tmp_path / "later").stdout  # an agreement that was taken back


def test_nothing_to_export_writes_nothing(house: House, tmp_path: Path) -> None:
    house.send(moment(0))
    done = server(house.home, "export", "--format", "jsonl", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "nothing to export" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_dataset_itself_is_no_place_for_an_export(filled: House) -> None:
    done = server(filled.home, "export", "--format", "jsonl", "--out", filled.home / "dataset" / "out")
    assert done.returncode == 1
    assert "may not lie in the dataset" in done.stderr


def test_fine_grained_labels_are_converted_with_a_fixed_draw(tmp_path: Path) -> None:
    labels = []
    for n in range(6):
        (tmp_path / "squat").mkdir(exist_ok=True)
        (tmp_path / "squat" / f"{n}.mp4").write_bytes(b"film")
        labels.append({"video_path": f"squat/{n}.mp4", "labels_descriptive": f"Label {n}."})
    (tmp_path / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    chosen = []
    for name in ("one", "two"):
        done = server(
            None,
            "export",
            "--format",
            "conversations",
            "--labels",
            tmp_path / "labels.json",
            "--per-object",
            4,
            "--out",
            tmp_path / name,
            "--user",
            "Correct this {context}.",
        )
        assert done.returncode == 0, done.stderr
        assert "Left out: 2 (more than 4 of one class)" in done.stderr
        chosen.append(json.loads((tmp_path / name / "conversations.json").read_text(encoding="utf-8")))
    assert chosen[0] == chosen[1]
    assert chosen[0][0]["conversations"][1]["content"] == "<video>\nCorrect this squat."
    assert all((tmp_path / "one" / entry["video"]).is_file() for entry in chosen[0])


def test_labels_are_for_conversations_only(tmp_path: Path) -> None:
    done = server(None, "export", "--format", "vsr", "--labels", tmp_path / "x.json", "--out", tmp_path / "out")
    assert done.returncode == 2
