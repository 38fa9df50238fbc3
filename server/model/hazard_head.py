"""The hazard head: a score for every (object, side) from the same patch features that become image tokens.

    patch features [b, p, d] → object logits per patch [b, p, objects]      (linear; dense supervision from masks)
                             → + place prior + reach of what is there       (which patches count for which side)
                             → log-sum-exp over patches → hazard logits [b, objects, sides]

The place prior [objects, sides, patches] learns that "ahead" means the middle columns and that near means low in the
picture. The reach, linear in the features, tells a thing at hand from the same thing far off, which a mask does not.
The log-sum-exp is a soft maximum, so that one patch of evidence is enough (multiple-instance learning, Pinheiro &
Collobert 2015). New objects can therefore be learnt from sentences alone, without masks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class HazardHead(nn.Module):
    """features [b, patches, dim] → (patch logits [b, patches, objects + 1], hazard logits [b, objects, sides])."""

    def __init__(self, dim: int, patches: int, objects: int, sides: int) -> None:
        super().__init__()
        self.patch = nn.Linear(dim, objects + 1)
        self.reach = nn.Linear(dim, objects * sides)
        nn.init.zeros_(self.reach.weight)
        nn.init.zeros_(self.reach.bias)
        self.place = nn.Parameter(torch.zeros(objects, sides, patches))
        self.scale = nn.Parameter(torch.ones(objects, 1))
        # The log-sum-exp of nothing is log(patches): taken off, so that an untaught head scores every hazard near 0.1.
        self.bias = nn.Parameter(torch.full((objects, sides), -2.0 - math.log(patches)))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        patch_logits = self.patch(features)
        evidence = (patch_logits[..., 1:] - patch_logits[..., :1]).transpose(1, 2)  # [b, objects, patches]
        reach = self.reach(features).transpose(1, 2).unflatten(1, self.place.shape[:2])  # [b, objects, sides, patches]
        placed = evidence.unsqueeze(2) + self.place + reach
        pooled = torch.logsumexp(placed, dim=-1)
        return patch_logits, pooled * self.scale + self.bias
