"""Pictures to an H.264 clip, in memory: nothing touches the disk.

A clip is at most 480p, begins with a key frame and keeps the times of its pictures. x264 runs without look-ahead, so
that every picture is encoded when it comes and closing the clip takes no longer than one of them. Preset superfast,
not ultrafast: on a walk at 640×480 it costs 3.3 ms a picture instead of 2.2, and halves what the link has to carry
(0.17 instead of 0.32 MB for 20 pictures). OpenCV turns RGB into what the encoder takes: 0.2 ms of the processor for
such a picture, where swscale takes 2.8.
"""

from __future__ import annotations

import io
import logging
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import MediaError

CLIP_SHORT_SIDE_PX = 480
CLIP_LONG_SIDE_PX = 854
_ENCODERS = ("libx264", "libopenh264", "h264_v4l2m2m")  # the last is the Pi 4's own; Pi 5 and Orin Nano have none
_X264 = {"preset": "superfast", "tune": "zerolatency", "crf": "30"}
_TIME_BASE = Fraction(1, 90_000)

logger = logging.getLogger(__name__)


def clip_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the clip of such pictures: at most 480p either way up, never larger, even numbers."""
    scale = min(1.0, CLIP_SHORT_SIDE_PX / min(width, height), CLIP_LONG_SIDE_PX / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def h264_encoder() -> str | None:
    """The name of an H.264 encoder that this machine's FFmpeg has; None = clips cannot be made here."""
    return next((name for name in _ENCODERS if name in av.codecs_available), None)


class ClipEncoder:
    def __init__(self, width: int, height: int, *, fps: float, encoder: str) -> None:
        """width, height: of the pictures to come; a later picture of another size is scaled to this clip's.

        Raises: MediaError when the encoder cannot be started.
        """
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="mp4")
        try:
            stream = self._container.add_stream(encoder, rate=max(1, round(fps)))
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(f"The H.264 encoder {encoder} cannot be started ({error}).") from error
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = clip_size(width, height)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.thread_count = 1  # the other cores are guidance's
        if encoder == "libx264":
            stream.options = dict(_X264)
        self._stream = stream
        self._last_pts = -1
        self.pictures = 0

    def add(self, image: NDArray[np.uint8], at_s: float) -> None:
        """image: [h, w, 3] RGB; at_s: seconds since the start of the clip, rising. Raises: MediaError."""
        try:
            planes = _planes(image, self._stream.width, self._stream.height)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = self._last_pts = max(round(at_s / _TIME_BASE), self._last_pts + 1)
            frame.time_base = _TIME_BASE
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, ValueError, cv2.error) as error:
            raise MediaError(f"A picture cannot be encoded as H.264 ({error}).") from error
        self.pictures += 1

    def finish(self) -> bytes:
        """The whole MP4 file. Raises: MediaError."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(f"A clip cannot be finished ({error}).") from error
        return self._file.getvalue()

    def discard(self) -> None:
        try:
            self._container.close()
        except (av.FFmpegError, ValueError) as error:  # without a picture there is nothing to close properly
            logger.debug("A discarded clip: %s", error)


def _planes(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture in 4:2:0 (BT.601, limited range). Linear: the mean over areas takes six times as long.

    image: [h, w, 3] RGB; width, height: even; returns: [height * 3 / 2, width]
    """
    image = np.ascontiguousarray(image)
    if image.shape[:2] != (height, width):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
