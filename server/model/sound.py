"""What a model hears: two seconds of log-mel become one vector that is added to every image token.

    log-mel [b, bands, frames] → frozen Whisper-type encoder → states [b, frames / 2, d]
        → mean and maximum over time [b, 2d]           (a horn lasts a tenth of the time: a mean alone loses it)
        → less the usual, in units of how it varies    (what all sounds share would drown what tells them apart)
        → projection [b, 1, e] · tanh(gate)            (gate begins at 0: an untaught ear changes nothing, to the bit)

The encoder is any Whisper-type checkpoint, cut from 30 s to the two that are heard: its positions are fixed sinusoids,
so the first hundred serve as they are, and hearing costs a twelfth (docs/adr/0025). Only projection and gate learn.

source of the gate: Flamingo, arXiv 2204.14198, section 2.2
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, WhisperConfig, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from shared import mel
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError

FOLDER, PROJECTION_FILE = "audio_encoder", "audio_projection.safetensors"
SEED = 16
LEAST, MOST = 0.01, 5.0
"""Variation that any part of what is heard is taken to have (Whisper's are near 1), and how unusual it may count."""
Sound = NDArray[np.float32]


class Ear(nn.Module):
    """log-mel [b, bands, frames] → what is added to every image token [b, 1, width]."""

    usual: Tensor
    spread: Tensor

    def __init__(self, encoder: WhisperEncoder, width: int, *, frames: int = mel.FRAMES) -> None:
        super().__init__()
        self.encoder = _shortened(encoder, frames).requires_grad_(False)
        self.encoder.train(mode=False)
        self.project = nn.Linear(2 * int(encoder.config.d_model), width)
        self.gate = nn.Parameter(torch.zeros(()))
        pooled = 2 * int(encoder.config.d_model)
        self.register_buffer("usual", torch.zeros(pooled))
        self.register_buffer("spread", torch.ones(pooled))

    @property
    def config(self) -> WhisperConfig:
        config: WhisperConfig = self.encoder.config
        return config

    @property
    def taught(self) -> bool:
        """Whether it changes anything."""
        return bool(self.gate != 0)

    def train(self, mode: bool = True) -> Ear:
        """The encoder stays as it was trained: no dropout, no left-out layers."""
        super().train(mode)
        self.encoder.train(mode=False)
        return self

    def forward(self, input_features: Tensor) -> Tensor:
        """Log-mel [b, bands, frames] → what is added to every image token [b, 1, dim]."""
        return self.gated(self.pool(input_features))

    def pool(self, input_features: Tensor) -> Tensor:
        """Frozen: log-mel [b, bands, frames] → [b, 2d]; may be computed once per sound."""
        states = self.encoder(input_features).last_hidden_state
        return torch.cat([states.mean(1), states.amax(1)], dim=-1)

    def gated(self, pooled: Tensor) -> Tensor:
        """Trained: [b, 2d] → [b, 1, width]."""
        unusual = ((pooled - self.usual) / self.spread).clamp(-MOST, MOST)
        projected: Tensor = self.project(unusual.unsqueeze(1)) * torch.tanh(self.gate)
        return projected

    def settle(self, pooled: Tensor) -> None:
        """Take what is usual from the sounds that teach, [n, 2d]. One sound alone says nothing of how it varies."""
        if len(pooled) > 1:
            self.usual.copy_(pooled.mean(0))
            self.spread.copy_(pooled.std(0) + LEAST)

    def features(self, sounds: Sequence[Sound]) -> Tensor:
        """Sounds, float32 [samples] at 16 kHz each → log-mel [b, bands, frames]. Raises: MediaError."""
        bands, frames = int(self.config.num_mel_bins), 2 * int(self.config.max_source_positions)
        return torch.from_numpy(np.stack([mel.log_mel(sound, bands=bands, frames=frames) for sound in sounds]))


def fresh(name_or_folder: str | Path, width: int, *, frames: int = mel.FRAMES) -> Ear:
    """An untaught ear over the encoder of a Whisper-type checkpoint, by hub name or folder.

    width: length of the image tokens that its vector is added to
    raises: ConfigError where there is no such checkpoint
    """
    name = str(name_or_folder)
    local = Path(name).exists()
    try:
        kind = AutoConfig.from_pretrained(name, local_files_only=local).model_type
        if kind != "whisper":  # its weights would not fit, and an encoder of random ones would hear noise
            raise ValueError(f"it is a model of type {kind}")
        whisper = WhisperModel.from_pretrained(name, dtype=torch.float32, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"The audio encoder {name!r} could not be loaded: {error}",
            hint="Set learn.audio_encoder to a Whisper-type model on the hub, to a folder with one, or to nothing.",
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # the same projection every night: a night that was cut goes on from its own
        return Ear(whisper.encoder, width, frames=frames)


def save(ear: Ear, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Into a checkpoint's folder: encoder as save_pretrained writes it, projection beside it. Raises: OSError."""
    state = {name: value.to(dtype) for name, value in ear.encoder.state_dict().items()}
    ear.encoder.save_pretrained(folder / FOLDER, state_dict=state)
    save_projection(ear, folder / PROJECTION_FILE, dtype=dtype)


def save_projection(ear: Ear, file: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """What was trained."""
    parts = {name: value for name, value in ear.state_dict().items() if not name.startswith("encoder.")}
    save_file({name: value.to(dtype).contiguous() for name, value in parts.items()}, file)


def load(folder: Path, width: int) -> Ear | None:
    """What `save` wrote into a checkpoint's folder; None for a checkpoint that hears nothing. Raises: OSError."""
    if not (folder / FOLDER).is_dir():
        return None
    encoder = WhisperEncoder.from_pretrained(folder / FOLDER, dtype=torch.float32)
    ear = Ear(encoder, width, frames=2 * int(encoder.config.max_source_positions))
    load_projection(ear, folder / PROJECTION_FILE)
    return ear


def load_projection(ear: Ear, file: Path) -> None:
    """What `save_projection` wrote. Raises: RuntimeError where it is another ear's; OSError."""
    parts = {name: value.float() for name, value in load_file(file).items()}
    ear.load_state_dict({**ear.encoder.state_dict(prefix="encoder."), **parts})


def _shortened(encoder: WhisperEncoder, frames: int) -> WhisperEncoder:
    """Listen to `frames` of log-mel instead of 30 s. Raises: ConfigError where the encoder is made for less."""
    positions = frames // 2
    weights = encoder.embed_positions.weight
    if len(weights) < positions:
        raise ConfigError(
            f"The audio encoder listens to {len(weights) * 2 * mel.HOP / SAMPLE_RATE_HZ:g} s, "
            f"{frames * mel.HOP / SAMPLE_RATE_HZ:g} s are needed.",
            hint="Use an encoder as Whisper's, which listens to 30 s.",
        )
    kept = weights[:positions].detach().clone()
    encoder.embed_positions = nn.Embedding(positions, kept.shape[1], _weight=kept, _freeze=True)
    encoder.config.max_source_positions = encoder.max_source_positions = positions
    return encoder
