"""What a night's training does, in numbers; and how many steps it takes for so many rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bf16"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The defaults are for the starter on two cores; server.learn.presets has others."""

    rank: int = 16
    """Rank of the adapters on the decoder's linear layers."""
    alpha: int = 32
    """Scale of the adapters: alpha / rank."""
    dropout: float = 0.0
    """Share of an adapter's inputs that is left out, by lot, while it learns."""
    dora: bool = False
    """Adapters that learn direction and length apart (DoRA, arXiv 2402.09353)."""
    rslora: bool = False
    """Scale of the adapters: alpha / √rank (rsLoRA, arXiv 2312.03732)."""
    connector: Literal["full", "lora", "frozen"] = "full"
    """How the connector learns: all of its weights, through an adapter, or not at all."""
    steps: int = 240
    """Optimiser steps."""
    batch: int = 32
    """Rows of one forward pass."""
    accumulate: int = 1
    """Forward passes of one step."""
    rate: float = 2e-3
    """Highest learning rate of the adapters."""
    connector_rate: float = 5e-4
    """Highest learning rate of the connector, in a parameter group of its own."""
    head_rate: float = 2e-3
    """Highest learning rate of the hazard head, and of the ground head."""
    ear_rate: float = 2e-3
    """Highest learning rate of what turns sound into something the decoder can use, where the model hears."""
    new_share: float = 0.3
    """Share of each batch that comes from the dataset; the rest replays what the base knew."""
    masks: str = ""
    """Folders of masks of the ground (LearnSettings.masks)."""
    mask_pictures: int = 600
    """Pictures of them, at most."""
    mask_share: float = 0.15
    """Share of each batch that comes from them, where there are any."""
    variations: int = 24
    """Views of each dataset picture: mirrored, brighter, shifted, noisier …"""
    alike_bits: int = 4
    """Moments of one walk with the same label are one to the lot where their pictures differ in at most so many of the
    64 bits of a difference hash."""
    views_most: int | None = None
    """Different views of dataset pictures, at most: what the feature cache has room for. None = it has no bound."""
    replay: int = 4000
    """Rendered frames replayed, for a base that was trained on rendered walks."""
    held_share: float = 0.1
    """Share of the rows that is held back to see how well the training goes on, where there are enough."""
    patience: int = 3
    """The training stops after so many epochs in a row without a lower loss on them."""
    device: DeviceName = "auto"
    precision: Precision = "auto"
    """Of products while it trains; weights are float32."""
    gradient_checkpointing: bool = False
    """Compute activations again on the way back instead of keeping them: less memory, more time."""
    threads: int = 2
    """CPU threads."""
    seed: int = 7

    @property
    def rows_a_step(self) -> int:
        return self.batch * self.accumulate

    def draws(self, *, replay: bool) -> int:
        """How many different views of dataset pictures a night draws, at most."""
        drawn = math.ceil(self.steps * self.rows_a_step * (self.new_share if replay else 1.0))
        return drawn if self.views_most is None else min(drawn, self.views_most)

    def epoch_steps(self, rows: int, *, replay: bool) -> int:
        """Steps in which so many rows are each drawn about once."""
        return math.ceil(rows / (self.rows_a_step * (self.new_share if replay else 1.0)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a night trains: so many epochs of its rows, within bounds."""

    epochs: float
    """Times that each row is drawn, in one of its views."""
    least: int
    """Optimiser steps, at least: few rows are drawn many times, in other views."""
    most: int
    """Optimiser steps, at most: what is not drawn in one night is in the next."""

    def steps(self, rows: int, recipe: Recipe, *, replay: bool) -> int:
        """Optimiser steps for so many rows."""
        wanted = math.ceil(self.epochs * rows / (recipe.rows_a_step * (recipe.new_share if replay else 1.0)))
        return max(self.least, min(wanted, self.most))
