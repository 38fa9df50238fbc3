"""Pictures and films of a QR code that somebody holds before a camera: distance, tilt, turn, shake, blur, darkness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import segno
from numpy.typing import NDArray

from tests.device.capture import films

FOCAL_PX = 500.0
"""Of a camera of 65° at 640 pixels."""
SIZE = (640, 480)
FPS = 5
FINER = 3  # drawn finer, and averaged: edges of a real picture are grey
CLAIM = "waycue:enrol?server=192.168.178.123:8443&device=anna-pi&code=K7QX-3M9T-0AZW-E4HB"
WITH_WIFI = CLAIM + "&ssid=FRITZBox%207590%20AB&auth=psk&key=correct-horse-battery-staple"
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """How a code is held."""

    side_px: float = 240.0
    """Of the code in the picture, with its border."""
    at: tuple[float, float] = (0.0, 0.0)
    """Of its middle, in pixels from the middle of the picture."""
    tilt_deg: float = 10.0
    """Out of the plane of the picture."""
    turn_deg: float = 5.0
    blur_px: int = 1
    light: float = 1.0
    noise: float = 4.0


def printed(text: str | bytes) -> Picture:
    """A code as `devices add` makes it, 8 pixels a module."""
    code = segno.make_qr(text, error="m")
    rows = [[0 if dark else 255 for dark in row] for row in code.matrix_iter(scale=8, border=4)]
    return np.array(rows, np.uint8)


def torn(code: Picture) -> Picture:
    """A piece is missing: it is found, and cannot be read."""
    left = code.copy()
    third = code.shape[0] // 3
    left[third : 2 * third, third : 2 * third + third // 2] = 255
    return left


def room(number: int = 0) -> Picture:
    """[480, 640, 3] RGB without a code: soft shades that move a little."""
    width, height = SIZE
    shades = np.random.default_rng(5).integers(60, 150, (height // 32, width // 32 + 8)).astype(np.uint8)
    seen = np.roll(shades, number, axis=1)[:, : width // 32]
    grey = cv2.resize(seen, SIZE, interpolation=cv2.INTER_CUBIC)
    return cv2.cvtColor(np.asarray(grey, np.uint8), cv2.COLOR_GRAY2RGB).astype(np.uint8)


def held(*codes: tuple[Picture, View], number: int = 0) -> Picture:
    """[480, 640, 3] RGB of these codes; light, blur and noise are those of the first."""
    width, height = SIZE
    fine = cv2.resize(room(number), (width * FINER, height * FINER), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(fine, cv2.COLOR_RGB2GRAY)
    for code, view in codes:
        sheet = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * code.shape[0]
        to = cv2.getPerspectiveTransform(sheet, _corners(view) * FINER)
        size = (width * FINER, height * FINER)
        cv2.warpPerspective(code, to, size, dst=grey, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT)
    view = codes[0][1]
    small = np.asarray(cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
    if view.blur_px > 1:
        small = np.asarray(cv2.blur(small, (view.blur_px, 1)), np.uint8)
    noise = np.random.default_rng(number).normal(0, view.noise, small.shape)
    lit = np.clip(small * view.light + noise, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lit, cv2.COLOR_GRAY2RGB), np.uint8)


def _corners(view: View) -> NDArray[np.float32]:
    away = FOCAL_PX / view.side_px
    tilt, turn = np.radians(view.tilt_deg), np.radians(view.turn_deg)
    square = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    rolled = square @ np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    seen = rolled @ np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
    depth = seen[:, 2] + away
    middle = np.array(SIZE) / 2 + np.array(view.at)
    flat = np.stack([FOCAL_PX * seen[:, 0] / depth, FOCAL_PX * seen[:, 1] / depth], axis=1)
    return np.asarray(flat + middle, np.float32)


def hand(code: Picture, *, seconds: float, begins_s: float = 1.0) -> Iterator[Picture]:
    """It comes into the picture blurred and far away, nearer, and is then held in a hand that shakes."""
    shake = np.random.default_rng(3)
    for number in range(round(seconds * FPS)):
        t_s = number / FPS - begins_s
        if t_s < 0:
            yield room(number)
            continue
        coming = min(1.0, t_s / 2.0)
        jitter = shake.normal(0, 4.0, 2)
        view = View(
            side_px=90 + 170 * coming,
            at=(220 * (1 - coming) + jitter[0], 40 * (1 - coming) + jitter[1]),
            tilt_deg=20 + 8 * float(np.sin(t_s * 2)),
            turn_deg=8 * float(np.sin(t_s * 3)),
            blur_px=9 if coming < 1 else int(shake.integers(1, 5)),
            light=0.5,
        )
        yield held((code, view), number=number)


def film(path: Path, *shown: tuple[Picture, float]) -> Path:
    """What the camera sees: each code comes into the picture and is held there for so many seconds, in a hand whose
    shaking repeats itself each second."""
    pictures: list[Picture] = []
    for code, seconds in shown:
        coming = list(hand(code, seconds=5.0))
        held_on = (coming[number % FPS - FPS] for number in range(round(seconds * FPS) - len(coming)))
        pictures += [*coming, *held_on]
    return films.of(path, pictures, fps=FPS, options={"preset": "ultrafast"})
