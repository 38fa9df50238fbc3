"""On which side of the picture a sentence says that a thing is: a band that the page draws over it. Pure.

The camera tells three sides apart, as thirds of the picture's width. What is drawn says the sentence, not where the
thing was found: a person compares it with what they see.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.dataset import wording
from shared import vocabulary

WIDTH, HEIGHT = 160, 90
"""Of the drawing, in its own units."""
_PLACES = {
    "on the left": (0, 0, 54, 90), "slightly left": (27, 0, 54, 90), "ahead": (53, 0, 54, 90),
    "slightly right": (79, 0, 54, 90), "on the right": (106, 0, 54, 90), "overhead": (27, 0, 106, 30),
}  # fmt: skip
"""Side → x, y, width, height."""
_INSET = {"device": 2, "proposed": 5}
"""The two are drawn one within the other where they agree."""


@dataclass(frozen=True, slots=True)
class DrawnSide:
    """One band over the picture, in units of WIDTH and HEIGHT."""

    kind: str
    """"device" or "proposed": the two are drawn differently."""
    x: int
    y: int
    width: int
    height: int
    told: str
    """What it says, for those who do not see it: "proposed: cone, on the left"."""


def sides(said: str, proposal: str) -> tuple[DrawnSide, ...]:
    """What is drawn of what the device said and of what is proposed. () where neither names a thing and its side."""
    device = _band("device", "the device", wording.meaning(said) if said else "")
    proposed = _band("proposed", "proposed", proposal)
    return tuple(band for band in (device, proposed) if band is not None)


def told(bands: tuple[DrawnSide, ...]) -> str:
    """The text alternative, "" where nothing is drawn."""
    return f"Drawn over the picture: {'; '.join(band.told for band in bands)}." if bands else ""


def _band(kind: str, who: str, sentence: str) -> DrawnSide | None:
    slots = vocabulary.parse(sentence) if sentence else None
    if slots is None or not slots.object or slots.side not in _PLACES:
        return None
    x, y, width, height = _PLACES[slots.side]
    inset = _INSET[kind]
    return DrawnSide(
        kind, x + inset, y + inset, width - 2 * inset, height - 2 * inset, f"{who}: {slots.object}, {slots.side}"
    )
