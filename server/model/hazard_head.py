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
from collections.abc import Sequence

import torch
from torch import Tensor, nn

UNTAUGHT = -2.0
"""Logit of what was never taught: a score near 0.1."""


class HazardHead(nn.Module):
    """features [b, patches, dim] → (patch logits [b, patches, objects + 1], hazard logits [b, objects, sides])."""

    def __init__(self, dim: int, patches: int, objects: int, sides: int) -> None:
        super().__init__()
        self.sizes = dim, patches, objects, sides
        self.patch = nn.Linear(dim, objects + 1)
        self.reach = nn.Linear(dim, objects * sides)
        nn.init.zeros_(self.reach.weight)
        nn.init.zeros_(self.reach.bias)
        self.place = nn.Parameter(torch.zeros(objects, sides, patches))
        self.scale = nn.Parameter(torch.ones(objects, 1))
        # The log-sum-exp of nothing is log(patches): taken off, so that an untaught head scores every hazard near 0.1.
        self.bias = nn.Parameter(torch.full((objects, sides), UNTAUGHT - math.log(patches)))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """float [b, patches, dim] → (logits [b, patches, 1 + objects], hazard logits [b, objects, sides])."""
        patch_logits = self.patch(features)
        evidence = (patch_logits[..., 1:] - patch_logits[..., :1]).transpose(1, 2)  # [b, objects, patches]
        reach = self.reach(features).transpose(1, 2).unflatten(1, self.place.shape[:2])  # [b, objects, sides, patches]
        placed = evidence.unsqueeze(2) + self.place + reach
        pooled = torch.logsumexp(placed, dim=-1)
        return patch_logits, pooled * self.scale + self.bias

    @torch.no_grad()
    def grown(self, more: int, *, like: Sequence[int]) -> HazardHead:
        """This head with untaught rows for `more` objects behind its own.

        A new object looks like nothing, so that it scores near 0.1 in every picture, and has the mean place prior of
        the objects `like`: where "on the left" is need not be learnt again. Deterministic.
        """
        dim, patches, objects, sides = self.sizes
        head = HazardHead(dim, patches, objects + more, sides)
        head.patch.weight.copy_(torch.cat([self.patch.weight, self.patch.weight[:1].expand(more, -1)]))
        head.patch.bias.copy_(torch.cat([self.patch.bias, self.patch.bias[:1].expand(more)]))
        head.reach.weight[: objects * sides] = self.reach.weight
        head.reach.bias[: objects * sides] = self.reach.bias
        head.place[:objects], head.place[objects:] = self.place, self.place[list(like)].mean(0)
        head.scale[:objects] = self.scale
        head.bias[:objects], head.bias[objects:] = self.bias, UNTAUGHT - head.place[objects:].logsumexp(-1)
        return head
