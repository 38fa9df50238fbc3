"""On which side of the picture a sentence says that a thing is: a band that the page draws over it.

The camera tells three sides apart, as thirds of the picture's width. What is drawn says the sentence, not where the
thing was found: a person compares it with what they see.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.dataset import pictures, wording
from server.dataset.blobs import Blobs
from shared import vocabulary
from shared.errors import DatasetError

HEIGHT = 90
"""Of the drawing, in its own units; its width follows from the picture's shape, so that both lie on one another."""
USUAL_ASPECT = 16 / 9
HEAD_BYTES = 64 * 1024
"""Of a JPEG file: a camera writes its size before that, behind at most a preview."""
_PLACES = {
    "on the left": (0.0, 0.0, 1 / 3, 1.0), "slightly left": (1 / 6, 0.0, 1 / 3, 1.0), "ahead": (1 / 3, 0.0, 1 / 3, 1.0),
    "slightly right": (1 / 2, 0.0, 1 / 3, 1.0), "on the right": (2 / 3, 0.0, 1 / 3, 1.0),
    "overhead": (1 / 6, 0.0, 2 / 3, 1 / 3),
}  # fmt: skip
"""Side → x, y, width, height, as shares of the picture."""
_INSET = {"device": 2, "proposed": 5}
"""The two are drawn one within the other where they agree."""


@dataclass(frozen=True, slots=True)
class DrawnSide:
    """One band over the picture, in units of HEIGHT."""

    kind: str
    """"device" or "proposed": the two are drawn differently."""
    x: int
    y: int
    width: int
    height: int
    told: str
    """What it says, for those who do not see it: "proposed: cone, on the left"."""


def aspect(blobs: Blobs, name: str) -> float:
    """Width ÷ height of a JPEG by its head; USUAL_ASPECT where it can not be read."""
    try:
        width, height = pictures.jpeg_size(blobs.read(name, most=HEAD_BYTES))
    except (OSError, ValueError, DatasetError):
        return USUAL_ASPECT
    return width / height if width > 0 and height > 0 else USUAL_ASPECT


def sides(said: str, proposal: str, *, shape: float = USUAL_ASPECT) -> tuple[DrawnSide, ...]:
    """What is drawn of what the device said and of what is proposed. () where neither names a thing and its side. Pure.

    shape: width ÷ height of the picture
    """
    device = _band("device", "the device", wording.meaning(said) if said else "", shape)
    proposed = _band("proposed", "proposed", proposal, shape)
    return tuple(band for band in (device, proposed) if band is not None)


def told(bands: tuple[DrawnSide, ...]) -> str:
    """The text alternative, "" where nothing is drawn. Pure."""
    return f"Drawn over the picture: {'; '.join(band.told for band in bands)}." if bands else ""


def _band(kind: str, who: str, sentence: str, shape: float) -> DrawnSide | None:
    slots = vocabulary.parse(sentence) if sentence else None
    if slots is None or not slots.object or slots.side not in _PLACES:
        return None
    x, y, width, height = _PLACES[slots.side]
    across, inset = shape * HEIGHT, _INSET[kind]
    return DrawnSide(
        kind,
        round(x * across) + inset,
        round(y * HEIGHT) + inset,
        round(width * across) - 2 * inset,
        round(height * HEIGHT) - 2 * inset,
        f"{who}: {slots.object}, {slots.side}",
    )
