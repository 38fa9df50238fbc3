"""What a picture says about the lens: black, blank, covered, overexposed, or the same picture again and again.

    view(image)                    → LensView             a few figures of one picture, 0.5 ms
    trouble(view)                  → LensTrouble or None
    examine(lens, image, t_s)      → (lens, trouble)      the same for a stream of pictures, which may also be frozen

A hand, cloth or fog before the lens is out of focus: brightness varies, fine detail does not. Measured as the 99th
percentile of the Laplacian after a slight blur, which smooths sensor noise away: 8 to 30 of 256 grey levels on real
streets, rooms and a walk, 1.8 on the same walk at a twelfth of its light, under 0.5 with the lens covered.

A dark picture is night, not a cover, where a point of light stands out of it (a lamp in focus gives 30 and more on the
same scale at one place, a sensor's noise 2), or where the light went away little by little. A cover comes at once.
Black from the first picture on counts as covered: nothing tells an unlit cellar from a cap.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (160, 120)
DARK_BELOW = 0.02  # a night street with one lamp is above it
FLAT_BELOW = 0.015
COVERED_BELOW = 0.7  # grey levels of detail
GLARE = 250  # of 255: a sensor that is full
BRIGHT_ABOVE = 0.85  # share of full pixels; 0.31 on the brightest of 367 real streets
BLUR_PX = 1.5
DIM_BELOW = 0.06  # mean brightness from which on what shows nothing may be the night
LAMP_ABOVE = 4.0  # grey levels of detail at one place
FADED_WITHIN_S = 1.5
FADED_BY = 3.0  # a picture that is not darker than a third of the ones before it faded; a hand takes nine tenths
FADED_FLOOR = 0.01  # below that, noise and black level are most of the brightness
STRIDE = 8
BLOCK = 5  # pixels of a thumbnail on a side: differences are weighed by blocks, of which a drawn clock has few
CLOCK_SHARE = 0.25  # of the blocks may change in a frozen picture: a clock or a name drawn into it
SAME_BELOW = 0.01  # difference in grey levels: a sensor's noise alone is 0.5 or more, 0.02 through a video codec
NEAR_BELOW = 0.03  # of half of the blocks: between two key frames a codec still mends a frozen picture here and there
KEY_ABOVE = 0.1  # of three quarters of the blocks at once: a key frame of the same scene
MOVED_ABOVE = 1.2  # of the brightness of a quarter of the blocks: a key frame of the same scene stays under 0.6, …
FROZEN_AFTER_S = 1.5  # … a wearer who stands still sways by 2 pixels and more
WINDOW_S = 4.0
FROZEN_SHARE = 0.4  # of the looks at a frozen scene are the same as the one before; the others hold a new key frame
CODED_SHARE = 0.1  # the same behind a codec that goes on mending; of looks at a live picture none is

Image = NDArray[np.uint8]
logger = logging.getLogger(__name__)


class LensTrouble(StrEnum):
    """Why a picture shows nothing, or little."""

    DARK = "dark"
    FLAT = "flat"
    COVERED = "covered"
    BRIGHT = "bright"
    FROZEN = "frozen"
    NIGHT = "night"
    """Dark, with nothing before the lens."""


@dataclass(frozen=True, slots=True)
class LensView:
    """Figures of one picture."""

    brightness: float
    """Mean, 0..1."""
    contrast: float
    """Standard deviation, 0..1."""
    glare: float
    """Share of overexposed pixels, 0..1."""
    detail: float
    """How much fine detail there is, in grey levels."""
    lamp: float = 0.0
    """The most that there is at one place."""


def view(image: Image) -> LensView:
    """image: uint8 [h, w, 3] RGB, of any size."""
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), BLUR_PX), cv2.CV_32F))
    return LensView(
        brightness=float(grey.mean() / 255),
        contrast=float(grey.std() / 255),
        glare=float((grey >= GLARE).mean()),
        detail=float(np.percentile(edges, 99)),
        lamp=float(edges.max()),
    )


def trouble(seen: LensView) -> LensTrouble | None:
    """What is wrong with one picture."""
    if seen.brightness < DARK_BELOW:
        return LensTrouble.DARK
    if seen.glare > BRIGHT_ABOVE:
        return LensTrouble.BRIGHT
    if seen.contrast < FLAT_BELOW:
        return LensTrouble.FLAT
    return LensTrouble.COVERED if seen.detail < COVERED_BELOW else None


@dataclass(frozen=True, slots=True)
class Dusk:
    """How the light went away."""

    lately: tuple[tuple[float, float], ...] = ()
    """(s, mean brightness) of the pictures of the last FADED_WITHIN_S."""
    dark: bool = False
    """The last picture was dark and showed nothing."""
    night: bool = False
    """Since then there was a lamp, or it came little by little."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the picture before a picture is."""

    t_s: float
    same: bool
    """But for a clock."""
    near: bool
    key: bool
    """All of it changed a little at once: a key frame."""


@dataclass(frozen=True, slots=True, eq=False)
class LensHistory:
    """The last picture, and since when the scene has not moved. A camera that hangs repeats its last picture for ever;
    a live one never gives the same twice: sensor noise differs, and whoever wears it sways.

    Behind a video codec a repeated picture changes a little at each key frame. It is still told from a live one: most
    looks at it are the same as the one before, which no look at a live picture is.
    """

    thumbnail: Image | None = None
    """uint8 [h / STRIDE, w / STRIDE, 3]"""
    scene: NDArray[np.float32] | None = None
    """float32 [blocks]: the brightness of each block when the scene last moved."""
    since_s: float = 0.0
    """When that was."""
    looks: tuple[Likeness, ...] = ()
    """Of the last WINDOW_S since then."""
    frozen: bool = False
    dusk: Dusk = field(default_factory=Dusk)


def examine(history: LensHistory, image: Image, t_s: float) -> tuple[LensHistory, LensTrouble | None]:
    """Judge the next picture. An array that is no picture has no trouble: the model refuses it with a better error.

    image: uint8 [h, w, 3] RGB, of any size; t_s: when it was taken
    """
    try:
        figures = view(image)
    except cv2.error as error:
        logger.warning("A picture of shape %s could not be judged: %s", image.shape, error)
        return history, None
    seen, dusk = trouble(figures), _dusk(history.dusk, figures, t_s)
    if dusk.night and seen is not None:
        seen = LensTrouble.NIGHT
    history = replace(_followed(history, image, t_s), dusk=dusk)
    return history, seen or (LensTrouble.FROZEN if history.frozen else None)


def _dusk(dusk: Dusk, seen: LensView, t_s: float) -> Dusk:
    """Whether a picture that shows nothing does so for lack of light."""
    before = tuple(pair for pair in dusk.lately if t_s - pair[0] <= FADED_WITHIN_S)
    lately = (*before, (t_s, seen.brightness))
    if seen.brightness >= DIM_BELOW or trouble(seen) is None:
        return Dusk(lately)
    lamp, faded = seen.lamp >= LAMP_ABOVE, not dusk.dark and _faded(before, seen.brightness)
    return Dusk(lately, dark=True, night=dusk.night or lamp or faded)


def _faded(before: tuple[tuple[float, float], ...], brightness: float) -> bool:
    most = max((was for _, was in before), default=1.0)
    return most <= FADED_BY * max(brightness, FADED_FLOOR)


def _followed(history: LensHistory, image: Image, t_s: float) -> LensHistory:
    thumbnail, last = image[::STRIDE, ::STRIDE].copy(), history.thumbnail
    smooth = cv2.resize(image, thumbnail.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    scene = _blocks(smooth)
    if last is None or history.scene is None or last.shape != thumbnail.shape or _moved(history.scene, scene):
        return LensHistory(thumbnail, scene, t_s)
    kept = (look for look in history.looks if t_s - look.t_s <= WINDOW_S)
    looks = (*kept, _likeness(last, thumbnail, t_s))
    near = sum(look.near for look in looks) / len(looks)
    if history.frozen:
        frozen = near > 0
    else:
        same = sum(look.same for look in looks) / len(looks)
        coded = near >= CODED_SHARE and any(look.key for look in looks)
        frozen = t_s - history.since_s >= FROZEN_AFTER_S and (same >= FROZEN_SHARE or coded)
    return LensHistory(thumbnail, history.scene, history.since_s, looks, frozen)


def _likeness(last: Image, thumbnail: Image, t_s: float) -> Likeness:
    blocks = np.sort(_blocks(cv2.absdiff(last, thumbnail).astype(np.float32)))
    least = blocks[: max(1, round(blocks.size * (1 - CLOCK_SHARE)))]
    near, key = np.median(blocks) <= NEAR_BELOW, np.percentile(blocks, 25) > KEY_ABOVE
    return Likeness(t_s, bool(least.mean() <= SAME_BELOW), bool(near), bool(key))


def _moved(scene: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    return float(np.percentile(np.abs(now - scene), 75)) > MOVED_ABOVE


def _blocks(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each block, float32 [blocks]. picture: float32 [h, w, 3]"""
    height, width = picture.shape[:2]
    size = (max(1, width // BLOCK), max(1, height // BLOCK))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    means: NDArray[np.float32] = small.mean(axis=2).ravel().astype(np.float32)
    return means
