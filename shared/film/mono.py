"""Sound of any channels as 16 kHz mono: left and right as shared.film.mixing mixes them."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.film.mixing import Mixer


class Mono:
    """Resamples the frames of one track, one after another."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._mixer = Mixer()

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
        return self._mixer.mixed(np.concatenate(parts, axis=1).astype(np.int16)) if parts else np.empty(0, np.int16)

    def again(self) -> None:
        """Forget the frames before: the next one follows a hole, or has another format."""
        self._resampler = None
