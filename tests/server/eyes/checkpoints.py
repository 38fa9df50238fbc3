"""Small checkpoints with random weights, of the hub's classes, saved as their publishers save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessorPil,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DFineConfig,
    DFineForObjectDetection,
    Dinov2Config,
    Dinov2Model,
    DPTImageProcessorPil,
    HGNetV2Config,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    Swinv2Config,
    Swinv2ForImageClassification,
    ViTImageProcessorPil,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessorPil,
)

from server.eyes import zero_shot

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
    config = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1])
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


def clip_with_words(folder: Path) -> Path:
    """Both halves of a CLIP, and a tokenizer that knows a few words."""
    words = ["<pad>", "<unk>", "<end>", *sorted(set(" ".join(zero_shot.SENTENCES.values()).split()))]
    tokens = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 2)])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own gap
        tokenizer_object=tokens, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", model_max_length=32
    )
    text: dict[str, Any] = {**_SMALL, "vocab_size": len(words), "max_position_embeddings": 32, "eos_token_id": 2}
    vision: dict[str, Any] = {**_SMALL, "image_size": 64, "patch_size": 16}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    tokenizer.save_pretrained(folder)
    return save(folder, model, ViTImageProcessorPil(size=square(64), **IMAGENET), licence="mit")


LABELS = ("person", "car", "toothbrush")
_NAMED: dict[str, Any] = {
    "id2label": dict(enumerate(LABELS)), "label2id": {name: at for at, name in enumerate(LABELS)},
}  # fmt: skip
_SMALL_DETR: dict[str, Any] = {
    "encoder_hidden_dim": 16, "encoder_in_channels": [8, 12, 16], "feat_strides": [8, 16, 32], "encoder_layers": 1,
    "encoder_ffn_dim": 16, "encoder_attention_heads": 2, "d_model": 16, "num_queries": 12, "decoder_layers": 2,
    "decoder_ffn_dim": 16, "decoder_attention_heads": 2, "decoder_in_channels": [16, 16, 16], "num_denoising": 0,
}  # fmt: skip
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 8, 12, 16], "depths": [1, 1, 1, 1], "out_indices": [2, 3, 4]}


def _opinionated(model: Any) -> Any:
    """With surer scores and larger boxes than chance gives: something is seen."""
    decoder = model.model.decoder
    first = getattr(decoder, "pre_bbox_head", None)
    larger = [layer.layers[-1].bias for layer in ([first] if first is not None else decoder.bbox_embed)]
    with torch.no_grad():
        for bias in larger:
            bias[2:] += 1.0
        for head in decoder.class_embed:
            head.bias.copy_(torch.tensor([2.0, 1.0, -0.5]))
    return model


def rtdetr(folder: Path) -> Path:
    eyes = RTDetrResNetConfig(embedding_size=8, layer_type="basic", **_STAGES)
    model = RTDetrForObjectDetection(RTDetrConfig(backbone_config=eyes, **_SMALL_DETR, **_NAMED))
    return save(folder, _opinionated(model), RTDetrImageProcessorPil(size=square(64)), licence="apache-2.0")


def dfine(folder: Path) -> Path:
    quarter: dict[str, Any] = {f"stage_{name}": [1, 1, 1, 1] for name in ("num_blocks", "numb_of_layers")}
    eyes = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 8, 12],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 8, 12, 16],
        **quarter,
        **_STAGES,
    )
    model = DFineForObjectDetection(DFineConfig(backbone_config=eyes, **_SMALL_DETR, **_NAMED))
    return save(folder, _opinionated(model), RTDetrImageProcessorPil(size=square(64)))


def yolos(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """Scores of its own kind: one class more, which stands for none."""
    named: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: at for at, name in enumerate(labels)},
    }
    config = YolosConfig(**_SMALL, image_size=[64, 64], num_detection_tokens=5, **named)
    return save(
        folder, YolosForObjectDetection(config), YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    )


def depth_anything(folder: Path) -> Path:
    eyes = Dinov2Config(
        **{**_SMALL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]},
        image_size=56,
        patch_size=14,
        mlp_ratio=1,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=eyes,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    processor = DPTImageProcessorPil(size=square(56), keep_aspect_ratio=True, ensure_multiple_of=14, **IMAGENET)
    return save(folder, DepthAnythingForDepthEstimation(config), processor, licence="apache-2.0")


MAKERS: dict[str, Callable[[Path], Path]] = {
    make.__name__: make for make in (dinov2, convnext, swinv2, resnet, siglip, clip)
}


TEACHERS: dict[str, Callable[[Path], Path]] = {make.__name__: make for make in (rtdetr, dfine, yolos, depth_anything)}


def made(name: str, folder: Path) -> Path:
    """The same weights every time."""
    torch.manual_seed(7)
    return {**MAKERS, **TEACHERS}[name](folder / name)
