"""Any backbone by name: here small ones with random weights, saved as their publishers save them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel, BertConfig, BertModel, ConvNextForImageClassification, Dinov2Model, SiglipModel

from exporters.onnx.frozen import frozen
from server.eyes import hub
from server.eyes.backbone import Backbone
from shared.errors import ConfigError
from shared.preprocess import prepare
from tests.server.eyes import checkpoints
from tests.server.eyes.checkpoints import IMAGENET, made

FORMS = {
    "dinov2": (70, 5, 32),
    "convnext": (64, 4, 4 * 12 + 16 + 20),
    "swinv2": (64, 4, 4 * 16 + 32 + 64),
    "resnet": (64, 4, 4 * 12 + 16 + 20),
    "siglip": (64, 4, 32),
    "clip": (64, 4, 32),
}
"""Side of its pictures, of the grid, length of a token."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint of each kind. Read only."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in checkpoints.MAKERS:
        made(name, folder)
    return folder


def noise(backbone: Backbone, *, seed: int = 0) -> Tensor:
    """A picture with nothing twice, as it reaches a backbone: [1, 3, s, s]."""
    image = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)
    return torch.from_numpy(prepare(image, backbone.preprocessing))


def published(kind: Any, folder: Path) -> Any:
    """The model as transformers loads it."""
    return kind.from_pretrained(folder).eval()


def raw(pixels: Tensor) -> Tensor:
    """The same picture as its publisher's processor gives it."""
    mean, std = (torch.tensor(IMAGENET[key]).view(1, 3, 1, 1) for key in ("image_mean", "image_std"))
    return ((pixels * 0.5 + 0.5) - mean) / std


@pytest.mark.parametrize("name", FORMS)
def test_each_kind_gives_one_grid_of_tokens(name: str, folders: Path) -> None:
    backbone = hub.load(folders / name)
    size, grid, dim = FORMS[name]
    assert (backbone.preprocessing.size_px, backbone.grid, backbone.dim) == (size, grid, dim)
    assert not backbone.training
    with torch.no_grad():
        tokens = backbone(torch.cat([noise(backbone), noise(backbone, seed=1)]))
    assert tokens.shape == (2, grid * grid, dim)
    assert tokens.isfinite().all()
    assert not torch.allclose(tokens[0], tokens[1])


def test_tokens_are_the_published_models_own_row_by_row_and_colours_are_folded_in(folders: Path) -> None:
    backbone = hub.load(folders / "dinov2")
    pixels = noise(backbone)
    with torch.no_grad():
        reference = published(Dinov2Model, folders / "dinov2")(raw(pixels)).last_hidden_state
        torch.testing.assert_close(backbone(pixels), reference[:, 1:], atol=1e-5, rtol=1e-4)


def test_a_classifiers_weights_arrive_and_finer_maps_lose_nothing(folders: Path) -> None:
    backbone = hub.load(folders / "convnext")
    pixels = noise(backbone)
    with torch.no_grad():
        model = published(ConvNextForImageClassification, folders / "convnext")
        seen = model(raw(pixels), output_hidden_states=True).hidden_states
        tokens = backbone(pixels)[0].unflatten(0, (4, 4))
    fine, own, coarse = (
        torch.nn.functional.layer_norm(m[0].permute(1, 2, 0), m.shape[1:2], eps=1e-6) for m in seen[2:5]
    )
    torch.testing.assert_close(tokens[..., 48:64], own, atol=1e-4, rtol=1e-3)
    for row, column in ((0, 0), (1, 0), (0, 1)):
        place = 12 * (row * 2 + column)
        torch.testing.assert_close(tokens[..., place : place + 12], fine[row::2, column::2], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(tokens[row::2, column::2, 64:], coarse, atol=1e-4, rtol=1e-3)


def test_the_picture_half_of_a_larger_model_and_tokens_of_no_place(folders: Path) -> None:
    whole, half = hub.load(folders / "siglip"), hub.load(folders / "clip")
    pixels = noise(whole)
    with torch.no_grad():
        model = published(SiglipModel, folders / "siglip").vision_model
        torch.testing.assert_close(whole(pixels), model(pixel_values=pixels).last_hidden_state)
        reference = published(AutoModel, folders / "clip")(pixel_values=raw(pixels)).last_hidden_state
        torch.testing.assert_close(half(pixels), reference[:, 1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "name", [name if name in ("dinov2", "convnext") else pytest.param(name, marks=pytest.mark.soak) for name in FORMS]
)
def test_tokens_through_onnx_are_those_of_pytorch(name: str, folders: Path) -> None:
    """The channels of a finer map too: pixel_unshuffle would be exported in another order."""
    backbone = hub.load(folders / name)
    pixels = torch.cat([noise(backbone), noise(backbone, seed=1)])
    with torch.no_grad():
        expected = backbone(pixels).numpy()
    found = frozen(backbone, backbone.preprocessing.size_px)(pixels.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-3 * float(np.abs(expected).max()))


def test_another_size_gives_another_grid(folders: Path) -> None:
    assert (hub.load(folders / "dinov2", size_px=98).grid, hub.load(folders / "convnext", size_px=96).grid) == (7, 6)
    larger = hub.load(folders / "siglip", size_px=96)
    with torch.no_grad():
        assert larger(noise(larger)).shape == (1, 36, 32)


def test_it_learns_and_keeps_what_it_learnt(folders: Path) -> None:
    backbone = hub.load(folders / "dinov2")
    assert all(weight.requires_grad for weight in backbone.parameters())
    backbone(noise(backbone)).square().mean().backward()
    touched = [name for name, weight in backbone.named_parameters() if weight.grad is not None and weight.grad.any()]
    assert any("encoder" in name for name in touched)
    other = hub.load(folders / "dinov2")
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(0.01)
        other.load_state_dict(backbone.state_dict())
        torch.testing.assert_close(other(noise(other)), backbone(noise(other)))


def test_the_licence_is_the_model_cards(folders: Path, tmp_path: Path) -> None:
    assert hub.load(folders / "dinov2").licence == "apache-2.0"
    assert hub.load(folders / "convnext").licence == ""
    shutil.copytree(folders / "convnext", tmp_path / "own")
    (tmp_path / "own" / "README.md").write_text("---\nlicense: other\nlicense_name: research-only\n---\n")
    assert hub.licence(str(tmp_path / "own")) == "research-only"


@pytest.mark.parametrize(
    ("name", "size_px", "message"),
    [
        ("dinov2", 75, r"steps of 14 px: 75 px leave a rest at the edge. Use pictures of 70 or 84 px"),
        ("convnext", 72, r"steps of 32 px: 72 px leave a rest at the edge. Use pictures of 64 or 96 px"),
        ("resnet", 65, r"steps of 32 px: 65 px leave a rest at the edge. Use pictures of 64 or 96 px"),
        ("siglip", 72, r"steps of 16 px: 72 px leave a rest at the edge. Use pictures of 64 or 80 px"),
        ("convnext", 4000, r"no size for its pictures"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_sizes_that_do(
    name: str, size_px: int, message: str, folders: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        hub.load(folders / name, size_px=size_px)


def changed(folder: Path, file: str, **values: object) -> Path:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def test_what_is_no_whole_picture_backbone_is_refused_by_name(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nobody/nothing' could not be loaded"):
        hub.load("nobody/nothing")
    small: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    text = checkpoints.save(tmp_path / "text", BertModel(BertConfig(vocab_size=9, **small)), None)
    with pytest.raises(ConfigError, match="does not say how it takes pictures: it has no preprocessor_config"):
        hub.load(text)
    shutil.copy(folders / "siglip" / "preprocessor_config.json", text)
    with pytest.raises(ConfigError, match="is a BertModel, which is no picture backbone"):
        hub.load(text)
    mixed = tmp_path / "mixed"
    shutil.copytree(folders / "resnet", mixed)
    shutil.copy(folders / "dinov2" / "model.safetensors", mixed)
    with pytest.raises(ConfigError, match="has no weights for"):
        hub.load(mixed)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_mean": [0.5]}, "does not say how it wants its colours"),
        ({"image_std": [0.5, 0.0, 0.5]}, "does not say how it wants its colours"),
        ({"rescale_factor": 1.0}, "another form than RGB"),
        ({"do_flip_channel_order": True}, "another form than RGB"),
        ({"size": {"shortest_edge": 8}}, "says no size for its pictures, or one of 8 px"),
    ],
)
def test_colours_that_cannot_be_folded_in_are_refused(
    values: dict[str, object], message: str, folders: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders / "convnext", copy)
    with pytest.raises(ConfigError, match=message):
        hub.load(changed(copy, "preprocessor_config.json", **values))


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs the package timm, .* pip install timm torchvision"):
        hub.load("timm/mobilenetv4_conv_small.e2400_r224_in1k")


@pytest.mark.parametrize(("name", "dim"), [("mobilenetv4_conv_small", 1312), ("vit_tiny_patch16_224", 192)])
def test_a_folder_of_timms_own_form(name: str, dim: int, tmp_path: Path) -> None:
    try:
        import timm
        from timm.models._hub import save_for_hf
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be loaded here: {error}")
    model = timm.create_model(name, pretrained=False)
    save_for_hf(model, tmp_path / name)
    backbone = hub.load(tmp_path / name)
    assert (backbone.grid, backbone.dim, backbone.licence) == (14, dim, "apache-2.0")
    with torch.no_grad():
        assert backbone(noise(backbone)).shape == (1, 196, dim)
    first = next(iter(model.state_dict()))
    (arrived,) = (each for key, each in backbone.state_dict().items() if key.endswith(f".{first}"))
    torch.testing.assert_close(arrived, model.state_dict()[first])
