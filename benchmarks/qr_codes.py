"""How small, tilted, blurred or dark a set-up code may be: pictures read of 12, for OpenCV's two detectors, both as the
device uses them, and zxing-cpp where it is installed. The figures of docs/how-to/first-use.md."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from device.setup.reader import CodeReader
from tests.device.setup import codes
from tests.device.setup.codes import View

EACH = 12
HELD = View(side_px=260)
VIEWS = {
    **{f"{side} pixels wide": replace(HELD, side_px=float(side)) for side in (80, 100, 120, 140, 170, 200, 260, 340)},
    **{f"tilted {tilt}°": replace(HELD, tilt_deg=float(tilt)) for tilt in (20, 30, 40, 50, 60)},
    **{f"turned {turn}°": replace(HELD, turn_deg=float(turn)) for turn in (15, 45, 90, 180)},
    **{f"blurred over {blur} pixels": replace(HELD, blur_px=blur) for blur in (3, 5, 7, 9)},
    "half the light": replace(HELD, light=0.5, noise=6.0),
    "a quarter": replace(HELD, light=0.25, noise=6.0),
    "an eighth": replace(HELD, light=0.12, noise=6.0),
    "a twelfth": replace(HELD, light=0.08, noise=6.0),
    "a quarter, much noise": replace(HELD, light=0.25, noise=15.0),
}
Read = Callable[[NDArray[np.uint8]], list[str]]


def readers() -> dict[str, Read]:
    """By name; each reads [480, 640] grey."""
    ours = CodeReader()
    found: dict[str, Read] = {
        "QRCodeDetectorAruco": lambda grey: _texts(cv2.QRCodeDetectorAruco(), grey),
        "QRCodeDetector": lambda grey: _texts(cv2.QRCodeDetector(), grey),
        "as the device does": lambda grey: list(ours.read(grey).texts),
    }
    try:
        zxing = importlib.import_module("zxingcpp")
    except ImportError:
        return found
    kind = zxing.BarcodeFormat.QRCode
    return found | {"zxing-cpp": lambda grey: [code.text for code in zxing.read_barcodes(grey, formats=kind)]}


def _texts(detector: cv2.QRCodeDetector | cv2.QRCodeDetectorAruco, grey: NDArray[np.uint8]) -> list[str]:
    try:
        some, texts, _corners, _codes = detector.detectAndDecodeMulti(grey)
    except cv2.error:
        return []
    return list(texts) if some else []


def main() -> None:
    cv2.setNumThreads(1)
    code = codes.printed(codes.WITH_WIFI)
    for name, view in VIEWS.items():
        rng = np.random.default_rng(5)
        shots = [
            codes.held((code, replace(view, at=tuple(rng.uniform(-8, 8, 2)))), number=number) for number in range(EACH)
        ]
        print(
            f"{name:<24}", *(_measured(label, read, shots) for label, read in readers().items()), sep="  ", flush=True
        )


def _measured(label: str, read: Read, shots: list[NDArray[np.uint8]]) -> str:
    began_s = time.process_time()
    good = sum(codes.WITH_WIFI in read(shot) for shot in shots)
    return f"{label} {good}/{EACH} {(time.process_time() - began_s) / EACH * 1000:.0f} ms"


if __name__ == "__main__":
    main()
