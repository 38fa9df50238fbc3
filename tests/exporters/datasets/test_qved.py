"""QVED's labels become what Mobile-VideoGPT's loader reads; what cannot be used is named, and nothing else is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporters.datasets import qved
from exporters.datasets.folder import building
from exporters.datasets.qved import LeftOut, Video, Wording
from shared.errors import DatasetError


def labels(root: Path, records: list[Any]) -> Path:
    """The file of labels; the videos that records name inside the root are made."""
    file = root.parent / "fine_grained_labels.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return file


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(f"film {name}".encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "QVED_root"
    folder.mkdir()
    return folder


def test_the_rules_of_names_and_labels(root: Path) -> None:
    put(root, "squats/1.mp4", "jumping_jacks/2.mp4", "3.mp4", "x/4.mp4", "x/5.mp4")
    records = [
        {"video_path": "squats/1.mp4", "labels_descriptive": "Knees go inwards.", "labels": ["knees"]},
        {"video_path": "./jumping_jacks/2.mp4", "labels": ["Arms too low.", "other"]},
        {"video_path": "3.mp4", "labels": "One label alone."},
        {"video_path": "x/4.mp4", "exercise": "tricep_stretch", "labels_descriptive": ["One.", "Two."]},
        {"video_path": str(root / "x/5.mp4"), "metadata": {"exercise": "plank"}, "labels": ["Hips."]},
    ]
    taken, left_out = qved.read(labels(root, records), videos=root)
    assert left_out == []
    assert [(video.exercise, video.text, video.inside) for video in taken] == [
        ("squats", "Knees go inwards.", "squats/1.mp4"),
        ("jumping jacks", "Arms too low.", "jumping_jacks/2.mp4"),
        ("unknown", "One label alone.", "3.mp4"),
        ("tricep stretch", "One.\nTwo.", "x/4.mp4"),
        ("plank", "Hips.", "x/5.mp4"),
    ]


def test_a_path_may_start_from_the_folder_that_one_is_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "squats/1.mp4")
    monkeypatch.chdir(root.parent)
    file = labels(root, [{"video_path": "QVED_root/squats/1.mp4", "labels": ["Deeper."]}])
    [video], _ = qved.read(file, videos=Path("QVED_root"))
    assert (video.inside, video.exercise) == ("squats/1.mp4", "squats")


def test_nothing_outside_the_video_root_is_read(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.mp4"
    outside.write_bytes(b"secret")
    put(root, "real.mp4")
    (root / "link.mp4").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    (root / "alias.mp4").symlink_to(root / "real.mp4")
    names = ["../secret.mp4", str(outside), "link.mp4", "folder/secret.mp4", "/etc/passwd", "a/../../secret.mp4"]
    file = labels(root, [{"video_path": name, "labels": ["x"]} for name in [*names, "alias.mp4"]])
    taken, left_out = qved.read(file, videos=root)
    assert [video.inside for video in taken] == ["real.mp4"]
    assert left_out == [LeftOut(n, name, "its video lies outside the video root") for n, name in enumerate(names)]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"labels": ["lost"]}, "no video_path"),
        ("nonsense", "no video_path"),
        ({"video_path": 7, "labels": ["x"]}, "no video_path"),
        ({"video_path": "a.mp4", "labels": []}, "no label"),
        ({"video_path": "a.mp4", "labels_descriptive": "  "}, "no label"),
        ({"video_path": "a.mp4", "labels": ["\ud800"]}, "no label"),
        ({"video_path": "gone.mp4", "labels": ["x"]}, "its video is missing on disk"),
        ({"video_path": "folder", "labels": ["x"]}, "its video is missing on disk"),
        ({"video_path": "nul\0.mp4", "labels": ["x"]}, "its video is missing on disk"),
        ({"video_path": "n" * 5000, "labels": ["x"]}, "its video is missing on disk"),
    ],
)
def test_what_cannot_be_used_is_named(record: Any, reason: str, root: Path) -> None:
    put(root, "a.mp4", "folder/b.mp4")
    taken, [left] = qved.read(labels(root, [record]), videos=root)
    assert (taken, left.number, left.reason) == ([], 0, reason)


@pytest.mark.parametrize("content", ["{}", "not json", "\xff", ""])
def test_a_file_that_is_no_list_of_labels_is_said_so(content: str, root: Path) -> None:
    file = root / "labels.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(DatasetError, match=r"labels\.json is not .*fine_grained_labels\.json"):
        qved.read(file, videos=root)


def some(count: int, exercise: str = "squats") -> list[Video]:
    return [Video(n, Path(f"/v/{exercise}/{n}.mp4"), f"{exercise}/{n}.mp4", exercise, "x") for n in range(count)]


def test_a_draw_is_the_same_every_time_and_another_with_another_seed() -> None:
    kept, beyond = qved.draw([*some(130), *some(3, "plank")])
    assert len([video for video in kept if video.exercise == "squats"]) == qved.PER_CLASS == 100
    assert len([video for video in kept if video.exercise == "plank"]) == 3
    assert [left.reason for left in beyond] == ["more than 100 of one exercise"] * 30
    assert {v.inside for v in kept if v.exercise == "squats"} == {v.inside for v in qved.draw(some(130)[::-1])[0]}
    assert qved.draw(some(130), seed=1)[0] != qved.draw(some(130))[0]
    assert qved.draw(some(130), most=0) == (some(130), [])


def test_a_video_with_two_labels_counts_once(root: Path) -> None:
    twice = [*some(2), *some(2)]
    assert len(qved.draw(twice, most=1)[0]) == 2


def loaded(entries: list[dict[str, Any]], data: Path) -> list[tuple[bytes, list[str]]]:
    """What Mobile-VideoGPT's loader makes of a file: its steps up to the tokenizer, with what it would fail on."""
    out = []
    for made in entries:
        roles, source = {"human": "user", "gpt": "assistant"}, made["conversations"]
        if roles[source[0]["from"]] != "user":
            source = source[1:]
        sum(len(turn["value"].split()) for turn in made["conversations"])  # its lengths by modality
        texts = []
        for turn in source:
            value = turn["value"]
            if "<image>" in value or "<video>" in value:
                value = "<image>\n" + value.replace("<image>", "").replace("<video>", "").strip()
            texts.append(f"{roles.get(turn['from'], turn['from'])}: {value}")
        out.append(((data / made["video"]).read_bytes(), texts))
    return out


def test_the_loader_of_mobile_videogpt_reads_it(root: Path, tmp_path: Path) -> None:
    put(root, "squats/1.mp4")
    taken, _ = qved.read(labels(root, [{"video_path": "squats/1.mp4", "labels": ["Deeper."]}]), videos=root)
    out = tmp_path / "playground/data/MobileGPT"
    with building(out) as folder:
        assert qved.write(taken, folder, wording=Wording(system="Coach.", user="Look at the {exercise}.")) == 1
    entries = json.loads((out / "qved_train.json").read_text(encoding="utf-8"))
    assert loaded(entries, out) == [
        (b"film squats/1.mp4", ["user: <image>\nCoach.\nLook at the squats.", "assistant: Deeper."])
    ]
    assert entries[0]["split"] == "train"


def test_the_system_prompt_may_be_a_turn_of_its_own() -> None:
    [video] = some(1)
    made = qved.entry(video, "v.mp4", wording=Wording(system="Coach.", turns="sharegpt"))
    assert [turn["from"] for turn in made["conversations"]] == ["system", "human", "gpt"]
    with pytest.raises(KeyError, match="system"):
        loaded([made], Path())
    chat = qved.entry(video, "v.mp4", wording=Wording(system="Coach.", turns="chat"))["conversations"]
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant"]
    assert chat[1]["content"].startswith("<video>\n")
    none = qved.entry(video, "v.mp4", wording=Wording(system="", turns="sharegpt"))["conversations"]
    assert [turn["from"] for turn in none] == ["human", "gpt"]


def test_a_video_with_two_labels_is_placed_once(root: Path, tmp_path: Path) -> None:
    put(root, "squats/1.mp4")
    records = [{"video_path": "squats/1.mp4", "labels": [text]} for text in ("One.", "Two.")]
    taken, _ = qved.read(labels(root, records), videos=root)
    with building(tmp_path / "out") as folder:
        assert qved.write(taken, folder) == 2
    assert [path.name for path in (tmp_path / "out/videos").rglob("*.mp4")] == ["1.mp4"]
