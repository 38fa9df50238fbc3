"""Sound of any channels as 16 kHz mono: the mean of left and right, but for channels that cancel each other out.

A plug in the wrong way round, or a microphone wired against the other, leaves nothing of the mean. Where the mean is
that much weaker than the louder channel, that channel is taken.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ

CANCELLED = 0.2
"""Of the louder channel's amplitude: a mean below it (14 dB) is no mix but what two opposite channels leave."""
KEPT_FROM = 0.4
"""Once channels cancel, the mean must be this strong again: no change to and fro within a word."""


class Mono:
    """Resamples the frames of one track, one after another."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._channel: int | None = None
        """Which channel is taken, where they cancel: one and the same, for opposite ones have opposite signs."""

    def take(self, frame: av.AudioFrame | None) -> NDArray[np.int16]:
        """int16 [n]; None = the end: what is still inside.

        raises: ValueError, av.FFmpegError where the track changes its format: begin anew with `again`
        """
        if self._resampler is None:
            if frame is None:
                return np.empty(0, np.int16)
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._resampler = av.AudioResampler(format="s16p", layout=layout, rate=SAMPLE_RATE_HZ)
        parts = [part.to_ndarray() for part in self._resampler.resample(frame)]
        return self._mixed(np.concatenate(parts, axis=1).astype(np.int16)) if parts else np.empty(0, np.int16)

    def again(self) -> None:
        """Forget the frames before: the next one follows a hole, or has another format."""
        self._resampler = None

    def _mixed(self, channels: NDArray[np.int16]) -> NDArray[np.int16]:
        first: NDArray[np.int16] = channels[0]
        if len(channels) == 1 or not first.size:
            return first
        mean = channels.astype(np.int32).sum(0) // 2
        each = np.sqrt(np.square(channels.astype(np.float64)).mean(1))
        left = float(np.sqrt(np.square(mean.astype(np.float64)).mean()))
        if each.max() > 0 and left >= each.max() * (CANCELLED if self._channel is None else KEPT_FROM):
            self._channel = None
        elif each.max() > 0 and self._channel is None:
            self._channel = int(each.argmax())
        return np.asarray(mean if self._channel is None else channels[self._channel], np.int16)
