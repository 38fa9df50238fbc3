"""Pictures as JPEG, encoded in one way: chunks of devices and of labelled videos of one picture are the same bytes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import MediaError

JPEG_QUALITY = 88
MAX_SIDE_PX = 1280  # of a chunk's picture, for the link's sake
MAX_FILM_SIDE_PX = 1920  # a film's pictures are decoded to this before anything looks at them

Image = NDArray[np.uint8]


def encode_jpeg(image: Image, *, max_side_px: int = MAX_SIDE_PX) -> bytes:
    """A picture as JPEG.

    image: [h, w, 3] RGB; a larger picture is scaled down to max_side_px.
    raises: MediaError when OpenCV refuses the picture
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side_px / max(height, width, 1))
    try:
        if scale < 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    except cv2.error as error:
        raise MediaError(f"A picture of {width}×{height} cannot be written as JPEG ({error.err}).") from error
    if not encoded:
        raise MediaError(f"A picture of {width}×{height} cannot be written as JPEG.")
    return data.tobytes()


def decode_picture(data: bytes) -> Image | None:
    """uint8 [h, w, 3] RGB, upright by its EXIF; None where OpenCV cannot decode it."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # empty, or with more pixels than OpenCV takes
        return None
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def jpeg_artefacts(image: Image, *, quality: int) -> Image:
    """The picture with the damage of JPEG at `quality`. image: [h, w, 3], RGB or BGR; the same order comes back."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
