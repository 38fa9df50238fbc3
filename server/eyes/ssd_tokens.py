"""The packaged eyes as a picture backbone: their maps as one grid of tokens. They find boxes in the same pass.

c4 [96, 19, 19], every second place beside its neighbours → 4 · 96   ┐
narrow [320, 10, 10]                                                 ┴→ tokens [100, 704], row by row
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  as everybody calls it
from torch import Tensor

from server.eyes import classes, packaged
from server.eyes.backbone import Backbone, quarters
from server.eyes.ssd_mobilenet import INPUT_PX, SsdOutput
from shared.preprocess import Preprocessing

GRID, DIM = 10, 4 * 96 + 320


class SsdTokens(Backbone):
    """[b, 3, 300, 300] → [b, 100, 704]."""

    def __init__(self, eyes: packaged.Eyes) -> None:
        record = eyes.record
        super().__init__(
            name=f"{record.name}, from {record.package} {record.version}",
            licence=record.licence,
            preprocessing=Preprocessing(INPUT_PX),
            dim=DIM,
            grid=GRID,
        )
        self.network = eyes.network
        self.names = classes.objects(record.labels)
        """By class of the detector: what it is called here; None = nothing is said about it."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """float32 [b, 3, 300, 300], as SsdMobileNet takes it → [b, 100, 704]"""
        return tokens(self.network(pixel_values))


def kept(home: Path) -> SsdTokens:
    """The packaged eyes that are kept in a server's home. Raises: ConfigError, BundleError, OSError."""
    return SsdTokens(packaged.load(home))


def tokens(seen: SsdOutput) -> Tensor:
    """[b, 100, 704] of what the detector saw."""
    return torch.cat((quarters(F.pad(seen.c4, (0, 1, 0, 1))), seen.narrow), 1).flatten(2).transpose(1, 2)
