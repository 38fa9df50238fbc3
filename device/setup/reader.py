"""Codes in a picture, by OpenCV. What is read is somebody else's text: it is parsed strictly, or it is foreign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.setup.kinds import CodeSeen, CodeTrouble, OtherSeen
from shared import setup_code
from shared.errors import ConfigError
from shared.setup_code import SetupCode, UnusableNetwork, WifiNetwork

Detector = cv2.QRCodeDetector | cv2.QRCodeDetectorAruco
NO_TEXT = "\N{REPLACEMENT CHARACTER}"
ENLARGED = 2.0
FIRST_MOST_PX, SECOND_MOST_PX = 1280, 1600


@dataclass(frozen=True, slots=True)
class Codes:
    """What one picture shows."""

    texts: tuple[str, ...] = field(default=(), repr=False)
    """Of each code that could be read, without repetitions."""
    torn: bool = False
    """There is the shape of a code that could not be read."""


class CodeReader:
    """Looks at the picture as it is, by the detector with ArUco's square finder. Where that reads nothing, it looks
    once more, enlarged: in turn by the same detector, which then reads smaller and noisier codes, and by the older one,
    which then reads blurred ones. 14 ms for the first look on an x86 core, 30 to 65 for the second.

    source: measured, docs/how-to/first-use.md
    """

    def __init__(self) -> None:
        self._first = cv2.QRCodeDetectorAruco()
        self._seconds: tuple[Detector, ...] = (self._first, cv2.QRCodeDetector())

    def read(self, image: NDArray[np.uint8]) -> Codes:
        """image: [height, width, 3] RGB, or [height, width]. Raises nothing: a picture that OpenCV chokes on shows
        nothing."""
        grey = _scaled(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), most_px=FIRST_MOST_PX)
        found = _detected(self._first, grey)
        if found.texts:
            return found
        second, *others = self._seconds
        self._seconds = (*others, second)
        enlarged = _detected(second, _scaled(grey, most_px=SECOND_MOST_PX, by=ENLARGED))
        return Codes(enlarged.texts, torn=not enlarged.texts and (found.torn or enlarged.torn))


def _scaled(grey: NDArray[Any], *, most_px: int, by: float = 1.0) -> NDArray[np.uint8]:
    """Its larger side times `by`, at most `most_px`."""
    factor = min(by, most_px / max(grey.shape))
    if factor != 1.0:
        how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=how)
    return np.ascontiguousarray(grey, np.uint8)


def _detected(detector: Detector, grey: NDArray[np.uint8]) -> Codes:
    try:
        some, texts, _corners, _codes = detector.detectAndDecodeMulti(grey)
    except UnicodeDecodeError:  # bytes that are no text: a code, and none of ours
        return Codes((NO_TEXT,))
    except cv2.error:  # such as an assertion of its own, in pictures that are all noise
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
            return OtherSeen(CodeTrouble.SEVERAL)
    if others:
        return OtherSeen(others[0])
    return OtherSeen(CodeTrouble.TORN) if codes.torn else None


def _sorted(texts: tuple[str, ...]) -> tuple[list[SetupCode | WifiNetwork], list[CodeTrouble]]:
    ours: list[SetupCode | WifiNetwork] = []
    others: list[CodeTrouble] = []
    for text in texts:
        try:
            ours.append(setup_code.parse(text))
        except UnusableNetwork:
            others.insert(0, CodeTrouble.BAD_NETWORK)
        except ConfigError:
            others.append(CodeTrouble.FOREIGN)
    return ours, others
