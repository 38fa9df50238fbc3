"""Light and weather over a painted scene: night and lamps, colour, rain, blur, noise. Also the named conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from server.walks.canvas import Canvas
from server.walks.scene import Colour, Light, Scene, Weather
from shared.jpeg import jpeg_artefacts

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A named light: fixed parts, and ranges for what chance decides."""

    gain: float
    contrast: tuple[float, float]
    tint: Colour
    warm: Colour
    """How much of the random warmth goes to red, green, blue."""
    sky_top: Colour
    sky_low: Colour
    shadow: tuple[float, float]
    sun: float = 0.0
    dark: tuple[float, float] = (0.0, 0.0)


_KINDS = {
    "day": _Kind(
        1.05, (0.95, 1.15), (1.0, 1.0, 1.0), (1, 0, -1), (110.0, 160.0, 225.0), (205.0, 222.0, 240.0), (0.35, 0.6), 1.0
    ),
    "overcast": _Kind(0.9, (0.8, 0.95), (0.98, 1.0, 1.03), (1, 0, -1), (178, 184, 190), (214, 217, 220), (0.12, 0.28)),
    "dusk": _Kind(
        0.7, (0.85, 1.0), (1.12, 0.98, 0.84), (1, 0, 0), (70, 84, 130), (236, 170, 120), (0.2, 0.4), 1.3, (0.25, 0.25)
    ),
    "night": _Kind(
        0.8, (0.9, 1.05), (1.08, 0.97, 0.86), (1, 0, 0), (14, 16, 30), (44, 44, 62), (0.15, 0.3), 0.0, (0.5, 0.72)
    ),
    "lamps": _Kind(1.0, (0.9, 1.05), (1.03, 1.0, 0.95), (1, 0, -1), (120, 124, 128), (190, 192, 190), (0.2, 0.35)),
}
LIGHTS = ("day", "overcast", "dusk", "night")
"""Outdoors; indoors it is "lamps"."""


def light(name: str, rng: np.random.Generator) -> Light:
    """One of LIGHTS or "lamps", with its own chance in it. Raises: KeyError."""
    kind = _KINDS[name]
    lean = float(rng.uniform(0.2, 1.1)) * (1 if rng.random() < 0.5 else -1)
    gain, warm = float(rng.uniform(0.85, 1.18)), float(rng.uniform(-0.05, 0.05))
    contrast, shadow = float(rng.uniform(*kind.contrast)), float(rng.uniform(*kind.shadow))
    low, high = kind.dark
    (red, green, blue), (to_red, to_green, to_blue) = kind.tint, kind.warm
    return Light(
        name=name,
        gain=gain * kind.gain,
        contrast=contrast,
        tint=(red + warm * to_red, green + warm * to_green, blue + warm * to_blue),
        sky_top=kind.sky_top,
        sky_low=kind.sky_low,
        shadow=shadow,
        sun=lean * kind.sun,
        dark=float(rng.uniform(low, high)) if high > low else low,
    )


def weather(rng: np.random.Generator, *, indoor: bool, dark: float = 0.0) -> Weather:
    """Mostly fair; sometimes rain, mist, a smeared or blurred picture, and always some sensor noise."""
    wet = not indoor and rng.random() < 0.16
    moving = rng.random() < 0.22
    return Weather(
        rain=float(rng.uniform(0.3, 1.0)) if wet else 0.0,
        drops=int(rng.integers(1, 5)) if wet and rng.random() < 0.5 else 0,
        fog=float(rng.uniform(0.08, 0.3)) if not indoor and rng.random() < 0.12 else 0.0,
        noise=float(rng.uniform(1.5, 6.0) + 7.0 * dark * rng.random()),
        blur_px=float(rng.uniform(1.4, 2.8)) if moving else 0.0,
        blur_angle=float(rng.uniform(0, math.pi)),
        defocus_px=float(rng.uniform(0.5, 0.9)) if rng.random() < 0.15 else 0.0,
        jpeg=int(rng.integers(45, 90)) if rng.random() < 0.2 else 0,
    )


def finish(canvas: Canvas, scene: Scene) -> Image:
    """Light, then what is between scene and picture, then the sensor."""
    image: Image = canvas.image
    if scene.light.dark > 0:
        image = _night(canvas, scene)
    weather_ = scene.weather
    chance = Random(scene.grain)
    if weather_.rain > 0:
        _rain(image, weather_.rain, chance)
    scale = image.shape[1] / 160.0
    if weather_.blur_px * scale >= 1.2:
        image = np.asarray(
            cv2.filter2D(image, -1, _streak(round(weather_.blur_px * scale, 1), round(weather_.blur_angle, 1))),
            dtype=np.uint8,
        )
    if weather_.defocus_px > 0:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), weather_.defocus_px * scale), dtype=np.uint8)
    if weather_.drops:
        _drops(image, weather_.drops, Random(scene.place.marks))
    image = np.asarray(cv2.LUT(image, _curve(scene.light)), dtype=np.uint8)
    if weather_.noise > 0:
        image = _noisy(image, weather_.noise, chance)
    if weather_.jpeg:
        image = jpeg_artefacts(image, quality=weather_.jpeg)
    return image


def _curve(light_: Light) -> Image:
    level = np.arange(256, dtype=np.float32)
    curve = np.stack([((level - 118) * light_.contrast + 118) * light_.gain * tint for tint in light_.tint], axis=-1)
    return np.ascontiguousarray(np.clip(curve, 0, 255).astype(np.uint8))[:, None, :]


def _night(canvas: Canvas, scene: Scene) -> Image:
    """Darken, but for a pool of light under each lamp and a little around the walker."""
    height_px, width_px = canvas.ids.shape
    rows, columns = max(2, height_px // 8), max(2, width_px // 8)
    yy, xx = np.mgrid[0:rows, 0:columns].astype(np.float32)
    yy, xx = (yy + 0.5) / rows, (xx + 0.5) / columns
    glow = 0.34 * np.exp(-((xx - 0.5) ** 2 * 3 + (yy - 0.95) ** 2 * 4))
    for x, z in scene.place.lamps:
        if not 0.5 < z - scene.pose.z_m < 30.0:
            continue
        column, row, depth = canvas.pixel((x, 0.3, z))
        wide = 2.6 * canvas.focal / depth / width_px
        glow += 0.75 * np.exp(-(((xx - column / width_px) / wide) ** 2 + ((yy - row / height_px) / (wide * 0.9)) ** 2))
    gain = np.clip(1.0 - scene.light.dark + scene.light.dark * glow, 0, 1.15).astype(np.float32)
    full = cv2.resize(gain, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    image = cv2.multiply(canvas.image, cv2.merge([full, full, full]), dtype=cv2.CV_8U)
    return np.asarray(image, dtype=np.uint8)


def _rain(image: Image, rain: float, chance: Random) -> None:
    height_px, width_px = image.shape[:2]
    veil = image.copy()
    lean = chance.uniform(-0.15, 0.15) + 0.1
    for _ in range(int(70 * rain)):
        x, y, long = chance.uniform(0, width_px), chance.uniform(-10, height_px), chance.uniform(0.03, 0.09) * height_px
        cv2.line(
            veil,
            (int(x), int(y)),
            (int(x + lean * long), int(y + long)),
            (214, 218, 224),
            1 if width_px < 400 else 2,
            cv2.LINE_AA,
        )
    cv2.addWeighted(veil, 0.45, image, 0.55, 0, dst=image)


def _drops(image: Image, count: int, chance: Random) -> None:
    height_px, width_px = image.shape[:2]
    for _ in range(count):
        r = max(4, int(width_px * chance.uniform(0.03, 0.06)))
        x, y = int(chance.uniform(r, width_px - r)), int(chance.uniform(r, height_px - r))
        patch = image[y - r : y + r, x - r : x + r]
        soft = cv2.blur(patch, (r | 1, r | 1))
        inside: NDArray[np.float32] = np.zeros((2 * r, 2 * r), dtype=np.float32)
        cv2.circle(inside, (r, r), r - 2, 0.8, cv2.FILLED)
        inside = np.asarray(cv2.blur(inside, (3, 3)), dtype=np.float32)
        patch[...] = cv2.blendLinear(soft, patch, inside, 1.0 - inside)


@lru_cache(maxsize=256)
def _streak(length: float, angle: float) -> NDArray[np.float32]:
    size = int(length) + 2 | 1
    kernel: NDArray[np.float32] = np.zeros((size, size), dtype=np.float32)
    middle, reach = size // 2, length / 2
    a = (middle - reach * math.cos(angle), middle - reach * math.sin(angle))
    b = (middle + reach * math.cos(angle), middle + reach * math.sin(angle))
    cv2.line(kernel, (round(a[0] * 16), round(a[1] * 16)), (round(b[0] * 16), round(b[1] * 16)), 1.0, 1, cv2.LINE_AA, 4)
    total = float(kernel.sum())
    return kernel / np.float32(total) if total > 0 else np.ones((1, 1), dtype=np.float32)


@lru_cache(maxsize=4)
def _noise_sheet(height_px: int, width_px: int) -> Image:
    rng = np.random.default_rng(77)
    sheet = rng.normal(128, 40, (height_px + 61, width_px + 61, 3))
    return np.clip(sheet, 0, 255).astype(np.uint8)


def _noisy(image: Image, sigma: float, chance: Random) -> Image:
    height_px, width_px = image.shape[:2]
    y, x = chance.randrange(61), chance.randrange(61)
    sheet = _noise_sheet(height_px, width_px)[y : y + height_px, x : x + width_px]
    share = sigma / 40.0
    return np.asarray(cv2.addWeighted(image, 1.0, sheet, share, -128.0 * share), dtype=np.uint8)
