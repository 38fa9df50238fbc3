"""How far a picture is from those that a model was taught on: what is far from all of them, its heads only guess at.

    tokens [b, p, dim], standardised → their mean [b, dim] → whitened [b, k] → distance to the nearest prototype / limit

Distances are of features of frozen eyes, not of brightness or colour. Whitened along the strongest directions, drawn
and real pictures lie apart (decision 49 has the shares); several prototypes, because what was taught may be
drawings and real streets, by day and at night. source: k-means; Lee et al., arXiv 1807.03888, for the idea
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

DIRECTIONS, PROTOTYPES = 128, 64
LIMIT_SHARE = 0.99
"""Of pictures like those that taught, this share is nearer than 1."""
SEED = 5


class Familiar(nn.Module):
    """Standardised tokens float [b, p, dim] → distances [b]; nothing is far before it was fitted."""

    mean: Tensor
    whiten: Tensor
    prototypes: Tensor
    limit: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        directions = min(DIRECTIONS, dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("whiten", torch.zeros(dim, directions))
        self.register_buffer("prototypes", torch.zeros(PROTOTYPES, directions))
        self.register_buffer("limit", torch.ones(1))

    def forward(self, tokens: Tensor) -> Tensor:
        at = (tokens.mean(1) - self.mean) @ self.whiten
        squares = (at[:, None] - self.prototypes).square().sum(-1)
        return squares.min(1).values.sqrt() / self.limit

    @torch.no_grad()
    def fit(self, summaries: NDArray[np.float32], held_out: NDArray[np.float32]) -> None:
        """Learn what is familiar.

        summaries: [n, dim], means of standardised tokens of what taught; held_out: [m, dim] of pictures like those
        raises: ValueError with fewer pictures than prototypes
        """
        if len(summaries) < PROTOTYPES or not len(held_out):
            raise ValueError(f"{len(summaries)} pictures are too few to say what is familiar")
        mean = summaries.mean(0)
        values, vectors = np.linalg.eigh(np.cov((summaries - mean).T))
        values, vectors = values[-DIRECTIONS:], vectors[:, -DIRECTIONS:]
        whiten = (vectors / np.sqrt(values.clip(1e-6))).astype(np.float32)
        centres, _ = kmeans2((summaries - mean) @ whiten, PROTOTYPES, minit="++", seed=SEED)
        for buffer, value in ((self.mean, mean), (self.whiten, whiten), (self.prototypes, centres)):
            buffer.copy_(torch.from_numpy(np.asarray(value, np.float32)))
        self.limit.fill_(1.0)
        distances = self(torch.from_numpy(np.asarray(held_out, np.float32))[:, None])
        self.limit.fill_(float(np.quantile(distances.numpy(), LIMIT_SHARE)))
