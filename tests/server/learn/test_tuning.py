"""Fine-tuning on clips: what is taught is answered, plain peft loads it, and no night starts from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText

from server.labelling import folder as label
from server.labelling.footage import Chunk
from server.learn import clips, replying, saves, tasks, tuning
from server.learn.presets import PRESETS
from server.learn.replying import ClipQuestion
from server.learn.tuning import Tuning
from server.model import checkpoint as checkpoints
from shared.errors import ConfigError, DatasetError, Refused
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, picture, sound
from tests.server.learn.parts import flat, save_field_checkpoint

ANSWERS = ("Stop, curb ahead.", "Caution, pole on the left.", "Stop, vehicle ahead.")
SMALL = Tuning(epochs=6, rate=2e-2, connector_rate=1e-2, batch=6, accumulate=1, top_k=2, select="pixels", threads=1)


def film(path: Path, kind: int, *, frames: int = 5) -> Path:
    """Half a second of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(flat(kind), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def dataset(folder: Path, count: int = 12, *, name: str = "qved_train.json", **turns: Any) -> Path:
    """Films whose colour says the answer."""
    entries = []
    for n in range(count):
        film(folder / f"videos/{n}.mp4", n % 3)
        said = [{"from": "human", "value": "<video>\nGuide me."}, {"from": "gpt", "value": ANSWERS[n % 3]}]
        entries.append({"id": f"clip{n}", "video": f"videos/{n}.mp4", "conversations": said} | turns)
    (folder / name).write_text(json.dumps(entries), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_field_checkpoint(tmp_path_factory.mktemp("base") / "SmolVLM-tiny")


def tuned(base: Path, data: Path, out: Path, recipe: Tuning = SMALL, **options: Any) -> tuple[tuning.Tuned, list[str]]:
    said: list[str] = []
    done = tuning.tune(checkpoints.load(base), [clips.read(data)], recipe, out, progress=said.append, **options)
    return done, said


def test_an_adapter_is_trained_that_plain_peft_loads(base: Path, tmp_path: Path) -> None:
    done, said = tuned(base, dataset(tmp_path / "qved"), tmp_path / "out", replace(SMALL, precision="bf16"))
    assert (done.rows, done.held, done.left_out) == (11, 1, ())
    assert len(done.losses) == 6
    assert min(done.losses) < done.losses[0]
    assert "Using video projector from base model checkpoint" in said
    if not torch.cuda.is_available():
        assert any("float32 is used" in text for text in said)
    about = json.loads((tmp_path / "out" / tasks.ABOUT_FILE).read_bytes())
    assert (about["task"], about["tuning"]["top_k"], about["datasets"]) == ("exercise-feedback", 2, ["qved"])
    assert "SmolVLM-tiny" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert not (tmp_path / "out.work").exists()
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(tmp_path / "out"))
    mine, _ = replying.opened(tmp_path / "out", "", progress=print)
    given = {
        "input_ids": torch.tensor([[mine.model.config.image_token_id] * mine.image_tokens + [5, 6, 7]]),
        "pixel_values": torch.randn(1, 1, 3, 256, 256),
    }
    with torch.no_grad():
        torch.testing.assert_close(plain(**given).logits, mine.model(**given).logits, rtol=1e-3, atol=1e-3)
    answer = replying.reply(
        mine, tmp_path / "qved/videos/1.mp4", ClipQuestion.of(about, question="", system=""), tokens=12
    )
    assert answer
    with pytest.raises(ConfigError, match="exercise-feedback, not for guidance"):
        tasks.refuse_other(str(tmp_path / "out"))


def test_what_was_cut_off_goes_on_to_the_same_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(tmp_path / "qved", 9)
    recipe = replace(SMALL, epochs=2, batch=8)
    tuned(base, data, tmp_path / "whole", recipe)

    class CutError(Exception):
        pass

    saved = saves.Saves.on_save

    def cut(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved(self, args, state, control, **kwargs)
        raise CutError

    monkeypatch.setattr(saves.Saves, "on_save", cut)
    with pytest.raises(CutError):
        tuned(base, data, tmp_path / "cut", recipe)
    assert not (tmp_path / "cut").exists()
    monkeypatch.undo()
    done, _ = tuned(base, data, tmp_path / "cut", recipe)
    assert len(done.losses) == 2
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_unreadable_clips_are_left_out_by_name(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "qved", 3)
    (data / "videos/1.mp4").write_bytes(b"no film")
    done, said = tuned(base, data, tmp_path / "out", replace(SMALL, epochs=1))
    assert (done.rows, done.held) == (2, 0)
    assert [name for name, _ in done.left_out] == ["clip1"]
    assert any("nothing is measured" in text for text in said)
    for n in (0, 2):
        (data / f"videos/{n}.mp4").write_bytes(b"no film")
    with pytest.raises(DatasetError, match="no clip can be used"):
        tuned(base, data, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_connector_of_its_own_is_optional_and_checked(base: Path, tmp_path: Path) -> None:
    model = checkpoints.load(base).model
    good = {name: value.contiguous() + 1 for name, value in model.model.connector.state_dict().items()}
    save_file(good, tmp_path / "mm.safetensors")
    said: list[str] = []
    given = checkpoints.load(base)
    tuning._project(given, tmp_path / "mm.safetensors", said.append)
    assert torch.equal(next(iter(given.model.model.connector.parameters())), next(iter(good.values())))
    assert said == [f"Using video projector from {tmp_path / 'mm.safetensors'}"]
    save_file({"proj.weight": torch.zeros(3)}, tmp_path / "bad.safetensors")
    for name in ("bad.safetensors", "nowhere"):
        with pytest.raises(ConfigError, match=f"{name} is no connector"):
            tuning._project(given, tmp_path / name, said.append)


def test_the_preset_has_the_figures_of_the_seed() -> None:
    recipe = Tuning.of(PRESETS["qved-stage3"].values)
    assert (recipe.epochs, recipe.rate, recipe.connector_rate) == (8, 1e-4, 2e-5)
    assert (recipe.rank, recipe.alpha, recipe.batch, recipe.accumulate) == (64, 128, 8, 2)
    assert (recipe.max_length, recipe.precision, recipe.gradient_checkpointing) == (2048, "bf16", True)
    assert recipe.top_k > 1
    assert recipe.select != "uniform"


def test_exercises_and_walks_are_never_taught_together(tmp_path: Path) -> None:
    sets = [clips.read(dataset(tmp_path / name, 1, name=name)) for name in ("qved_train.json", "conversations.json")]
    with pytest.raises(Refused, match="different tasks"):
        clips.one_task(sets)


def labelled(root: Path, *instructions: str) -> Path:
    """A folder as `label` writes it."""
    with label.opened(root) as folder:
        for n, instruction in enumerate(instructions):
            folder.show("walk", n, Chunk(picture(n), sound(n)))
            folder.save("walk", n, instruction)
    return root


def test_a_labelled_folder_teaches_what_may_be_said_by_its_pictures(base: Path, tmp_path: Path) -> None:
    said = [ANSWERS[n % 3] for n in range(8)]
    folder = labelled(tmp_path / "dataset", *said, "Walk on, it is safe.", "Continue straight, path is clear.")
    read = clips.read(folder)
    assert [row.answer for row in read.rows] == [*said, "Continue straight, path is clear."]
    assert {(row.question, row.system) for row in read.rows} == {("Guide me.", "")}
    [(name, why)] = read.left_out
    assert (name, "can not be taught" in why) == ("walk_chunk0008", True)
    assert clips.one_task([read, clips.read(folder / "metadata.jsonl")]) == tasks.GUIDANCE
    told = server(None, "finetune", folder, "--base", base, "--out", tmp_path / "out", "--epochs", 2, "--json")
    done = json.loads(told.stdout)
    assert (done["rows"], done["held"], len(done["losses"])) == (8, 1, 2)
    assert "walk_chunk0008" in told.stderr
    tasks.refuse_other(str(tmp_path / "out"))
    tried = server(None, "--home", tmp_path / "no home", "try", tmp_path / "out", read.rows[0].media, "--json")
    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["model"]["kind"] == "adapter"


def test_a_servers_own_dataset_is_no_labelled_folder(house: House) -> None:
    house.send(moment(0))
    with pytest.raises(DatasetError, match="a server's own dataset"):
        clips.read(house.home / "dataset")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"video": "/etc/passwd"}, "lies outside"),
        ({"video": "../x.mp4"}, "lies outside"),
        ({"video": "videos/gone.mp4"}, "missing on disk"),
        ({"video": 3}, "no video or image"),
        ({"conversations": []}, "no question or no answer"),
        ({"conversations": {"from": "human"}}, "no question or no answer"),
        ({"conversations": [{"from": "human", "value": "x"}, 7]}, "no question or no answer"),
    ],
)
def test_what_cannot_be_used_of_a_data_set_is_named(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    read = clips.read(dataset(tmp_path / "qved", 1, **change))
    assert read.rows == []
    assert why in read.left_out[0][1]


def test_both_kinds_of_turns_are_read(tmp_path: Path) -> None:
    said = [("system", "Guide."), ("user", "<video>\nNow?"), ("assistant", "Stop, curb ahead.")]
    turns = [{"role": role, "content": text} for role, text in said]
    [row] = clips.read(dataset(tmp_path / "walks", 1, name="conversations.json", conversations=turns)).rows
    assert (row.system, row.question, row.answer) == ("Guide.", "Now?", "Stop, curb ahead.")


def test_the_whole_way_from_labels_to_an_answer(base: Path, tmp_path: Path) -> None:
    root, home, out = tmp_path / "QVED", tmp_path / "home", tmp_path / "adapter"
    records = []
    for n in range(3):
        film(root / f"squats/{n}.mp4", n % 3)
        records.append({"video_path": f"squats/{n}.mp4", "labels_descriptive": ANSWERS[n % 3]})
    (root / "fine_grained_labels.json").write_text(json.dumps(records), encoding="utf-8")
    assert server(home, "finetune", "--out", out, "--base", base).returncode == 1
    words = ["--system", "", "--user", "Guide me."]
    assert server(home, "qved", "convert", root / "fine_grained_labels.json", *words).returncode == 0
    command = ("finetune", "--base", base, "--out", out, "--epochs", 1, "--top-k", 2)
    done = server(home, *command)
    assert done.returncode == 0, done.stderr
    assert f"Included, for it is there: {home / 'datasets/qved/qved_train.json'}" in done.stdout
    assert f"qved infer VIDEO --checkpoint {out}" in done.stdout
    assert server(home, *command).returncode == 1  # it holds an adapter
    video = root / "squats/0.mp4"
    told = server(None, "qved", "infer", video, "--checkpoint", out, "--tokens", 4)
    assert (told.returncode, told.stderr) == (0, "")
    alone = server(None, "qved", "infer", video, "--checkpoint", tmp_path / "gone", "--base", base, "--tokens", 4)
    assert alone.returncode == 0
    assert f"No fine-tuned checkpoint at {tmp_path / 'gone'}: the base model {base} answers." in alone.stderr
