"""Left and right as one channel: their mean, but for channels that cancel each other out.

A plug in the wrong way round, or a microphone wired against the other, leaves nothing of the mean. Where the mean is
that much weaker than the louder channel, that channel is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANCELLED = 0.2
"""Of the louder channel's amplitude: a mean below it (14 dB) is no mix but what two opposite channels leave."""
KEPT_FROM = 0.4
"""Once channels cancel, the mean must be this strong again: no change to and fro within a word."""


class Mixer:
    """Mixes the pieces of one track, one after another."""

    def __init__(self) -> None:
        self._channel: int | None = None
        """Which channel is taken, where they cancel: one and the same, for opposite ones have opposite signs."""

    def mixed(self, channels: NDArray[np.int16]) -> NDArray[np.int16]:
        """int16 [channels, n] → int16 [n]"""
        first: NDArray[np.int16] = channels[0]
        if len(channels) == 1 or not first.size:
            return first
        mean = channels.astype(np.int32).sum(0) // len(channels)
        each = np.sqrt(np.square(channels.astype(np.float64)).mean(1))
        left = float(np.sqrt(np.square(mean.astype(np.float64)).mean()))
        if each.max() > 0 and left >= each.max() * (CANCELLED if self._channel is None else KEPT_FROM):
            self._channel = None
        elif each.max() > 0 and self._channel is None:
            self._channel = int(each.argmax())
        return np.asarray(mean if self._channel is None else channels[self._channel], np.int16)
