"""How sure a sentence and a hazard are, as probabilities that hold: of those with 0.8, 8 in 10 are right.

A network is surer, or less sure, than it is right. The few numbers that mend it are fitted on held-out answers when a
bundle is made, and travel in the manifest as `model["calibration"]`; the runtime applies them, so that thresholds mean
the same for every model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEAR = 1e-6  # a probability that rounding made 0 or 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The default changes nothing, bit for bit.

    source: Guo et al. 2017, arXiv 1706.04599, for right and wrong; Platt 1999 for the hazards
    """

    temperature: float = 1.0
    """Of sentences: the log-odds of the least certain token are divided by it."""
    hazard_scale: float = 1.0
    """Of hazards: their logits are multiplied by it …"""
    hazard_bias: float = 0.0
    """… and this is added."""

    def sentence(self, probability: float) -> float:
        """Probability that a sentence is right, from that of its least certain token; 0.5 stays 0.5."""
        if self.temperature == 1.0:
            return probability
        return _sigmoid(_log_odds(probability) / self.temperature)

    def hazards(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of the hazard head, float32 [...] → probabilities that the things are there, float64 [...]."""
        scores: NDArray[np.float64] = 1.0 / (
            1.0 + np.exp(-(logits.astype(np.float64) * self.hazard_scale + self.hazard_bias))
        )
        return scores

    def hazard(self, score: float) -> float:
        """The same for one score of an uncalibrated bundle, 0..1."""
        if (self.hazard_scale, self.hazard_bias) == (1.0, 0.0):
            return score
        return _sigmoid(_log_odds(score) * self.hazard_scale + self.hazard_bias)

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Calibration:
        """Read it from a manifest; {} changes nothing, other fields are left to later versions.

        raises: ValueError, TypeError where a number would turn the order of answers round
        """
        plain = cls()
        fitted = cls(*(float(value.get(name, default)) for name, default in plain.to_dict().items()))
        finite = all(map(math.isfinite, fitted.to_dict().values()))
        if not (finite and fitted.temperature > 0 and fitted.hazard_scale > 0):
            raise ValueError(f"{fitted} calibrates nothing")
        return fitted


def _log_odds(probability: float) -> float:
    near = min(max(probability, _NEAR), 1 - _NEAR)
    return math.log(near / (1 - near))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
