"""Codes in a picture, by OpenCV. What is read is somebody else's text: it is parsed strictly, or it is foreign."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from device.setup.kinds import CodeSeen, OtherSeen, Sight
from shared import setup_code
from shared.errors import ConfigError
from shared.setup_code import SetupCode, UnusableNetwork, WifiNetwork

Detector = cv2.QRCodeDetector | cv2.QRCodeDetectorAruco
NO_TEXT = "�"


@dataclass(frozen=True, slots=True)
class Codes:
    """What one picture shows."""

    texts: tuple[str, ...] = field(default=(), repr=False)
    """Of each code that could be read, without repetitions."""
    torn: bool = False
    """There is the shape of a code that could not be read."""


class CodeReader:
    """The detector with markers as in ArUco reads a code from 120 pixels a side on, and up to 50° from the side; the
    older one needs twice that, and reads some blurred ones that the first does not (docs/how-to/first-use.md). So they
    take turns where the first finds nothing. About 15 ms for 640×480 on an x86 core."""

    def __init__(self) -> None:
        self._detectors = (cv2.QRCodeDetectorAruco(), cv2.QRCodeDetector())
        self._second_turn = True

    def read(self, image: NDArray[np.uint8]) -> Codes:
        """image: [height, width, 3] RGB, or [height, width]. Raises nothing: a picture that OpenCV chokes on shows
        nothing."""
        plain = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        grey = np.ascontiguousarray(plain, np.uint8)
        first, second = self._detectors
        found = _detected(first, grey)
        self._second_turn = not self._second_turn
        return _detected(second, grey) if self._second_turn and not found.texts else found


def _detected(detector: Detector, grey: NDArray[np.uint8]) -> Codes:
    try:
        some, texts, _corners, _codes = detector.detectAndDecodeMulti(grey)
    except UnicodeDecodeError:  # bytes that are no text: a code, and none of ours
        return Codes((NO_TEXT,))
    except cv2.error:
        return Codes()
    if not some:
        return Codes()
    read = tuple(dict.fromkeys(text for text in texts if text))
    return Codes(read, torn=not read)


def event_of(codes: Codes) -> CodeSeen | OtherSeen | None:
    """What the dialogue is told of them. A code of ours counts beside any number of foreign ones, and one that lets in
    beside a Wi-Fi code; two different ones of a kind are the wearer's to choose from."""
    ours, others = _sorted(codes.texts)
    for kind in (SetupCode, WifiNetwork):
        of_kind = [code for code in ours if isinstance(code, kind)]
        if len(of_kind) == 1:
            return CodeSeen(of_kind[0])
        if of_kind:
            return OtherSeen(Sight.SEVERAL)
    if others:
        return OtherSeen(others[0])
    return OtherSeen(Sight.TORN) if codes.torn else None


def _sorted(texts: tuple[str, ...]) -> tuple[list[SetupCode | WifiNetwork], list[Sight]]:
    ours: list[SetupCode | WifiNetwork] = []
    others: list[Sight] = []
    for text in texts:
        try:
            ours.append(setup_code.parse(text))
        except UnusableNetwork:
            others.insert(0, Sight.BAD_NETWORK)
        except ConfigError:
            others.append(Sight.FOREIGN)
    return ours, others
