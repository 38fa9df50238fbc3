"""Small graphs out of one SmolVLM-type model, by transformers' own ONNX exporter.

    vision_encoder          pixel_values [1, 3, s, s]  → image_features [1, n, e], hazard_logits [1, objects, sides]
                            or features [1, p, d], where a look network has them → image_features [1, n, e]
    audio_encoder           input_features [1, bands, frames] → audio_features [1, 1, e], where the model hears
    embed_tokens            input_ids [1, t]           → inputs_embeds [1, t, e]
    decoder_model_merged    inputs_embeds [1, t, e], attention_mask [1, past + t], past …, logits_to_keep [1]
                                                       → logits [1, logits_to_keep, vocabulary], present …

The decoder is captured once, at past=5 and query=3, and serves prefill and decoding; exporters.onnx.lean then rewrites
it for a KV cache in place. Not `export_for_generation`: on SmolVLM it leaves the vision encoder out without a word
(docs/adr/0003).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter

from exporters.onnx.lean import lean
from exporters.onnx.quiet import quiet
from shared import mel

PAST, QUERY = 5, 3


class _Vision(nn.Module):
    def __init__(self, model: PreTrainedModel, head: nn.Module) -> None:
        super().__init__()
        self.tower, self.connector, self.head = model.model.vision_model, model.model.connector, head
        self.config = model.config

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        features = self.tower(pixel_values=pixel_values).last_hidden_state
        return {"image_features": self.connector(features), "hazard_logits": self.head(features)[1]}


class _Connector(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.connector, self.config = model.model.connector, model.config

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"image_features": self.connector(features)}


class _Audio(nn.Module):
    def __init__(self, ear: nn.Module) -> None:
        super().__init__()
        self.ear, self.config = ear, ear.config

    def forward(self, input_features: Tensor) -> dict[str, Tensor]:
        return {"audio_features": self.ear(input_features)}


class _Embed(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.embed, self.config = model.get_input_embeddings(), model.config

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        return {"inputs_embeds": self.embed(input_ids)}


class _Decoder(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.text, self.lm_head, self.config = model.model.text_model, model.lm_head, model.config.text_config

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor, past_key_values: DynamicCache
    ) -> dict[str, Any]:
        out = self.text(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=True,
        )
        return {"logits": self.lm_head(out.last_hidden_state), "past_key_values": out.past_key_values}


def export_graphs(
    model: PreTrainedModel, head: nn.Module, folder: Path, *, size_px: int, of_features: bool = False
) -> None:
    """Write vision_encoder.onnx, embed_tokens.onnx and decoder_model_merged.onnx (float32) into `folder`.

    model: SmolVLM-type, in float32; head: patch features → (patch logits, hazard logits); size_px: side of the tile
    of_features: the vision encoder takes what a look network made of the picture
    raises: OSError; whatever torch.export raises for a model it cannot trace
    """
    model.eval()  # type: ignore[no-untyped-call]  # transformers' own gap
    head.eval()
    fixed, dynamic = OnnxConfig(ort_fusions="cpu"), OnnxConfig(dynamic=True, ort_fusions="cpu")
    vision = model.config.vision_config
    seen: dict[str, Tensor] = {"pixel_values": torch.randn(1, 3, size_px, size_px)}
    if of_features:
        seen = {"features": torch.randn(1, (size_px // vision.patch_size) ** 2, vision.hidden_size)}
    sight = _Connector(model) if of_features else _Vision(model, head)
    ids = {"input_ids": torch.zeros(1, QUERY, dtype=torch.long)}
    with quiet():
        write_graph(sight, seen, fixed, folder / "vision_encoder.onnx")
        write_graph(_Embed(model), ids, dynamic, folder / "embed_tokens.onnx")
    export_decoder(model, folder / "decoder_model_merged.onnx")
    lean(folder / "decoder_model_merged.onnx", model.model.text_model.rotary_emb)


def export_decoder(model: PreTrainedModel, file: Path) -> None:
    """Write the decoder as the exporter gives it, before `lean`.

    raises: OSError; whatever torch.export raises for a model it cannot trace
    """
    text = model.config.text_config
    past = DynamicCache(config=text)
    heads, width = text.num_key_value_heads, getattr(text, "head_dim", text.hidden_size // text.num_attention_heads)
    for layer in range(text.num_hidden_layers):
        past.update(torch.randn(1, heads, PAST, width), torch.randn(1, heads, PAST, width), layer)
    inputs = {
        "inputs_embeds": torch.randn(1, QUERY, text.hidden_size),
        "attention_mask": torch.ones(1, PAST + QUERY, dtype=torch.long),
        "position_ids": torch.arange(PAST, PAST + QUERY)[None],
        "past_key_values": past,
    }
    with quiet():
        write_graph(_Decoder(model), inputs, OnnxConfig(dynamic=True, ort_fusions="cpu"), file)


def export_ear(ear: nn.Module, folder: Path) -> None:
    """Write audio_encoder.onnx (float32) into `folder`.

    ear: log-mel [b, bands, frames] → [b, 1, e], already gated; its `config`, a WhisperConfig, says how much it hears
    raises: OSError; whatever torch.export raises for a model it cannot trace
    """
    config: Any = ear.config
    heard = {"input_features": torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions)}
    with quiet():
        write_graph(_Audio(ear), heard, OnnxConfig(ort_fusions="cpu"), folder / mel.ENCODER)


def write_graph(module: nn.Module, inputs: dict[str, Any], config: OnnxConfig, file: Path) -> None:
    """Write one module as a graph. inputs: examples, by the names that the graph's inputs get. Raises: OSError."""
    with torch.no_grad(), _heap_set_aside():
        exporter: Any = OnnxExporter  # typed for whole models; a module with the parts it needs serves as well
        exported = exporter().export(module.eval(), inputs, config=config)
    onnx_ir.save(exported.program, str(file))


@contextmanager
def _heap_set_aside() -> Iterator[None]:
    """The collector leaves alone what was there before: tracing makes it run often, and each time through all of torch
    and transformers, for a fifth of an export's time. What the export itself leaves behind is still collected."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
