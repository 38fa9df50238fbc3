"""Small checkpoints with random weights, of the hub's classes, saved as their publishers save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BitImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    Swinv2Config,
    Swinv2ForImageClassification,
    ViTImageProcessorPil,
)

IMAGENET: dict[str, Any] = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip


def save(folder: Path, model: Any, processor: Any | None, *, licence: str = "") -> Path:
    """A folder as `hf download` makes one."""
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n# A model\n")
    return folder


def square(size_px: int) -> dict[str, int]:
    return {"height": size_px, "width": size_px}


def dinov2(folder: Path) -> Path:
    """Published with resize and crop, and without a head."""
    model = Dinov2Model(Dinov2Config(**{**_SMALL, "num_hidden_layers": 3}, image_size=98, patch_size=14, mlp_ratio=1))
    crop = BitImageProcessorPil(size={"shortest_edge": 84}, crop_size=square(70), **IMAGENET)
    return save(folder, model, crop, licence="apache-2.0")


def convnext(folder: Path) -> Path:
    """Published as a classifier."""
    config = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1], num_labels=3)
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 64}, **IMAGENET)
    return save(folder, ConvNextForImageClassification(config), processor)


def swinv2(folder: Path) -> Path:
    config = Swinv2Config(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], image_size=64, window_size=2)
    return save(folder, Swinv2ForImageClassification(config), ViTImageProcessorPil(size=square(64), **IMAGENET))


def resnet(folder: Path) -> Path:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic")
    return save(
        folder, ResNetForImageClassification(config), ConvNextImageProcessorPil(size={"shortest_edge": 64}, **IMAGENET)
    )


def siglip(folder: Path) -> Path:
    """The whole model, text and all."""
    vision = SiglipVisionConfig(**_SMALL, image_size=64, patch_size=16).to_dict()
    text = SiglipTextConfig(**_SMALL, vocab_size=20, bos_token_id=1, eos_token_id=2).to_dict()
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    return save(folder, model, SiglipImageProcessorPil(size=square(64)), licence="apache-2.0")


def clip(folder: Path) -> Path:
    """The vision half alone; its first token stands for the whole picture."""
    model = CLIPVisionModel(CLIPVisionConfig(**_SMALL, image_size=64, patch_size=16))
    return save(folder, model, ViTImageProcessorPil(size=square(64), **IMAGENET))


MAKERS: dict[str, Callable[[Path], Path]] = {
    make.__name__: make for make in (dinov2, convnext, swinv2, resnet, siglip, clip)
}


def made(name: str, folder: Path) -> Path:
    """The same weights every time."""
    torch.manual_seed(7)
    return MAKERS[name](folder / name)
