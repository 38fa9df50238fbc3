"""Pictures from the disk, whole or refused with the reason.

OpenCV may give back half a JPEG without a word: what is missing is grey, and would teach that grey is a street. So:

    content   a file that is named by the SHA-256 of its bytes must have these bytes: any damage of this disk shows
    size      read from the header before anything is decoded: 65,500 x 65,500 pixels are a few hundred bytes of file
    coding    FFmpeg's JPEG decoder, told to stop at the first fault (err_detect=explode), must reach the last block,
              and the end must be marked. The marker alone would pass what was cut off and closed again. JPEG has no
              check sums: flipped bits that are still codes pass here, and only the name tells
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from shared import topics
from shared.errors import DatasetError
from shared.jpeg import decode_picture

MOST_PIXELS = 64_000_000
"""200 MB once decoded; the largest phone cameras have 50 million."""
MOST_BYTES = 64 * 1024 * 1024
_HINT = "Restore it from a backup, or reject the sample."
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""Markers of a JPEG's frame header, which holds its size (ITU-T T.81, table B.1)."""


_SCAN, _END = 0xDA, b"\xff\xd9"


def read(file: Path, *, of: str = "") -> NDArray[np.uint8]:
    """A picture file as uint8 [h, w, 3] RGB. of: whose, for the message. Raises: DatasetError saying what is wrong."""
    image, why = load(file)
    if image is None:
        raise DatasetError(f"The picture {file.name}{of} cannot be read: {why}.", hint=_HINT)
    return image


def load(file: Path) -> tuple[NDArray[np.uint8] | None, str]:
    """(uint8 [h, w, 3] RGB or None, what is wrong with it or "")."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None, f"it has more than {MOST_BYTES} bytes"
        data = file.read_bytes()
    except OSError as error:
        return None, error.strerror or str(error)
    why = fault(data, file.stem)
    image = None if why else decode_picture(data)
    return (None, why or "it is no picture") if image is None else (image, "")


def fault(data: bytes, name: str = "") -> str:
    """What is wrong with a picture file's bytes, before OpenCV is asked; "" = nothing. name: of the file, no suffix."""
    if not data:
        return "it is empty"
    if topics.SHA256.match(name) and hashlib.sha256(data).hexdigest() != name:
        return "its bytes are not those that it is named by"
    if not data.startswith(b"\xff\xd8"):
        return ""
    width, height = jpeg_size(data)
    if width * height > MOST_PIXELS:
        return f"it has {width} x {height} pixels"
    return "" if _whole(data) else "it is damaged or cut off"


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height by the frame header, (0, 0) where there is none."""
    at = next((at for marker, at in _segments(data) if marker in _FRAMES), None)
    if at is None:
        return 0, 0
    return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, its place) of each segment of a JPEG, up to the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        yield marker, at
        if marker == _SCAN:
            return
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])


def _whole(jpeg: bytes) -> bool:
    """Whether every block of a JPEG decodes and its end is marked. A coding that FFmpeg does not know is not held
    against it."""
    scan = next((at for marker, at in _segments(jpeg) if marker == _SCAN), len(jpeg))
    if jpeg.find(_END, scan) < 0:
        return False
    try:
        decoder = av.CodecContext.create("mjpeg", "r")
        decoder.options = {"err_detect": "explode"}
        frames = [frame for packet in (av.Packet(jpeg), None) for frame in decoder.decode(packet)]
    except av.PatchWelcomeError:
        return True
    except (av.FFmpegError, ValueError):
        return False
    return bool(frames)
