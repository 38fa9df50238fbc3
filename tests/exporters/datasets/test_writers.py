"""Each format, byte for byte where others read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporters.datasets import conversations, fine_labels, formats
from exporters.datasets.conversations import ConversationStyle
from exporters.datasets.folder import building
from shared.errors import DatasetError
from tests.exporters.datasets.rows import row
from tests.server.dataset.moments import clip, picture, sound


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_has_the_three_fields_their_files_and_the_name_that_finds_the_picture(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with building(out) as folder:
        left_out = formats.write_jsonl(
            [row(tmp_path / "media", 0), row(tmp_path / "media", 12, text="Größe ✓")], folder
        )
    assert left_out == {}
    assert lines(out / "metadata.jsonl") == [
        {
            "frame_path": "frames/walk-1_chunk0000.jpg",
            "audio_path": "audio/walk-1_chunk0000.wav",
            "instruction": "Stop, curb ahead.",
            "file_name": "frames/walk-1_chunk0000.jpg",
        },
        {
            "frame_path": "frames/walk-1_chunk0012.jpg",
            "audio_path": "audio/walk-1_chunk0012.wav",
            "instruction": "Größe ✓",
            "file_name": "frames/walk-1_chunk0012.jpg",
        },
    ]
    assert (out / "frames/walk-1_chunk0012.jpg").read_bytes() == picture(12)
    assert (out / "audio/walk-1_chunk0000.wav").read_bytes() == sound(0)


def test_imagefolder_has_a_folder_for_each_split(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [row(tmp_path / "media", 0), row(tmp_path / "media", 1, split="held_out", text="Caution, pole ahead.")]
    with building(out) as folder:
        formats.write_imagefolder(rows, folder)
    for split, n, text in (("train", 0, "Stop, curb ahead."), ("test", 1, "Caution, pole ahead.")):
        named = {"file_name": f"walk-1_chunk{n:04d}.jpg", "audio_path": f"audio/walk-1_chunk{n:04d}.wav"}
        assert lines(out / split / "metadata.jsonl") == [{**named, "text": text}]
    assert (out / "test/walk-1_chunk0001.jpg").read_bytes() == picture(1)


def test_conversations_have_three_turns_about_the_clip_or_else_the_picture(tmp_path: Path) -> None:
    out = tmp_path / "out"
    style = ConversationStyle(system="Guide.", user="Going {context}. What now?")
    rows = [row(tmp_path / "media", 0, with_clip=True), row(tmp_path / "media", 1)]
    with building(out) as folder:
        conversations.write(rows, folder, style=style)
    first, second = json.loads((out / "conversations.json").read_text(encoding="utf-8"))
    assert first == {
        "id": "walk-1_chunk0000",
        "video": "videos/walk-1_chunk0000.mp4",
        "conversations": [
            {"role": "system", "content": "Guide."},
            {"role": "user", "content": "<video>\nGoing to the shop. What now?"},
            {"role": "assistant", "content": "Stop, curb ahead."},
        ],
    }
    assert second["image"] == "frames/walk-1_chunk0001.jpg"
    assert second["conversations"][1]["content"].startswith("<image>\n")
    assert (out / first["video"]).read_bytes() == clip(0)


def test_conversations_in_the_turns_of_llava(tmp_path: Path) -> None:
    made = conversations.entry(row(tmp_path), "v.mp4", style=ConversationStyle(turns="sharegpt"), kind="video")
    assert [turn["from"] for turn in made["conversations"]] == ["system", "human", "gpt"]
    assert made["conversations"][2]["value"] == "Stop, curb ahead."


def test_an_empty_system_turn_is_left_out(tmp_path: Path) -> None:
    made = conversations.entry(row(tmp_path), "v.mp4", style=ConversationStyle(system=""), kind="video")
    assert [turn["role"] for turn in made["conversations"]] == ["user", "assistant"]


def test_vsr_has_the_clip_with_its_length_and_rate(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [
        row(tmp_path / "media", 0, with_clip=True, fps=29.97, duration_s=1.99996),
        row(tmp_path / "media", 1, with_clip=True, fps=10.0),
        row(tmp_path / "media", 2),
    ]
    with building(out) as folder:
        left_out = formats.write_vsr(rows, folder)
    assert left_out == {"no clip": 1}
    assert lines(out / "vsr.jsonl") == [
        {"video": "videos/walk-1_chunk0000.mp4", "text": "Stop, curb ahead.", "duration": 2.0, "fps": 29.97},
        {"video": "videos/walk-1_chunk0001.mp4", "text": "Stop, curb ahead.", "duration": 2.0, "fps": 10},
    ]


def test_correction_pairs_what_was_worded_with_what_was_right(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with building(out) as folder:
        left_out = formats.write_correction([row(tmp_path / "media"), row(tmp_path / "media", 1, raw="")], folder)
    assert lines(out / "corrections.jsonl") == [
        {"input": "Caution, pole ahead.", "output": "Stop, curb ahead.", "context": "to the shop"}
    ]
    assert left_out == {"the model worded nothing": 1}


@pytest.mark.parametrize("kind", ["frame", "audio"])
def test_a_file_missing_on_disk_is_left_out_with_the_reason(kind: str, tmp_path: Path) -> None:
    broken = row(tmp_path / "media")
    getattr(broken, kind).unlink()
    with building(tmp_path / "out") as folder:
        left_out = formats.write_jsonl([broken, row(tmp_path / "media", 1)], folder)
    assert left_out == {f"its {'picture' if kind == 'frame' else 'sound'} is missing on disk": 1}
    assert len(lines(tmp_path / "out" / "metadata.jsonl")) == 1


def test_fine_grained_labels_become_rows(tmp_path: Path) -> None:
    labels = [
        {"video_path": "squat/00.mp4", "labels_descriptive": "Knees go inwards.", "labels": ["knees"]},
        {"video_path": "x/01.mp4", "exercise": "tricep_stretch", "labels": ["Elbow too low.", "other"]},
        {"video_path": "x/02.mp4", "labels_descriptive": ["One.", "Two."]},
        {"video_path": "x/03.mp4", "labels": []},
        {"labels": ["lost"]},
        "nonsense",
    ]
    for path in ("squat/00.mp4", "x/01.mp4", "x/02.mp4", "x/03.mp4"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"film")
    file = tmp_path / "fine_grained_labels.json"
    file.write_text(json.dumps(labels), encoding="utf-8")
    rows, left_out = fine_labels.read(file, videos=tmp_path)
    assert [(one.context, one.text) for one in rows] == [
        ("squat", "Knees go inwards."),
        ("tricep stretch", "Elbow too low."),
        ("x", "One.\nTwo."),
    ]
    assert rows[0].clip == tmp_path / "squat/00.mp4"
    assert left_out == {"no label": 1, "no video_path": 2}


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.mp4", "link.mp4", "dir/link.mp4", ".", "a\0b", "gone.mp4"])
def test_a_video_outside_of_the_videos_folder_is_never_read(path: str, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (videos / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (videos / "dir").symlink_to(tmp_path)
    (tmp_path / "link.mp4").write_bytes(b"secret")
    file = tmp_path / "labels.json"
    file.write_text(json.dumps([{"video_path": path, "labels": ["x"]}]), encoding="utf-8")
    rows, left_out = fine_labels.read(file, videos=videos)
    assert rows == []
    (reason,) = left_out
    assert reason.startswith(f"{file}, entry 1: ")


@pytest.mark.parametrize("text", ["{", '{"a": 1}'])
def test_a_file_that_is_no_list_of_labels_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"labels\.json"):
        fine_labels.read(tmp_path / "labels.json", videos=tmp_path)
