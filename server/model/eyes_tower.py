"""A vision tower that stands on pretrained eyes: a frozen backbone's tokens instead of patches of pixels.

    pixel_values [b, 3, s, s] → backbone (frozen) → tokens [b, p, dim] → standardised → linear + place → [b, p, width]

It takes the place of the patch embedding of a SmolVLM-type tower, whose encoder layers follow as before. So everything
that trains, saves, adapts or exports such a model goes on as it is. Beside it: a head for the ground, and what is
familiar. On disk all of it but the backbone is `eyes.safetensors`; the backbone comes from where it is kept.

The backbone is any of `server.eyes`. The packaged one is a detector too: its boxes come from the same pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedModel

from server.eyes.backbone import Backbone
from server.eyes.ssd_tokens import SsdTokens, tokens
from server.model.familiar import Familiar
from shared.errors import ConfigError
from shared.runtime.look import BOX_SCORES, BOXES, DISTANCE, FEATURES, GROUND_LOGITS, HAZARDS
from shared.sight.ground import GROUND

FILE = "eyes.safetensors"
_BACKBONE = "backbone."


class EyesEmbeddings(nn.Module):
    """Stands where SmolVLMVisionEmbeddings stood."""

    mean: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone, *, width: int) -> None:
        super().__init__()
        dim, patches = backbone.dim, backbone.grid**2
        self.dim, self.backbone = dim, backbone.requires_grad_(False).eval()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.project = nn.Linear(dim, width)
        self.position = nn.Parameter(torch.randn(patches, width) * 0.02)

    def train(self, mode: bool = True) -> EyesEmbeddings:
        """The backbone stays in evaluation mode: batch norm and dropout of what is frozen must not change it."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pixel_values: Tensor, **_mask: Tensor) -> Tensor:
        """pixels float [b, 3, s, s], or what the backbone made of them [b, patches, dim] → [b, patches, width]

        _mask: which patches there are, as the tower gives it: here all
        """
        embedded: Tensor = self.project(self.standardised(pixel_values)) + self.position
        return embedded

    def standardised(self, pixel_values: Tensor) -> Tensor:
        """pixels or tokens, as `forward` takes them → [b, patches, dim]"""
        tokens = pixel_values if pixel_values.ndim == 3 else self.backbone(pixel_values)
        return (tokens - self.mean) / self.scale


class GroundHead(nn.Module):
    """What the ground is made of, place by place: features [b, patches, width] → logits [b, patches, classes]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classify = nn.Linear(width, len(GROUND))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classify(features)
        return logits


@dataclass(slots=True)
class Eyes:
    """What a model with pretrained eyes has beside its tower."""

    embeddings: EyesEmbeddings
    """The tower's own, which are one part of it."""
    ground: GroundHead
    familiar: Familiar

    @property
    def backbone(self) -> Backbone:
        return self.embeddings.backbone

    @property
    def detector(self) -> SsdTokens | None:
        """The backbone, where it finds boxes too."""
        backbone = self.embeddings.backbone
        return backbone if isinstance(backbone, SsdTokens) else None


class Seeing(nn.Module):
    """One pass over a picture, as look.onnx has it: boxes where the eyes find
    them, and what the heads say on the tower's features."""

    def __init__(self, tower: nn.Module, eyes: Eyes, hazards: nn.Module) -> None:
        """tower: the model's own, over `eyes`; hazards: its hazard head"""
        super().__init__()
        self.tower, self.hazards = tower, hazards
        self.detector = None if eyes.detector is None else eyes.detector.network
        self.embeddings, self.ground, self.familiar = eyes.embeddings, eyes.ground, eyes.familiar
        self.config = None

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """float [1, 3, s, s] → the outputs of shared.runtime.look, by name"""
        boxes = dict[str, Tensor]()
        if self.detector is None:
            found = self.embeddings.backbone(pixel_values)
        else:
            seen = self.detector(pixel_values)
            found = tokens(seen)
            boxes = {BOXES: seen.boxes, BOX_SCORES: seen.class_logits.sigmoid()}
        features = features_of(self.tower, found)
        return {
            **boxes,
            HAZARDS: self.hazards(features)[1],
            FEATURES: features,
            GROUND_LOGITS: self.ground(features),
            DISTANCE: self.familiar(self.embeddings.standardised(found)),
        }


def features_of(tower: nn.Module, found: Tensor) -> Tensor:
    """The tower's features [b, p, width] of what its eyes made of pictures, [b, p, dim]."""
    grid = math.isqrt(found.shape[1])
    everything = torch.ones(len(found), grid, grid, dtype=torch.bool)
    features: Tensor = tower(pixel_values=found, patch_attention_mask=everything).last_hidden_state
    return features


def give(model: PreTrainedModel, backbone: Backbone) -> Eyes:
    """Put a SmolVLM-type model onto pretrained eyes, everything on top untaught. Raises: ConfigError."""
    config = model.config.vision_config
    patches = (int(config.image_size) // int(config.patch_size)) ** 2
    if patches != backbone.grid**2:
        raise ConfigError(f"The tower has {patches} places, the eyes {backbone.grid**2}: they do not belong together.")
    width = int(config.hidden_size)
    embeddings = EyesEmbeddings(backbone, width=width)
    model.model.vision_model.embeddings = embeddings
    return Eyes(embeddings, GroundHead(width), Familiar(backbone.dim))


def save(eyes: Eyes, folder: Path, *, dtype: torch.dtype) -> None:
    """Write all but the backbone into a checkpoint's folder. Raises: OSError."""
    save_file({name: value.detach().to(dtype).contiguous() for name, value in _taught(eyes).items()}, folder / FILE)


def load(eyes: Eyes, folder: Path) -> None:
    """Read what `save` wrote. Raises: ConfigError where it does not fit; OSError."""
    held = {name: value.float() for name, value in load_file(folder / FILE).items()}
    if held.keys() != (own := _taught(eyes)).keys() or any(held[name].shape != own[name].shape for name in own):
        raise ConfigError(f"{folder / FILE} does not belong to these eyes.", hint="Use the eyes it was taught on.")
    for name, module in _modules(eyes).items():
        part = {key.removeprefix(f"{name}."): value for key, value in held.items() if key.startswith(f"{name}.")}
        module.load_state_dict(part, strict=False)  # the backbone's own weights are not among them


def _modules(eyes: Eyes) -> dict[str, nn.Module]:
    return {"embeddings": eyes.embeddings, "ground": eyes.ground, "familiar": eyes.familiar}


def _taught(eyes: Eyes) -> dict[str, Tensor]:
    found = dict[str, Tensor]()
    for name, module in _modules(eyes).items():
        found |= {f"{name}.{key}": value for key, value in module.state_dict().items() if not key.startswith(_BACKBONE)}
    return found
