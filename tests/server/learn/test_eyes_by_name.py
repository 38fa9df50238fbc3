"""A model is trained on a backbone that was named: here on small ones with random weights, of the hub's classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Model

from exporters.onnx.bundle import Label, export_bundle
from exporters.onnx.look import Seeing, quantise_any
from exporters.onnx.parity import Given, compare
from server import walks
from server.evaluation.answers import rendered_cases
from server.eyes import by_name, hub
from server.learn import adapters, bases, eyes_by_name, lora, starter_eyes
from server.learn.batches import Layout, from_rendered, from_sentence
from server.learn.bundles import exportable, writer
from server.learn.recipe import Recipe
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from shared import bundle as bundles
from shared.errors import BundleError, ConfigError, Transient
from shared.preprocess import Preprocessing, prepare
from shared.runtime import GuidanceModel
from shared.runtime.look import LOOK
from tests.server.eyes.checkpoints import made

STEPS = 3


def add(home: Path, name: Path | str, *, steps: int = STEPS, said: list[str] | None = None) -> bool:
    progress: Callable[[str], None] = (lambda text: None) if said is None else said.append
    return eyes_by_name.add(home, str(name), steps=steps, size_px=None, threads=1, progress=progress)[1]


def least_of_frames(patch: pytest.MonkeyPatch) -> None:
    for name, value in (("BATCH", 8), ("FRAMES", 0)):
        patch.setattr(starter_eyes, name, value)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a DINOv2, and `home`, to which it was added. Read only."""
    folder, said = tmp_path_factory.mktemp("named"), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        least_of_frames(patch)
        assert add(folder / "home", made("dinov2", folder), said=said)
    assert "its model card states the licence apache-2.0" in said[0]
    assert any(f"step 1/{STEPS}" in line for line in said)
    return folder


@pytest.fixture
def copy(named: Path, tmp_path: Path) -> Path:
    """A home whose DINOv2 lies in `dinov2` beside it, to be spoiled."""
    shutil.copytree(named / "home", tmp_path / "home")
    shutil.copytree(named / "dinov2", tmp_path / "dinov2")
    new = by_name.place(tmp_path / "home", moved(tmp_path))
    by_name.place(tmp_path / "home", by_name.resolved(str(named / "dinov2"))).rename(new)
    record = new / by_name.RECORD_FILE
    record.write_text(json.dumps({**json.loads(record.read_text()), "name": moved(tmp_path)}))
    return tmp_path


def moved(folder: Path) -> str:
    return by_name.resolved(str(folder / "dinov2"))


def started(home: Path, name: Path | str) -> Checkpoint:
    return bases.starter(str(name), home, lambda text: None)


def exported(base: Checkpoint, folder: Path, *, quantised: bool, full: Path | None = None) -> list[str]:
    said = list[str]()
    label = Label(base.name, base.name, "", base.intended_use, dict(base.thresholds), 0.0)
    export_bundle(
        exportable(base), label, folder, golden_chunks=[], quantised=quantised, full=full, progress=said.append
    )
    return said


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["dinov2", "convnext"])
def test_added_and_exported_one_look_sees_what_pytorch_sees(kind: str, named: Path, tmp_path: Path) -> None:
    if kind != "dinov2":
        said = list[str]()
        assert add(named / "home", made(kind, named), said=said)
        assert "no licence stated" in said[0]
    base = started(named / "home", named / kind)
    assert base.eyes is not None
    assert base.eyes.detector is None
    assert base.patches == base.eyes.backbone.grid**2 == 16
    exported(base, tmp_path / "float", quantised=False)
    model = GuidanceModel.load(tmp_path / "float", allow_demo=True, threads=1)
    image = next(iter(rendered_cases(1))).image
    seen = model.look(image)
    with torch.no_grad():
        pixels = torch.from_numpy(prepare(image, base.preprocessing))
        features = base.model.model.vision_model(pixel_values=pixels).last_hidden_state
        tokens = base.model.model.connector(features).numpy()
        hazards = base.head(features)[1][0].sigmoid().numpy()
        ground = base.eyes.ground(features)[0].argmax(-1).reshape(4, 4).numpy()
        distance = float(base.eyes.familiar(base.eyes.embeddings.standardised(pixels)))
    assert np.abs(seen.image_tokens - tokens).max() < 1e-2
    assert seen.ground is not None
    assert (seen.ground == ground).mean() > 0.9
    assert (seen.boxes, seen.view, seen.far) == ((), None, distance >= 1.0)
    if not seen.far:
        scores = {(hazard.object, hazard.side): hazard.score for hazard in seen.hazards}
        for row, name in enumerate(base.objects):
            for column, side in enumerate(base.sides):
                assert scores[name, side] == pytest.approx(float(hazards[row, column]), abs=1e-3)
    assert compare(tmp_path / "float", writer(base), [Given(image)], threads=1).token_share == 1.0

    said = exported(base, tmp_path / "int8", quantised=True, full=tmp_path / "float")
    manifest = bundles.verify(tmp_path / "int8")
    assert not any("stays in float32" in line for line in said)
    assert manifest.model["look"]["names"] == []
    assert manifest.model["precision"] == "vision int8, decoder 8-bit"
    assert ("apache-2.0" if kind == "dinov2" else "none stated") in (tmp_path / "int8" / "NOTICE.txt").read_text()
    assert str(named) not in (tmp_path / "int8" / "NOTICE.txt").read_text(), "no path of this machine goes to a device"
    quantised = GuidanceModel.load(tmp_path / "int8", allow_demo=True, threads=1).look(image)
    a, b = seen.image_tokens.ravel(), quantised.image_tokens.ravel()
    assert float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) > 0.95


@pytest.mark.soak
def test_a_network_that_int8_makes_another_stays_in_float32_and_that_is_said(named: Path, tmp_path: Path) -> None:
    """One number of each token is a million times the others and counts for nothing: int8 keeps that one alone."""
    base = started(named / "home", named / "dinov2")
    assert base.eyes is not None
    with torch.no_grad():
        base.eyes.embeddings.scale[0] = 1e-7
        base.eyes.embeddings.project.weight[:, 0] = 0.0
    exported(base, tmp_path / "float", quantised=False)
    said = exported(base, tmp_path / "int8", quantised=True, full=tmp_path / "float")
    assert any("the look network stays in float32: in int8 its features are others" in line for line in said)
    assert (tmp_path / "int8" / LOOK).read_bytes() == (tmp_path / "float" / LOOK).read_bytes()
    assert bundles.verify(tmp_path / "int8").model["precision"] == "vision int8, decoder 8-bit, look float32"


def test_a_graph_that_cannot_become_int8_stays_in_float32_and_why_is_said(tmp_path: Path) -> None:
    seeing = Seeing(torch.nn.Identity(), Preprocessing(64), pictures=(), any_backbone=True)
    (tmp_path / "raw.onnx").write_bytes(b"no graph")
    assert "cannot become int8" in quantise_any(tmp_path / "raw.onnx", tmp_path / LOOK, seeing)
    assert sorted(file.name for file in tmp_path.iterdir()) == [LOOK, "raw.onnx"]
    assert (tmp_path / LOOK).read_bytes() == b"no graph"


def test_a_second_time_it_is_there_already_and_the_backbones_weights_are_not_kept(named: Path) -> None:
    assert not add(named / "home", named / "dinov2")
    folder = by_name.place(named / "home", by_name.resolved(str(named / "dinov2")))
    record = by_name.kept(folder)
    assert record is not None
    assert (record.size_px, record.licence, record.steps) == (56, "apache-2.0", STEPS)
    keys = {key for file in folder.rglob("*.safetensors") for key in _keys(file)}
    assert not [key for key in keys if "backbone" in key]
    assert list((named / "home" / eyes_by_name.TRAINING).iterdir()) == []


def _keys(file: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(file, "pt") as held:
        return list(held.keys())


def test_a_backbone_that_was_not_added_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Nothing was trained on the backbone 'facebook/dinov2-small'") as refused:
        started(tmp_path, "facebook/dinov2-small")
    assert refused.value.hint == "Add it: waycue-server models add eyes --backbone facebook/dinov2-small"


def test_another_backbone_under_the_same_name_is_refused(copy: Path) -> None:
    assert started(copy / "home", copy / "dinov2").eyes is not None
    model = Dinov2Model.from_pretrained(copy / "dinov2")
    with torch.no_grad():
        next(model.parameters()).add_(0.001)
    model.save_pretrained(copy / "dinov2")
    with pytest.raises(ConfigError, match="is another backbone than the one that was added"):
        started(copy / "home", copy / "dinov2")


def test_other_colours_are_another_backbone(copy: Path) -> None:
    file = copy / "dinov2" / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "image_mean": [0.5, 0.5, 0.5]}))
    with pytest.raises(ConfigError, match="is another backbone than the one that was added"):
        started(copy / "home", copy / "dinov2")


def test_a_folder_that_is_gone_is_told_and_nothing_is_asked_of_the_hub(copy: Path) -> None:
    shutil.rmtree(copy / "dinov2")
    with pytest.raises(ConfigError, match=r"The backbone's folder .*dinov2 is gone"):
        started(copy / "home", copy / "dinov2")


def test_a_damaged_record_is_told_with_what_to_do(copy: Path) -> None:
    (by_name.place(copy / "home", moved(copy)) / by_name.RECORD_FILE).write_text("{}")
    with pytest.raises(BundleError, match="are damaged") as refused:
        started(copy / "home", copy / "dinov2")
    assert "models add eyes --backbone" in (refused.value.hint or "")


@pytest.mark.soak
def test_ctrl_c_loses_only_the_steps_since_the_last_save(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter_eyes, "SAVE_EVERY", 25)
    least_of_frames(monkeypatch)

    def stopped(text: str) -> None:
        if text.startswith("step 51/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        eyes_by_name.add(tmp_path, str(named / "dinov2"), steps=52, size_px=None, threads=1, progress=stopped)
    (work,) = (tmp_path / eyes_by_name.TRAINING).iterdir()
    drawn = {file: file.stat().st_mtime_ns for file in (work / "drawn").glob("*.npz")}
    assert drawn
    assert by_name.kept(by_name.place(tmp_path, by_name.resolved(str(named / "dinov2")))) is None
    said = list[str]()
    assert add(tmp_path, named / "dinov2", steps=52, said=said)
    assert [line.split()[1] for line in said if line.startswith("step ")] == ["51/52"], "it went on, not anew"
    assert started(tmp_path, named / "dinov2").known == walks.KNOWN


def test_a_full_disk_is_told_before_hours_of_work(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyes_by_name, "_BESIDE_BYTES", 1 << 60)
    with pytest.raises(Transient, match="GB are free"):
        add(tmp_path, named / "dinov2")


@pytest.mark.parametrize(("kind", "grid"), [("dinov2", 4), ("siglip", 4)])
def test_the_grid_is_made_even_where_pictures_of_another_size_allow_it(kind: str, grid: int, tmp_path: Path) -> None:
    folder = made(kind, tmp_path)
    backbone = by_name.load(str(folder))
    assert backbone.grid == grid
    assert starter_eyes.build(backbone).patches == grid**2


def test_a_size_that_gives_an_odd_grid_is_refused_with_one_that_does_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"5 × 5 tokens of a picture of 70 px.*even.*--size 56"):
        by_name.load(str(made("dinov2", tmp_path)), size_px=70)
    with pytest.raises(ConfigError, match=r"24 × 24 tokens.*at most 20.*--size 280"):
        by_name.load(str(tmp_path / "dinov2"), size_px=336)


def test_batch_norm_of_a_frozen_backbone_stays_as_it_was_while_what_stands_on_it_learns(tmp_path: Path) -> None:
    base = starter_eyes.build(hub.load(made("resnet", tmp_path)))
    assert base.eyes is not None
    before = by_name.fingerprint(base.eyes.backbone)
    guide = Guide(base).train()
    assert not any(module.training for module in base.eyes.backbone.modules())
    assert guide.model.model.connector.training
    guide.features(torch.rand(2, 3, 64, 64)).sum().backward()  # type: ignore[no-untyped-call]
    assert by_name.fingerprint(base.eyes.backbone) == before


def test_a_night_adapts_the_layers_over_a_named_backbone_and_not_the_backbone(tmp_path: Path) -> None:
    """SigLIP's layers are called as those of the tower are."""
    base = starter_eyes.build(hub.load(made("siglip", tmp_path)))
    assert base.eyes is not None
    before = by_name.fingerprint(base.eyes.backbone)
    tower = base.model.model.vision_model.encoder.layers[0].mlp.fc1.weight.clone()
    rng, layout = np.random.default_rng(1), Layout.of(base)
    shots = [walks.random_frame(rng) for _ in range(130)]
    fresh = [from_sentence(shot.image, "Stop, curb ahead.", layout) for shot in shots[:6]]
    replay = [from_rendered(shot, layout) for shot in shots[6:]]
    lora.train(base, fresh, replay, Recipe(steps=2, batch=4, threads=1), tmp_path / "night")
    assert by_name.fingerprint(base.eyes.backbone) == before
    assert not torch.equal(base.model.model.vision_model.encoder.layers[0].mlp.fc1.weight, tower)


def test_an_adapter_over_named_eyes_is_loaded_with_them(named: Path, tmp_path: Path) -> None:
    base = started(named / "home", named / "dinov2")
    rows = [from_sentence(walks.random_frame(np.random.default_rng(1)).image, "Stop, curb ahead.", Layout.of(base))] * 4
    lora.train(base, rows, [], Recipe(steps=2, batch=4, threads=1), tmp_path)
    loaded = adapters.load(tmp_path / "adapter", named / "home", progress=lambda text: None)
    assert checkpoints.fingerprint(loaded) == checkpoints.fingerprint(base), "weights, hazard head, ground, familiar"
    with pytest.raises(ConfigError, match=r"trained on starter-on-dinov2.*fingerprint.*--base"):
        adapters.load(tmp_path / "adapter", tmp_path, base=str(bases.STARTER_FOLDER), progress=lambda text: None)
    checkpoints.save(base, tmp_path / "whole")
    by_hand = by_name.place(named / "home", by_name.resolved(str(named / "dinov2"))) / by_name.MODEL_FOLDER
    assert adapters.open_checkpoint(by_hand, named / "home").eyes is not None
    with pytest.raises(ConfigError, match="stands on pretrained eyes, which are not here"):
        adapters.open_checkpoint(tmp_path / "whole", tmp_path)
