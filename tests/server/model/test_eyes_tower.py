"""A small model over eyes of the packaged kind: saved and loaded, trained, exported, and told near from far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from exporters.onnx.bundle import Label, export_bundle
from exporters.onnx.frozen import BATCH, frozen
from exporters.onnx.parity import Given, compare
from server import walks
from server.evaluation.answers import rendered_cases
from server.eyes.packaged import Eyes, EyesRecord
from server.eyes.ssd_mobilenet import CLASSES, INPUT_PX, SsdMobileNet
from server.eyes.ssd_tokens import SsdTokens
from server.learn import lora, starter_eyes
from server.learn.batches import Layout, from_rendered, from_sentence
from server.learn.bundles import exportable, writer
from server.learn.recipe import Recipe
from server.model import checkpoint as checkpoints
from server.model import eyes_tower
from server.model.checkpoint import Checkpoint
from shared.errors import ConfigError
from shared.preprocess import prepare
from shared.runtime import GuidanceModel
from shared.sight.ground import GROUND


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    """The packaged eyes' network with weights at random, which need no registry."""
    torch.manual_seed(3)
    labels = ("???", "Person", "Car", *(f"thing {at}" for at in range(CLASSES - 3)))
    record = EyesRecord("untaught", "none", "0", "none", "0" * 64, "0" * 64, labels, INPUT_PX)
    return Eyes(SsdMobileNet().eval(), record)


@pytest.fixture(scope="module")
def base(eyes: Eyes) -> Checkpoint:
    """Read only."""
    return starter_eyes.build(SsdTokens(eyes))


def test_tokens_are_the_same_through_onnx_whatever_the_number_of_pictures(eyes: Eyes) -> None:
    backbone = SsdTokens(eyes)
    pixels = torch.randn(BATCH + 1, 3, INPUT_PX, INPUT_PX)
    with torch.no_grad():
        expected = backbone(pixels).numpy()
    found = frozen(backbone, INPUT_PX)(pixels.numpy())
    assert found.shape == (BATCH + 1, 100, backbone.dim)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_token_is_of_its_place(eyes: Eyes) -> None:
    """What changes in one corner of a picture changes the tokens there most."""
    backbone, pixels = SsdTokens(eyes), torch.zeros(2, 3, INPUT_PX, INPUT_PX)
    pixels[1, :, -30:, :30] = 1.0
    with torch.no_grad():
        before, after = backbone(pixels)
    change = (after - before).abs().sum(-1).reshape(10, 10)
    assert divmod(int(change.argmax()), 10) in {(9, 0), (9, 1), (8, 0), (8, 1)}


def test_saved_and_loaded_it_is_the_same_without_the_eyes(eyes: Eyes, base: Checkpoint, tmp_path: Path) -> None:
    assert base.eyes is not None
    checkpoints.save(base, tmp_path / "saved")
    again = checkpoints.load(tmp_path / "saved", eyes=SsdTokens(eyes))
    assert checkpoints.fingerprint(again) == checkpoints.fingerprint(base)
    size = sum(file.stat().st_size for file in (tmp_path / "saved").iterdir())
    assert size < 4 * 4_500_000  # 4.5 M parameters of its own; the eyes have 4.4 M more


def test_without_its_eyes_it_says_where_they_come_from(base: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(base, tmp_path / "saved")
    with pytest.raises(ConfigError, match="pretrained eyes, which are not here") as refused:
        checkpoints.load(tmp_path / "saved")
    assert refused.value.hint == "Fetch them: waycue-server models add eyes"


def test_heads_of_other_eyes_are_refused(eyes: Eyes, base: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(base, tmp_path / "saved")
    (tmp_path / "saved" / eyes_tower.FILE).write_bytes((tmp_path / "saved" / checkpoints.HEAD_FILE).read_bytes())
    with pytest.raises(ConfigError, match="does not belong to these eyes"):
        checkpoints.load(tmp_path / "saved", eyes=SsdTokens(eyes))


def test_a_tower_of_other_places_is_refused(eyes: Eyes) -> None:
    fields = starter_eyes.build(SsdTokens(eyes)).model.config.to_dict()
    config = SmolVLMConfig(
        vision_config={**fields["vision_config"], "patch_size": 20}, text_config=fields["text_config"]
    )
    with pytest.raises(ConfigError, match="225 places, the eyes 100"):
        eyes_tower.give(SmolVLMForConditionalGeneration(config), SsdTokens(eyes))


def test_a_night_adapts_what_stands_on_the_eyes_and_makes_its_pictures_familiar(eyes: Eyes, tmp_path: Path) -> None:
    base = starter_eyes.build(SsdTokens(eyes))
    assert base.eyes is not None
    untouched = eyes.network.state_dict()["blocks.3.expand.conv.weight"].clone()
    tower = base.model.model.vision_model.encoder.layers[0].mlp.fc1.weight.clone()
    ground, limit = base.eyes.ground.classify.weight.clone(), base.eyes.familiar.limit.clone()
    rng, layout = np.random.default_rng(1), Layout.of(base)
    shots = [walks.random_frame(rng) for _ in range(130)]
    fresh = [from_sentence(shot.image, "Stop, curb ahead.", layout) for shot in shots[:6]]
    recipe = Recipe(steps=2, batch=4, threads=1)
    lora.train(base, fresh, [from_rendered(shot, layout) for shot in shots[6:]], recipe, tmp_path)
    assert torch.equal(eyes.network.state_dict()["blocks.3.expand.conv.weight"], untouched)
    assert not torch.equal(base.model.model.vision_model.encoder.layers[0].mlp.fc1.weight, tower)
    assert not torch.equal(base.eyes.ground.classify.weight, ground)
    assert not torch.equal(base.eyes.familiar.limit, limit)


@pytest.fixture(scope="module")
def bundle(base: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In float32. Read only."""
    folder = tmp_path_factory.mktemp("eyes") / "bundle"
    label = Label(base.name, base.name, "", base.intended_use, dict(base.thresholds), 0.0)
    export_bundle(exportable(base), label, folder, golden_chunks=[], quantised=False)
    return folder


def test_one_look_sees_boxes_hazards_ground_and_features(base: Checkpoint, bundle: Path) -> None:
    assert base.eyes is not None
    image = next(iter(rendered_cases(1))).image
    model = GuidanceModel.load(bundle, allow_demo=True, threads=1)
    seen = model.look(image)
    with torch.no_grad():
        pixels = torch.from_numpy(prepare(image, base.preprocessing))
        features = base.model.model.vision_model(pixel_values=pixels).last_hidden_state
        tokens = base.model.model.connector(features).numpy()
        ground = base.eyes.ground(features)[0].argmax(-1).reshape(10, 10).numpy()
    assert np.abs(seen.image_tokens - tokens).max() < 1e-2
    assert seen.ground is not None
    assert (seen.ground == ground).mean() > 0.98
    assert seen.ground.max() < len(GROUND)
    assert not seen.far
    assert seen.unseen == ()


def test_the_bundle_writes_what_pytorch_writes(base: Checkpoint, bundle: Path) -> None:
    moments = [Given(case.image) for case in rendered_cases(3)]
    assert compare(bundle, writer(base), moments, threads=1).token_share == 1.0
