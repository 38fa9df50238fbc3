"""What the ground is made of, by cells of a coarse grid over the picture: one list for drawings and models."""

from __future__ import annotations

GROUND = (
    "unknown", "walkable", "road", "curb", "step up", "step down", "drop", "crosswalk", "grass", "water", "obstacle",
)  # fmt: skip
"""The classes, in the order of a look network's `ground_logits`. "obstacle": what stands upright, walls included."""
