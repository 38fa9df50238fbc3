"""The packaged eyes as a picture backbone: their maps as one grid of tokens.

c4 [96, 19, 19], every second place beside its neighbours → 4 · 96   ┐
narrow [320, 10, 10]                                                 ┴→ tokens [100, 704], row by row
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  as everybody calls it
from torch import Tensor, nn

from server.eyes.ssd_mobilenet import INPUT_PX, SsdMobileNet, SsdOutput
from shared.preprocess import Preprocessing

GRID, DIM = 10, 4 * 96 + 320


class SsdTokens(nn.Module):
    """[b, 3, 300, 300] → [b, 100, 704]."""

    grid, dim = GRID, DIM
    preprocessing = Preprocessing(INPUT_PX)

    def __init__(self, network: SsdMobileNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        """float32 [b, 3, 300, 300], as SsdMobileNet takes it → [b, 100, 704]"""
        return tokens(self.network(pixel_values))


def tokens(seen: SsdOutput) -> Tensor:
    """[b, 100, 704] of what the detector saw."""
    padded = F.pad(seen.c4, (0, 1, 0, 1))
    # Not pixel_unshuffle: its export to ONNX puts the channels in another order than it does itself.
    quarters = [padded[..., down::2, right::2] for down in (0, 1) for right in (0, 1)]
    return torch.cat((*quarters, seen.narrow), 1).flatten(2).transpose(1, 2)
