"""The labelled folder keeps its answers whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.labelling import folder as label
from server.labelling.footage import Chunk
from shared.errors import DatasetError, Refused

CHUNK = Chunk(b"\xff\xd8\xff picture", b"RIFF sound")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "to the shop.mp4"
    path.write_bytes(b"film")
    return path


def written(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def test_an_answer_is_a_line_with_the_three_fields_and_the_one_that_finds_the_picture(
    tmp_path: Path, video: Path
) -> None:
    root = tmp_path / "dataset"
    with label.opened(root) as folder:
        name = folder.name_of(video)
        folder.show(name, 3, CHUNK)
        folder.save(name, 3, "Stop, curb ahead.")
    assert written(root) == [
        {
            "frame_path": "frames/to-the-shop_chunk0003.jpg",
            "audio_path": "audio/to-the-shop_chunk0003.wav",
            "instruction": "Stop, curb ahead.",
            "file_name": "frames/to-the-shop_chunk0003.jpg",
        }
    ]
    assert (root / written(root)[0]["frame_path"]).read_bytes() == CHUNK.jpeg
    assert (root / written(root)[0]["audio_path"]).read_bytes() == CHUNK.wav


Answer = tuple[int, str]


@settings(max_examples=40, deadline=None)
@given(answers=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["skip", "Stop, curb ahead.", "é ✓"]))))
def test_the_newest_answer_of_each_chunk_is_there_after_a_restart(
    answers: list[Answer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("label") / "dataset"
    for number, answer in answers:
        with label.opened(root) as folder:
            folder.show("walk", number, CHUNK)
            if answer == "skip":
                folder.skip("walk", number)
            else:
                folder.save("walk", number, answer)
    with label.opened(root) as folder:
        newest = dict(answers)
        assert {n: folder.answer("walk", n) for n in range(5)} == {n: newest.get(n) for n in range(5)}
        for number in range(5):
            there = [path.exists() for path in folder.files("walk", number)]
            assert there == [newest.get(number, "skip") != "skip"] * 2
    stems = [Path(item.frame).stem for item in label.labelled(root)] if (root / "metadata.jsonl").exists() else []
    assert len(stems) == len(set(stems))


def test_a_torn_last_line_is_dropped_and_asked_again(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    with label.opened(root) as folder:
        for number in (0, 1):
            folder.show("walk", number, CHUNK)
            folder.save("walk", number, "Stop, curb ahead.")
    with open(root / "metadata.jsonl", "r+b") as file:
        file.truncate((root / "metadata.jsonl").stat().st_size - 10)
    with label.opened(root) as folder:
        assert folder.answer("walk", 0) == "Stop, curb ahead."
        assert folder.answer("walk", 1) is None
        folder.save("walk", 1, "Caution, pole ahead.")
    assert [line["instruction"] for line in written(root)] == ["Stop, curb ahead.", "Caution, pole ahead."]


def test_two_videos_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for folder_name in ("monday", "tuesday"):
        (tmp_path / folder_name).mkdir()
        (tmp_path / folder_name / "walk.mp4").write_bytes(folder_name.encode())
    with label.opened(tmp_path / "dataset") as folder:
        monday = folder.name_of(tmp_path / "monday" / "walk.mp4")
        tuesday = folder.name_of(tmp_path / "tuesday" / "walk.mp4")
    assert monday == "walk"
    assert tuesday.startswith("walk-")
    with label.opened(tmp_path / "dataset") as folder:
        assert folder.name_of(tmp_path / "monday" / "walk.mp4") == monday
        assert folder.name_of(tmp_path / "tuesday" / "walk.mp4") == tuesday


def test_other_lines_stay_as_they_are_when_an_answer_changes(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    root.mkdir()
    foreign = (
        '{"frame_path": "dataset/frames/a_chunk0000.jpg",  "audio_path": "x.wav", "instruction": "Hi", "by": "Ada"}\n'
    )
    (root / "metadata.jsonl").write_text(foreign, encoding="utf-8")
    with label.opened(root) as folder:
        folder.show("b", 0, CHUNK)
        folder.save("b", 0, "Stop, curb ahead.")
        folder.save("b", 0, "Caution, pole ahead.")
    text = (root / "metadata.jsonl").read_text(encoding="utf-8")
    assert text.startswith(foreign)
    assert written(root)[1]["instruction"] == "Caution, pole ahead."


def test_only_one_person_labels_a_folder_at_a_time(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    with label.opened(root), pytest.raises(Refused, match="Somebody else"), label.opened(root):
        pass


def test_a_line_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff")
    line = {"frame_path": "../secret.jpg", "audio_path": "../secret.jpg", "instruction": "x"}
    (root / "metadata.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="lies elsewhere"):
        label.labelled(root)


@pytest.mark.parametrize("name", ["x" * 5000, "a\\u0000b"])
def test_a_name_that_no_file_can_have_is_a_missing_file(name: str, tmp_path: Path) -> None:
    line = f'{{"frame_path": "{name}", "audio_path": "a", "instruction": "b"}}'
    (tmp_path / "metadata.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="lies elsewhere"):
        label.labelled(tmp_path)


@pytest.mark.parametrize(
    "line", ["[" * 3000, "{", "[]", '{"frame_path": 3, "audio_path": "a", "instruction": "b"}', "{}"]
)
def test_a_line_that_can_not_be_read_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"metadata.jsonl, line 1"):
        label.labelled(tmp_path)


def test_a_folder_whose_lines_begin_with_its_own_name_is_understood(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    with label.opened(root) as folder:
        folder.show("walk", 7, CHUNK)
    line = {
        "frame_path": "dataset/frames/walk_chunk0007.jpg",
        "audio_path": "dataset/audio/walk_chunk0007.wav",
        "instruction": "Stop, curb ahead.",
    }
    (root / "metadata.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (found,) = label.labelled(root)
    assert (found.video, found.number, found.frame) == ("walk", 7, root.resolve() / "frames" / "walk_chunk0007.jpg")
    with label.opened(root) as folder:
        assert folder.answer("walk", 7) == "Stop, curb ahead."


def test_a_video_list_that_can_not_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "videos.json").write_text("{]", encoding="utf-8")
    with pytest.raises(DatasetError, match="delete it"), label.opened(tmp_path):
        pass
