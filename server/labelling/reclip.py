"""A film of any kind as the clip of a moment: H.264 in MP4, in memory, as browsers and devices play it."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from server.labelling import footage
from server.labelling.footage import Footage
from shared.errors import MediaError

_FPS = 10
_SIDE_PX = 854
_TIME_BASE = Fraction(1, 90_000)
_X264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "28"}


def mp4_of(film: Footage, *, most_s: float) -> bytes:
    """The film's pictures, ten a second, at most 480p; without its sound, which moments keep by themselves.

    most_s: what comes after is left out. Raises: MediaError.
    """
    out, last = io.BytesIO(), -1
    try:
        with av.open(out, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=_FPS, options=_X264)
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = _TIME_BASE
            stream.codec_context.thread_count = 1  # the same bytes on every machine
            for at_s, image in footage.play(film, every_s=1 / _FPS):
                if at_s >= most_s:
                    break
                fitted = _fitted(image, stream)
                frame = av.VideoFrame.from_ndarray(fitted, format="rgb24")
                frame.pts = last = max(round(at_s / _TIME_BASE), last + 1)
                frame.time_base = _TIME_BASE
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError, cv2.error) as error:
        raise MediaError(f"{film.path} cannot become a clip ({error}).") from error
    return out.getvalue()


def _fitted(image: NDArray[np.uint8], stream: av.VideoStream) -> NDArray[np.uint8]:
    """In the size of the stream, which the first picture decides."""
    if stream.codec_context.is_open:
        size = stream.width, stream.height
    else:
        height, width = image.shape[:2]
        scale = min(1.0, _SIDE_PX / max(width, height))
        size = max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
        stream.width, stream.height = size
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
