"""Each example of the documents that waycue grew from, as its counterpart here (docs/seeds.md).

The documents are not part of the project; their examples are written anew, in the order in which they stand there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import datasets
import pytest

from exporters.datasets import avi
from server import config
from server.commands.finetune import BASE
from server.dataset import rules
from server.labelling import conditions
from server.learn.presets import PRESETS
from shared import vocabulary
from tests.device.capture.films import make
from tests.server.commands.terminal import Done, server
from tests.server.dataset.moments import House, clip, moment, picture, sound

CURB = "Stop, curb ahead."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    config.init(house.home)
    yield house
    house.close()


def done(*arguments: object, home: Path | None = None, typed: str = "") -> Done:
    """A command that ends well."""
    ended = server(home, *arguments, typed=typed)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---- a dataset for fine-tuning


@pytest.mark.parametrize(
    ("things", "scenario"),
    [
        (("people", "poles", "trash cans", "benches", "open car doors", "low-hanging branches"), "obstacles"),
        (("curbs", "stairs going up", "stairs going down", "puddles", "uneven pavement", "moving vehicles"), "hazards"),
        (("turn left at the corner", "turn right at the corner", "follow the path", "stop at the door"), "navigation"),
    ],
)
def test_everything_that_is_to_be_recorded_has_words_and_the_plan_a_place_for_it(
    things: tuple[str, ...], scenario: str
) -> None:
    assert [thing for thing in things if vocabulary.normalise(thing) is None] == []
    assert scenario in conditions.CHOICES["scenario"]


@pytest.mark.parametrize(
    "where",
    [
        "hallway, stairs, elevator, doorway, office, room",
        "sidewalk, crossing with signal, crossing without signal, park, parking lot, entrance",
        "day, night, low light, mixed light",
        "clear, rainy, cloudy",
    ],
)
def test_every_surrounding_can_be_said(where: str) -> None:
    for word in where.split(", "):
        assert conditions.named(word)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (CURB, True),
        ("There is a curb in front of you.", False),
        ("Turn right at the corner.", True),
        ("Okay, now you should get ready to make a right turn at the upcoming corner.", False),
        ("Stop, car approaching from left.", True),
        ("Caution, stairs going down.", True),
        ("Stop, obstacle ahead.", True),
        ("Continue straight, path is clear.", True),
        ("Stop, ledge ahead.", False),
        ("Stop, edge ahead.", False),
    ],
)
def test_good_instructions_keep_every_rule_and_bad_ones_are_explained(text: str, kept: bool) -> None:
    assert all(check.kept for check in rules.checks(text)) == kept
    checked = json.loads(server(None, "vocabulary", "check", text, "--json").stdout)
    assert checked["as_written"] == kept
    if not kept and "dge" in text:
        assert checked["taught_as"] == CURB


def test_the_script_shows_each_two_seconds_and_writes_the_folder(tmp_path: Path) -> None:
    film, root = make(tmp_path / "video1.mp4", seconds=6.0), tmp_path / "dataset"
    typed = f"{film}\nContinue straight, path is clear.\nskip\nStop, obstacle ahead.\n"
    said = done("label", "--dataset", root, typed=typed).stdout
    assert "Enter the path to the video file you want to label: " in said
    assert "Enter instruction (or skip" in said
    assert f"Showing frame: {root / 'frames' / 'video1_chunk0000.jpg'}" in said
    first, second = lines(root / "metadata.jsonl")
    assert {name: first[name] for name in ("frame_path", "audio_path", "instruction")} == {
        "frame_path": "frames/video1_chunk0000.jpg",
        "audio_path": "audio/video1_chunk0000.wav",
        "instruction": "Continue straight, path is clear.",
    }
    assert second["instruction"] == "Stop, obstacle ahead."
    kept = {path.stem for folder in ("frames", "audio") for path in (root / folder).iterdir()}
    assert kept == {"video1_chunk0000", "video1_chunk0002"}, "skipped ones leave no file"
    loaded = datasets.load_dataset(str(root), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["instruction"][:] == [first["instruction"], second["instruction"]]
    assert loaded[0]["image"].size == (320, 240)


@pytest.mark.parametrize("prefix", ["", "dataset/"])
def test_a_folder_as_the_seeds_own_script_writes_it_teaches(house: House, tmp_path: Path, prefix: str) -> None:
    root = tmp_path / "dataset"
    said = ["Continue straight, path is clear.", "Stop, obstacle ahead."]
    written = []
    for n, instruction in enumerate(said):
        (root / "frames").mkdir(parents=True, exist_ok=True)
        (root / "audio").mkdir(exist_ok=True)
        frame, audio = f"frames/video1_chunk{n:03d}.jpg", f"audio/video1_chunk{n:03d}.wav"
        (root / frame).write_bytes(picture(n))
        (root / audio).write_bytes(sound(n))
        written.append({"frame_path": prefix + frame, "audio_path": prefix + audio, "instruction": instruction})
    (root / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    assert "2 moments brought in" in done("samples", "import", root, home=house.home).stdout
    assert sorted(row.ground_truth for row in house.dataset.rows() if row.reviewed) == ["", "Stop, obstacle ahead."]
    out = tmp_path / "out"
    done("export", "--format", "jsonl", "--out", out, home=house.home)
    assert sorted(line["instruction"] for line in lines(out / "metadata.jsonl")) == said
    loaded = datasets.load_dataset("json", data_files=str(root / "metadata.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].column_names == ["frame_path", "audio_path", "instruction"]


# ---- a collection of training data


SAMPLE = {
    "id": "7b0c4f0e-1111-4222-8333-444455556666",
    "video_path": "training_data/videos/training_1765076400000.avi",
    "raw_output": "CAUTION POLE AHEAD",
    "llm_correction": "Caution, pole ahead.",
    "ground_truth": "Caution, pole on the left.",
    "timestamp": 1765076400.0,
    "was_correct": False,
    "metadata": {"speaker": "user_1", "context": "on the way to the shop"},
}


def collection(folder: Path, *samples: dict[str, Any]) -> Path:
    root = folder / "training_data"
    (root / "videos").mkdir(parents=True)
    frame, film = folder / "frame.jpg", folder / "clip.mp4"
    frame.write_bytes(picture(3))
    film.write_bytes(clip(3))
    avi.write(root / "videos" / "training_1765076400000.avi", frame=frame, audio=None, clip=film)
    (root / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return root


def test_a_sample_comes_in_is_a_moment_with_all_its_texts_and_leaves_as_it_came(house: House, tmp_path: Path) -> None:
    done("samples", "import", collection(tmp_path / "in", SAMPLE), "--as", "user_1", home=house.home)
    [row] = house.dataset.rows()
    assert (row.raw_output, row.ground_truth, row.was_correct) == (SAMPLE["raw_output"], SAMPLE["ground_truth"], False)
    assert (row.speaker_id, row.context, row.timestamp) == ("user_1", "on the way to the shop", 1765076400.0)
    done("export", "--format", "samples", "--out", tmp_path / "out", home=house.home)
    [sample] = lines(tmp_path / "out" / "training_data" / "samples.jsonl")
    assert sample == SAMPLE
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["ground_truth"][:] == [SAMPLE["ground_truth"]], "a reader finds the texts, not the films alone"
    with av.open(str(tmp_path / "out" / sample["video_path"])) as film:
        assert film.format.name == "avi"


def test_the_table_has_the_seeds_columns_and_comes_in_as_the_lines_do(house: House, tmp_path: Path) -> None:
    root = collection(tmp_path / "in")
    (root / "samples.jsonl").unlink()
    with closing(sqlite3.connect(root / "samples.sqlite")) as table, table:
        table.execute(
            "CREATE TABLE training_samples (id INTEGER PRIMARY KEY, video_path TEXT, raw_output TEXT,"
            " llm_correction TEXT, ground_truth TEXT, timestamp REAL, speaker_id TEXT, context TEXT,"
            " was_correct BOOLEAN)"
        )
        values = [SAMPLE[name] for name in ("video_path", "raw_output", "llm_correction", "ground_truth", "timestamp")]
        table.execute("INSERT INTO training_samples VALUES (1, ?, ?, ?, ?, ?, 'user_1', 'shop', 0)", values)
    done("samples", "import", root, home=house.home)
    done("export", "--format", "sqlite", "--out", tmp_path / "out", home=house.home)
    with closing(sqlite3.connect(tmp_path / "out" / "training_data" / "samples.sqlite")) as table:
        names = [row[1] for row in table.execute("PRAGMA table_info(training_samples)")]
        [left] = table.execute("SELECT * FROM training_samples").fetchall()
    assert " ".join(names) == (
        "id video_path raw_output llm_correction ground_truth timestamp speaker_id context was_correct"
    )
    assert left == (1, *values, "user_1", "shop", 0)


def test_what_a_lip_reader_collected_is_no_guidance_and_is_left_out_by_its_line(house: House, tmp_path: Path) -> None:
    books = {"raw_output": "I HAVE READ MANY BOOKS", "ground_truth": "I have read many books about this subject."}
    ended = server(house.home, "samples", "import", collection(tmp_path / "in", {**SAMPLE, **books}))
    assert ended.returncode == 1
    assert "samples.jsonl, line 1" in ended.stdout + ended.stderr
    assert house.dataset.rows() == []


def test_raw_output_and_correction_are_shown_and_the_person_says_y_or_n_and_what_was_right(house: House) -> None:
    house.send_all([moment(n, raw_output="pole ahead", spoken="pole ahead") for n in range(2)])
    said = done("samples", "review", home=house.home, typed="n\nCaution, pole on the left.\ny\ny\n").stdout
    assert "RAW OUTPUT:     pole ahead" in said
    assert "CORRECTION:     Caution, pole ahead." in said
    assert "Was this correct? (y/n" in said
    assert "Enter what should have been said" in said
    assert "✓ Saved: Caution, pole on the left. The device was wrong." in said
    assert "✓ Saved: Caution, pole ahead. The device was right." in said
    assert sorted((row.ground_truth, row.was_correct) for row in house.dataset.rows()) == [
        ("Caution, pole ahead.", True),
        ("Caution, pole on the left.", False),
    ]


def test_the_two_formats_for_fine_tuning_have_their_fields(house: House, tmp_path: Path) -> None:
    house.send(moment(0, with_clip=True, raw_output="Caution, pole ahead.", context="to the shop"))
    done("samples", "review", house.dataset.rows()[0].sample_id, "--edit", CURB, home=house.home)
    done("export", "--format", "vsr", "--out", tmp_path / "vsr", home=house.home)
    [video] = lines(tmp_path / "vsr" / "vsr.jsonl")
    assert (list(video), video["text"], video["fps"]) == (["video", "text", "duration", "fps"], CURB, 10)
    assert video["duration"] == pytest.approx(2.0, abs=0.2)
    assert (tmp_path / "vsr" / video["video"]).is_file()
    done("export", "--format", "correction", "--out", tmp_path / "llm", home=house.home)
    assert lines(tmp_path / "llm" / "corrections.jsonl") == [
        {"input": "Caution, pole ahead.", "output": CURB, "context": "to the shop"}
    ]


def test_patterns_progress_and_contributors_are_told_after_a_few_decisions(house: House) -> None:
    house.send_all([moment(n, raw_output="Caution, pole ahead.", spoken="Caution, pole ahead.") for n in range(3)])
    for row in house.dataset.rows():
        done("samples", "review", row.sample_id, "--edit", CURB, "--as", "user_1", home=house.home)
    told = json.loads(done("stats", "--by", "day", "--json", home=house.home).stdout)
    assert (told["accuracy"]["right"], told["accuracy"]["judged"]) == (0, 3)
    assert [group["all"]["judged"] for group in told["over_time"]] == [3]
    assert told["contributors"][0]["name"] == "user_1"
    assert told["errors"]["patterns"][0]["count"] == 3


# ---- exercise feedback


def test_the_labels_of_exercises_become_the_file_that_the_loader_reads(tmp_path: Path) -> None:
    root, records = tmp_path / "QVED", list[dict[str, Any]]()
    (root / "squats").mkdir(parents=True)
    for n in range(103):
        (root / "squats" / f"{n}.mp4").write_bytes(b"film %d" % n)
        records.append({"video_path": f"squats/{n}.mp4", "labels_descriptive": f"Deeper, {n}.", "labels": ["knees"]})
    (root / "plank.mp4").write_bytes(b"film")
    records.append({"video_path": "plank.mp4", "exercise": "plank", "labels": ["Hips up.", "other"]})
    (root / "fine_grained_labels.json").write_text(json.dumps(records))
    out = tmp_path / "playground" / "data" / "MobileGPT"
    command = ("qved", "convert", root / "fine_grained_labels.json", "--videos", root, "--out", out)
    assert "101 entries of 2 exercises" in done(*command, "--system", "You are a coach.").stdout
    entries = json.loads((out / "qved_train.json").read_text())
    assert sum(entry["exercise"] == "squats" for entry in entries) == 100
    [plank] = [entry for entry in entries if entry["exercise"] == "plank"]
    assert [turn["from"] for turn in plank["conversations"]] == ["human", "gpt"]
    assert "You are a coach." in plank["conversations"][0]["value"]
    assert plank["conversations"][1]["value"] == "Hips up."
    again = tmp_path / "again"
    done(*command[:-1], again, "--system", "You are a coach.", "--seed", 1337, "--per-class", 100)
    assert json.loads((again / "qved_train.json").read_text()) == entries, "these are the defaults"


def test_the_recipe_has_the_seeds_figures() -> None:
    from server.learn.tuning import Tuning  # brings torch along, which no other test of this half collects

    recipe = Tuning.of(PRESETS["qved-stage3"].values)
    assert (recipe.epochs, recipe.rate, recipe.connector_rate, recipe.rank, recipe.alpha) == (8, 1e-4, 2e-5, 64, 128)
    assert (recipe.batch, recipe.accumulate, recipe.max_length) == (8, 2, 2048)
    assert (recipe.precision, recipe.gradient_checkpointing) == ("bf16", True)
    assert recipe.top_k > 1
    assert BASE.startswith("HuggingFaceTB/SmolVLM2-500M")
