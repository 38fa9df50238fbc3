"""`waycue-server try`: adapters, checkpoints and bundles answer to videos and pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from server.commands.trying import BASE_ANSWERS
from server.learn import bases, lora
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.walks import plan_walk, write_video
from shared.jpeg import encode_jpeg
from tests.server.commands.terminal import Done, server
from tests.server.learn.parts import examples, flat, save_field_checkpoint

RECIPE = Recipe(rank=4, steps=12, batch=4, rate=2e-2, head_rate=1e-2, replay=0, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an adapter of it in `night/adapter`, a film of 5 s and a picture. Read only."""
    folder = tmp_path_factory.mktemp("try")
    base = bases.load_base(LearnSettings(base=str(save_field_checkpoint(folder / "small"))), folder)
    lora.train(base, examples(4, base), [], RECIPE, folder / "night")
    write_video(plan_walk(5, duration_s=5.0), folder / "walk.mp4", fps=10, width_px=160, height_px=120)
    (folder / "still.jpg").write_bytes(encode_jpeg(flat(1)))
    return folder


def asked(folder: Path, model: object, *more: object) -> tuple[dict[str, Any], Done]:
    done = server(folder / "home", "try", model, *more, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done


def test_an_adapter_answers_to_each_chunk_of_a_video_and_to_a_picture(folder: Path) -> None:
    adapter = folder / "night" / "adapter"
    told, _ = asked(folder, adapter, folder / "walk.mp4", folder / "still.jpg")
    about = {"version": "small", "base": "small", "kind": "adapter", "calibrated": False}
    assert told["model"] == {"model": str(adapter), **about}
    answers = told["answers"]
    assert [each.get("start_s") for each in answers] == [0.0, 2.0, 4.0, None]
    assert Path(answers[-1]["path"]).name == "still.jpg"
    assert all(0 <= each["confidence"] <= 1 for each in answers)
    base, _ = asked(folder, folder / "small", folder / "still.jpg")
    assert base["model"]["kind"] == "checkpoint"
    assert base["answers"][0]["confidence"] != answers[-1]["confidence"], "the adapter changes what is answered"


def test_without_an_adapter_the_base_answers_and_says_so(folder: Path) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    for name in ("missing", "empty"):
        told, done = asked(folder, folder / name, folder / "still.jpg", "--base", folder / "small")
        assert f"No adapter at {folder / name}: {BASE_ANSWERS}" in done.stderr
        assert told["model"]["kind"] == "base"
        assert told["answers"] == asked(folder, folder / "small", folder / "still.jpg")[0]["answers"]


def test_the_base_that_answers_is_the_one_of_the_settings(folder: Path, tmp_path: Path) -> None:
    assert server(tmp_path / "home", "init").returncode == 0
    settings = tmp_path / "home" / "waycue.toml"
    settings.write_text(f'[learn]\nbase = "{folder / "small"}"\n')
    told, _ = asked(tmp_path, "n7-00000000", folder / "still.jpg")
    assert (told["model"]["kind"], told["model"]["version"]) == ("base", "small")


def test_a_registered_version_and_its_folder_answer_as_a_device_does(folder: Path, starter_home: Path) -> None:
    version = next((starter_home / "models").glob("*/bundle")).parent.name
    told = []
    for model in (version, starter_home / "models" / version, starter_home / "models" / version / "bundle"):
        done = server(starter_home, "try", model, folder / "walk.mp4", "--threads", 1, "--json")
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    assert told[0]["answers"] == told[1]["answers"] == told[2]["answers"]
    about = {"version": version, "base": version, "kind": "bundle", "calibrated": True}
    assert told[0]["model"] == {"model": version, **about}
    assert all(each["sayable"] for each in told[0]["answers"])
    assert any(each["hazards"] for each in told[0]["answers"])


def test_with_out_the_film_and_the_picture_carry_the_answers(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "walk.mp4", tmp_path / "still.mp4")
    twice = (tmp_path / "still.mp4", folder / "still.jpg", folder / "still.jpg")
    told, _ = asked(folder, folder / "night" / "adapter", *twice, "--out", tmp_path / "out")
    names = ["still.captioned-2.jpg", "still.captioned.jpg", "still.captioned.mp4"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    assert len(told["answers"]) == 5
    picture = cv2.imread(str(tmp_path / "out" / "still.captioned.jpg"))
    assert picture is not None
    assert not np.array_equal(picture[-8:], cv2.imread(str(folder / "still.jpg"))[-8:])  # type: ignore[index]
    with av.open(str(tmp_path / "out" / "still.captioned.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 50
    foot = [float(frame[-20:].mean()) for frame in frames]
    assert foot[12] < 0.7 * foot[5], "the first answer stands from the middle of its chunk on"


def test_what_cannot_be_shown_is_named_before_a_model_is_loaded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes((folder / "still.jpg").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no film")
    (tmp_path / "empty.png").touch()
    for seen, why in (
        ("half.jpg", "damaged or cut off"),
        ("notes.txt", "notes"),
        ("empty.png", "empty"),
        ("x", "no file"),
    ):
        done = server(tmp_path, "try", folder / "nothing", tmp_path / seen, "--base", "/no/such/base")
        assert done.returncode in (1, 2)
        assert why in done.stderr
        assert "/no/such/base" not in done.stderr
    done = server(tmp_path, "try", folder / "night" / "adapter", folder / "still.jpg", "--base", "/no/such/base")
    assert done.returncode == 2
    assert "could not be loaded" in done.stderr


def test_a_person_reads_words_and_what_it_sees(folder: Path, starter_home: Path) -> None:
    version = next((starter_home / "models").glob("*/bundle")).parent.name
    done = server(starter_home, "try", version, folder / "walk.mp4", folder / "still.jpg", "--threads", 1)
    lines = done.stdout.splitlines()
    assert lines[0] == str(folder / "walk.mp4")
    assert lines[1].startswith("     0.0 s  ")
    assert "sees: " in done.stdout
    done = server(folder / "home", "try", folder / "small", folder / "still.jpg", "--threads", 1)
    assert "(no sentence of the vocabulary)" in done.stdout, "random weights write what no device would say"
