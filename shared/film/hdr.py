"""Films of a high dynamic range or of wide primaries as an ordinary film shows them: BT.709 colours, 0..255. Pure.

    R'G'B' → light, 1 = diffuse white (203 cd/m², ITU-R BT.2408) → BT.709 primaries → shoulder → R'G'B' (BT.1886)

source: PQ: SMPTE ST 2084; HLG: ITU-R BT.2100 with a display of 1,000 cd/m² (gamma 1.2); primaries: BT.2020, SMPTE EG
432-1 (Display P3); matrices by way of CIE XYZ with the white point D65
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
"""FFmpeg's (and H.273's) numbers of transfer characteristics."""
BT2020, P3 = 9, 12
"""The same of colour primaries."""
WHITE_NITS, HLG_PEAK_NITS, HLG_GAMMA = 203.0, 1000.0, 1.2
DISPLAY_GAMMA = 2.4
SHOULDER, PEAK = 0.35, HLG_PEAK_NITS / WHITE_NITS
"""Light between the two is pressed together, logarithmically: diffuse white comes to 83 % of the signal, as in ITU-R
BT.2446, and a sunlit street, which is brighter, keeps its marks."""
_STEEPNESS = 4.9
"""For which the curve goes on at SHOULDER as steeply as before it."""
_STEPS, _TABLE_BITS = 4096, 7
_RED_GREEN_BLUE = {  # x, y of each primary
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_D65 = (0.3127, 0.3290)


def is_ordinary(transfer: int, primaries: int) -> bool:
    """Whether a film with these numbers in its frames is shown as it is."""
    return transfer not in (PQ, HLG) and primaries not in _RED_GREEN_BLUE


def to_ordinary(image: NDArray[np.uint16], *, transfer: int, primaries: int) -> NDArray[np.uint8]:
    """One picture, by a table of all colours in 7 bits a channel: a sixth of the time that the formulas take.

    image: uint16 [h, w, 3], R'G'B' of full range; transfer, primaries: as the film's frames say
    returns: uint8 [h, w, 3]
    """
    small = (image >> (16 - _TABLE_BITS)).astype(np.uint32)
    place = (small[..., 0] << (2 * _TABLE_BITS)) | (small[..., 1] << _TABLE_BITS) | small[..., 2]
    return np.asarray(np.take(_table(transfer, primaries), place, axis=0), np.uint8)


@lru_cache(maxsize=2)
def _table(transfer: int, primaries: int) -> NDArray[np.uint8]:
    """[colours, 3], of the middle of each step: 6 MB, made once in half a second."""
    levels = ((np.arange(1 << _TABLE_BITS, dtype=np.uint32) * 2 + 1) << (15 - _TABLE_BITS)).astype(np.uint16)
    levels[0] = 0  # black stays black
    every = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    return exactly(every, transfer=transfer, primaries=primaries).reshape(-1, 3)


def exactly(image: NDArray[np.uint16], *, transfer: int, primaries: int) -> NDArray[np.uint8]:
    """The same by the formulas."""
    light = _light(transfer)[image >> 4]
    if transfer == HLG:
        luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        scene = np.maximum(luminance, 1e-6) ** np.float32(HLG_GAMMA - 1)
        light *= (scene * np.float32(HLG_PEAK_NITS / WHITE_NITS))[..., None]
    if primaries in _RED_GREEN_BLUE:
        light = np.asarray(cv2.transform(light, to_bt709(primaries)), np.float32)
    np.maximum(light, 0, out=light)
    most = light.max(-1, keepdims=True)
    light *= _pressed(most) / np.maximum(most, 1e-6)
    return np.asarray(_ENCODED[(light * (_STEPS - 1) + 0.5).astype(np.int32).clip(0, _STEPS - 1)], np.uint8)


def to_bt709(primaries: int) -> NDArray[np.float32]:
    """[3, 3], light in those primaries → light in BT.709's."""
    return np.asarray(np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(_RED_GREEN_BLUE[primaries]), np.float32)


def _to_xyz(corners: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in corners]).T
    x, y = _D65
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    return np.asarray(columns * np.linalg.solve(columns, white), np.float64)


def _light(transfer: int) -> NDArray[np.float32]:
    """[_STEPS] of a channel; of HLG the scene's, 0..1, whose display follows from all three channels."""
    signal = np.linspace(0.0, 1.0, _STEPS)
    if transfer == PQ:
        root = signal ** (1 / 78.84375)
        nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return np.asarray(nits / WHITE_NITS, np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
    return np.asarray(signal**DISPLAY_GAMMA, np.float32)


def _pressed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    above = np.log1p(_STEEPNESS * (np.clip(light, SHOULDER, PEAK) - SHOULDER)) / np.log1p(
        _STEEPNESS * (PEAK - SHOULDER)
    )
    return np.where(light > SHOULDER, SHOULDER + (1 - SHOULDER) * above, light).astype(np.float32)


_ENCODED = (np.linspace(0.0, 1.0, _STEPS) ** (1 / DISPLAY_GAMMA) * 255 + 0.5).astype(np.uint8)
