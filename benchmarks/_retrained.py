"""Pairs of bundles for the update benchmark: a model, and the same after a night's LoRA training.

The starter is really trained, with fewer steps than a night takes. The shape of SmolVLM2-256M has random weights; what
training does to it is played: low-rank changes of the same layers, of the size that training the starter really made.
Both are exported, quantised and told as a difference to the base as a night does it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.modeling_utils import PreTrainedModel

from exporters.onnx import delta
from exporters.onnx.bundle import GoldenChunk, Label, export_bundle
from server.gate import golden
from server.learn import lora
from server.learn.bases import STARTER_FOLDER, replay
from server.learn.batches import Layout
from server.learn.bundles import exportable
from server.learn.recipe import Recipe
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from shared import bundle
from shared.preprocess import Preprocessing

FRESH = 64
STEPS, REPLAY = 60, 400
# https://huggingface.co/HuggingFaceTB/SmolVLM2-256M-Video-Instruct/blob/main/config.json
VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 512, "patch_size": 16,
}  # fmt: skip
TEXT = {
    "model_type": "llama", "vocab_size": 49_280, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
    "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
}  # fmt: skip

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two bundles, and the adapter between them."""

    name: str
    old: Path
    new: Path
    adapter: dict[str, NDArray[np.float32]]
    """The LoRA matrices, and what was trained in full (connector and head), by name."""


def starter(folder: Path, progress: Progress) -> tuple[Pair, float]:
    """The starter and what it is after training; and how large the change of its weights was, as a share of them."""
    base = checkpoints.load(STARTER_FOLDER)
    chunks = golden.drawn(base)
    old = _exported(base, "starter-0", folder, chunks, progress)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    recipe = Recipe(steps=STEPS, replay=REPLAY)
    known = replay(base, Layout.of(base), recipe, progress, cache=folder / "replay")
    lora.train(base, known[:FRESH], known[FRESH:], recipe, folder / "training", progress=lambda text: None)
    new = _exported(base, "starter-1", folder, chunks, progress)
    changes = [
        float((value - before[name]).norm() / before[name].norm())
        for name, value in base.model.state_dict().items()
        if value.dim() == 2 and "text_model.layers" in name and not torch.equal(value, before[name])
    ]
    adapter = {
        name: tensor.float().numpy()
        for file in sorted((folder / "training" / "adapter").glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }
    return Pair("starter", old, new, adapter), float(np.median(changes))


def smolvlm_256m(folder: Path, change: float, progress: Progress) -> Pair:
    """The shape of SmolVLM2-256M with random weights, before and after low-rank changes of relative size `change`."""
    torch.manual_seed(1)
    starter_ = checkpoints.load(STARTER_FOLDER)
    config = SmolVLMConfig(
        image_token_id=starter_.model.config.image_token_id,
        tie_word_embeddings=False,
        scale_factor=4,
        vision_config=VISION,
        text_config=TEXT | {"eos_token_id": starter_.end_id},
    )
    model = SmolVLMForConditionalGeneration(config)
    preprocessing = Preprocessing(size_px=checkpoints.FIELD_TILE_PX, fit="pad")
    head = checkpoints.new_head(model, preprocessing, starter_.objects)
    base = Checkpoint(model, starter_.tokenizer, head, preprocessing, "SmolVLM2-256M (random)", "demo")
    progress(f"{sum(value.numel() for value in model.parameters()) / 1e6:.0f} million parameters")
    chunks = [GoldenChunk(chunk.image, chunk.object, chunk.side, chunk.must_stop) for chunk in golden.drawn(starter_)]
    old = _exported(base, "m256-0", folder, chunks, progress)
    adapter = _disturb(base, change)
    new = _exported(base, "m256-1", folder, chunks, progress)
    return Pair("smolvlm2-256m-shape", old, new, adapter)


def _exported(base: Checkpoint, version: str, folder: Path, chunks: Sequence[GoldenChunk], progress: Progress) -> Path:
    """As a night does it: the first is the base, what comes after is told as a difference to it."""
    first = not (folder / delta.QUANTISED).exists()
    small, full = (folder / (name if first else f"{version}-{name}") for name in (delta.QUANTISED, delta.FLOAT))
    what, label = exportable(base), _label(version, base)
    export_bundle(what, label, full, golden_chunks=chunks, quantised=False, progress=progress)
    manifest = export_bundle(what, label, small, golden_chunks=chunks, full=full, progress=progress)
    if not first and delta.write(folder, full, small, progress):
        bundle.write_bundle(small, manifest)
    return small


def _disturb(base: Checkpoint, change: float) -> dict[str, NDArray[np.float32]]:
    """What a training leaves: LoRA matrices on the layers that a night trains, another connector and another head."""
    recipe = Recipe()
    config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=lora.targets(base))
    adapted = get_peft_model(base.model, config)
    adapter: dict[str, NDArray[np.float32]] = {}
    with torch.no_grad():
        for name, layer in adapted.named_modules():
            if isinstance(layer, LoraLayer):
                prefix = f"{name}."
                mine = [item for item in adapted.named_parameters() if item[0].startswith(prefix)]
                weights = {key.removeprefix(prefix): value for key, value in mine}
                left, right = (weights[f"lora_{side}.default.weight"] for side in "AB")
                torch.nn.init.normal_(right)
                delta = (right @ left).norm() * recipe.alpha / recipe.rank
                right.mul_(change * weights["base_layer.weight"].norm() / delta)
                adapter |= {f"{name}.A": left.numpy().copy(), f"{name}.B": right.numpy().copy()}
        adapted.merge_and_unload()
        for name, weight in _trained_whole(base.model, base.head):
            weight.add_(torch.randn_like(weight) * weight.std() * change)
            adapter[name] = weight.detach().numpy().copy()
    return adapter


def _trained_whole(model: PreTrainedModel, head: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for part, module in (("connector", model.model.connector), ("head", head)):
        for name, weight in module.named_parameters():
            if weight.dim() > 1:
                yield f"{part}.{name}", weight


def _label(version: str, base: Checkpoint) -> Label:
    return Label(version, base.name, "", base.intended_use, dict(base.thresholds), 1_700_000_000.0)


def changed_share(pair: Pair, block_bytes: int) -> float:
    """Bytes of the new bundle in blocks of this size that the old one does not hold anywhere on the grid."""

    def blocks(folder: Path) -> Iterator[tuple[bytes, int]]:
        for entry in bundle.read_manifest(folder).files:
            if entry.path != bundle.BLOCKS_NAME:
                with open(folder / entry.path, "rb") as file:
                    while block := file.read(block_bytes):
                        yield hashlib.sha256(block).digest(), len(block)

    known = {digest for digest, _ in blocks(pair.old)}
    sizes = list(blocks(pair.new))
    return sum(size for digest, size in sizes if digest not in known) / sum(size for _, size in sizes)


logging.getLogger("torch.onnx").setLevel(logging.ERROR)
